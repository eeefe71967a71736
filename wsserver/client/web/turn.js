/** What one turn looks like: what was said, the steps, the answer, its sources and questions, and how it ended. */

import { askForm } from "./ask.js";
import { element, link, Text, webAddress } from "./format.js";

const ENDS = { stopped: "Stopped", interrupted: "Interrupted by the next message" };
const STATUSES = { started: "running", progress: "running", finished: "done", failed: "failed" };

export class TurnView {
  turn = null;
  ref = null;
  content = undefined;
  /** `unsent`, `waiting`, `running` or `over`. */
  state = "waiting";
  #actions;
  #text = new Text();
  #announced = 0;
  #drawing = false;
  #steps = new Map();
  #asks = new Map();

  /** `actions`: `again(content)`, `cancel(view)`, `answer(callId, value)`, `announce(text)`, `changed()`. */
  constructor(actions) {
    this.#actions = actions;
    this.said = element("div", { className: "said", dir: "auto", hidden: true });
    this.queued = element("p", { className: "queued", hidden: true });
    this.steps = element("ul", { className: "steps", hidden: true, "aria-label": "Steps" });
    this.status = element("p", { className: "status", hidden: true });
    this.asks = element("div", { className: "asks" });
    this.sources = element("ol", { className: "sources", hidden: true, "aria-label": "Sources" });
    this.note = element("div", { className: "note", hidden: true });
    const reply = [this.steps, this.#text.node, this.status, this.sources, this.asks, this.note];
    this.node = element(
      "article",
      { className: "turn" },
      this.said,
      this.queued,
      element("div", { className: "reply" }, ...reply),
    );
  }

  say(content) {
    this.content = content;
    this.said.textContent = typeof content === "string" ? content : JSON.stringify(content, null, 2);
    this.said.hidden = false;
  }

  become(state) {
    if (this.state === "over") return;
    this.state = state;
    const cancel = element("button", { type: "button", className: "plain", textContent: "Cancel" });
    cancel.onclick = () => this.#actions.cancel(this);
    this.queued.hidden = state !== "waiting" && state !== "unsent";
    this.queued.replaceChildren(state === "unsent" ? "Not sent yet" : "Waiting for its turn", cancel);
    this.node.dataset.state = state;
    this.#text.node.ariaBusy = String(state === "running");
    this.#say(state === "running" && !this.#text.value ? "" : null);
  }

  handle({ event, data, local }) {
    // A history may be ahead of what it does not hold: steps and sources. There is one end.
    if (this.state === "over" && !local && (event === "complete" || event === "error")) return;
    if (event === "start") this.become("running");
    else if (event === "token") this.#append(data.value);
    else if (event === "reset") this.#reset(data.channel);
    else if (event === "tool") this.#step(data);
    else if (event === "source") this.#source(data);
    else if (event === "status") this.#say(String(data.message ?? ""));
    else if (event === "ask") this.ask(data);
    else if (event === "complete") this.#end(data.status);
    else if (event === "error") this.#fail(data);
  }

  /** What a history says of this turn: its text, how it ended (null where it goes on), its open questions. */
  restore(text, status, asks) {
    this.#text.value = typeof text === "string" ? text : JSON.stringify(text, null, 2);
    this.#draw();
    if (status === null) {
      this.become("running");
      for (const [callId, form] of this.#asks) if (!asks.some((ask) => ask.call_id === callId)) form.close();
      asks.forEach((ask) => this.ask(ask));
    } else if (this.state !== "over") {
      if (status === "failed") this.#fail({ message: "This answer failed." });
      else this.#end(status);
    }
  }

  ask(question) {
    if (this.#asks.has(question.call_id)) return;
    const form = askForm(question, (value) => this.#actions.answer(question.call_id, value));
    this.#asks.set(question.call_id, form);
    this.asks.append(form.node);
    this.#say(null);
    this.#actions.announce(question.message);
    this.#actions.changed();
  }

  // -- while it runs -------------------------------------------------------------------------------------------------

  #append(value) {
    if (this.state !== "running") this.become("running");
    this.#text.value += value;
    this.#say(null);
    this.#draw();
  }

  /** Once a frame, however many tokens it brings. */
  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      const finished = this.#text.draw();
      this.#announce(this.state === "over" ? Infinity : finished);
      this.#actions.changed();
    });
  }

  /** A screen reader is told whole paragraphs, each once. */
  #announce(upTo) {
    const blocks = [...this.#text.node.children];
    for (const block of blocks.slice(this.#announced, upTo)) this.#actions.announce(block.textContent);
    this.#announced = Math.max(this.#announced, Math.min(upTo, blocks.length));
  }

  #reset(channel) {
    if (channel === "sources") {
      this.sources.replaceChildren();
      this.sources.hidden = true;
    } else {
      this.#text.value = "";
      this.#announced = 0;
      this.#draw();
    }
  }

  #say(message) {
    this.status.hidden = message === null;
    this.status.textContent = message ?? "";
    this.status.ariaLabel = message || "Thinking";
    this.#actions.changed();
  }

  #step(data) {
    let step = this.#steps.get(data.call_id);
    if (!step) {
      step = { data: {}, node: element("li", { className: "step" }) };
      this.#steps.set(data.call_id, step);
      this.steps.append(step.node);
      this.steps.hidden = false;
    }
    step.data = { ...step.data, ...data };
    drawStep(step);
    this.#say(null);
  }

  #source({ title, text, url, score }) {
    const address = webAddress(url);
    const name = title || url || "Untitled";
    const relevance =
      typeof score === "number"
        ? element("span", { className: "score", textContent: String(Math.round(score * 100) / 100), title: "Score" })
        : null;
    const head = element("p", { className: "title" }, address ? link(address, name) : name, relevance);
    const excerpt = text
      ? element(
          "details",
          {},
          element("summary", { textContent: "Excerpt" }),
          element("p", { className: "excerpt", dir: "auto", textContent: text }),
        )
      : null;
    this.sources.append(element("li", {}, head, excerpt));
    this.sources.hidden = false;
    this.#actions.changed();
  }

  // -- how it ends ---------------------------------------------------------------------------------------------------

  #end(status) {
    this.#over(status);
    if (status in ENDS) this.#note(ENDS[status]);
  }

  #fail({ message, retryable, code }) {
    this.#over("failed");
    const again = element("button", { type: "button", className: "plain", textContent: "Try again" });
    again.onclick = () => {
      again.disabled = true;
      this.#actions.again(this.content);
    };
    const offer = retryable && this.content !== undefined ? again : null;
    this.#note(String(message || code || "Something went wrong."), offer);
    this.note.classList.add("error");
    this.#actions.announce(this.note.firstChild.textContent);
  }

  #over(status) {
    this.become("over");
    this.node.dataset.end = status;
    for (const step of this.#steps.values()) {
      if (STATUSES[step.data.status] === "running") {
        step.data.status = "ended";
        drawStep(step);
      }
    }
    for (const form of this.#asks.values()) form.close();
    this.#draw();
  }

  #note(...children) {
    this.note.replaceChildren(element("span", {}, children[0]), ...children.slice(1).filter(Boolean));
    this.note.hidden = false;
  }
}

function drawStep({ node, data }) {
  const open = node.querySelector("details")?.open ?? false;
  const state = STATUSES[data.status] ?? "ended";
  const head = [
    element("span", { className: "mark", "aria-hidden": "true" }),
    element("span", { className: "name", textContent: data.name }),
    element("span", { className: "message", dir: "auto", textContent: data.error ?? data.message ?? "" }),
    element("span", { className: "unseen", textContent: ` (${state})` }),
  ];
  const details = [
    ["Input", data.input],
    ["Output", data.output],
  ].filter(([, value]) => value !== undefined && value !== null);
  node.dataset.state = state;
  if (details.length === 0) {
    node.replaceChildren(element("div", { className: "head" }, ...head));
    return;
  }
  const list = details.flatMap(([name, value]) => [
    element("dt", { textContent: name }),
    element(
      "dd",
      {},
      element("pre", { tabIndex: 0, textContent: typeof value === "string" ? value : JSON.stringify(value, null, 2) }),
    ),
  ]);
  node.replaceChildren(
    element("details", { open }, element("summary", { className: "head" }, ...head), element("dl", {}, ...list)),
  );
}
