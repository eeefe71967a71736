/** The page: what comes from the server is drawn in the order in which it comes; what the person does is sent. */

import { Chat } from "./wsserver.js";
import { element } from "./format.js";
import { TurnView } from "./turn.js";

const byId = (id) => document.getElementById(id);
const transcript = byId("transcript");
const sessions = byId("sessions");
const message = byId("message");

/** Why it is over, for a person; `again` is what the button then says. */
const CLOSED = {
  1000: ["This conversation has ended.", "Start a new one"],
  4501: ["You are not logged in, or no longer."],
  4502: ["This conversation goes on in another window.", "Continue here"],
  4503: ["You are not allowed to talk here."],
  4504: ["There are too many conversations of yours at the moment.", "Try again"],
  4506: ["This conversation was ended.", "Start a new one"],
};

let chat = null;
let views = []; // of the current session, as they stand
let sent = new Map(); // by the id of their message: what this page has said and is not over
let container = null; // of the current session
let brought = null; // what the application brought along, before its turns
let restored = false; // whether this page has asked what was said before it was loaded
let pinned = true; // whether the reader is at the end, and stays there

// -- the conversation -------------------------------------------------------------------------------------------------

function begin() {
  welcome(true);
  sessions.replaceChildren();
  sent.clear();
  newSession();
  restored = false;
  const path = document.querySelector('meta[name="wsserver-path"]').content;
  const mine = new Chat(path, { token: accessToken(), storage: sessionStore(), replay: true });
  mine.addEventListener("event", ({ detail }) => mine === chat && handle(detail));
  mine.addEventListener("state", ({ detail }) => mine === chat && showState(detail));
  chat = mine;
  showState({ state: chat.state });
}

/** `#token=…` in the address of the page: it is never sent with a request, and not left there. */
function accessToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  const store = sessionStore();
  if (given) {
    store?.setItem("wsserver-token", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given ?? store?.getItem("wsserver-token") ?? null;
}

/** A browser may be told to keep nothing: then a reload begins anew. */
function sessionStore() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

function welcome(shown) {
  byId("welcome").hidden = !shown;
  byId("new").hidden = shown;
}

function newSession() {
  views = [];
  container = element("div", { className: "session" });
  brought = element("div");
  sessions.append(brought, container);
}

function handle(event) {
  const { event: name, data, turn } = event;
  if (name === "session") return beginSession(data);
  if (name === "replayed") return restore();
  if (name === "history") return showHistory(data);
  if (name === "ack") return acknowledged(data);
  const view = sent.get(data.ref) ?? (turn === undefined ? null : viewOf(turn));
  if (view && turn !== undefined) view.turn = turn;
  // It was said before this page was loaded, and waited.
  if (name === "start" && restored && view.content === undefined) report(chat.history());
  if (view && KNOWN.has(name)) view.handle(event);
  if (view?.state === "over") sent.delete(view.ref);
  if (view && KNOWN.has(name)) follow();
  else if (!QUIET.has(name)) quietLine(`${name}: ${summary(data)}`);
  showActivity();
}

const KNOWN = new Set(["start", "token", "reset", "tool", "source", "status", "ask", "complete", "error"]);
const QUIET = new Set(["drain", "auth_expiring", "error"]);

function beginSession({ resumed, recovered }) {
  if (!resumed && views.some((view) => view.turn !== null)) {
    // What was not answered fails above it: wsserver.js says so for each.
    newSession();
    quietLine("The server no longer knows what was said above. This is a new conversation.");
  }
  if (!restored && !resumed) restore();
  else if (resumed && !recovered) restored = true; // wsserver.js asks by itself
  for (const view of views) if (view.state === "unsent") view.become("waiting");
}

/** Once for each page: what was shown before it was loaded. */
function restore() {
  if (restored) return;
  restored = true;
  report(chat.history());
}

function showHistory({ items, active, waiting = [] }) {
  let earlier = null;
  brought.replaceChildren();
  for (const { turn, role, content, status } of items) {
    if (turn !== 0) {
      earlier = viewOf(turn);
    } else if (role === "user" || !earlier || earlier.state === "over") {
      earlier = newView();
      brought.append(earlier.node);
    }
    if (role === "user") earlier.say(content);
    else earlier.restore(content, status, []);
  }
  for (const turn of waiting) viewOf(turn).become("waiting");
  if (active) viewOf(active.turn).restore(active.text, null, active.asks ?? []);
  showActivity();
}

function acknowledged({ ref, turn }) {
  const view = sent.get(ref);
  if (view && turn !== undefined) view.turn = turn;
  if (view?.state === "unsent") view.become("waiting");
}

/** The view of a turn; a new one stands where its number says. */
function viewOf(turn) {
  const known = views.find((view) => view.turn === turn);
  if (known) return known;
  const view = newView();
  view.turn = turn;
  const next = views.findIndex((one) => one.turn === null || one.turn > turn);
  container.insertBefore(view.node, views[next]?.node ?? null);
  views.splice(next < 0 ? views.length : next, 0, view);
  return view;
}

function newView() {
  welcome(false);
  return new TurnView({
    announce,
    again: (content) => say(content),
    cancel: (view) => report(chat.stop(view.ref ? { ref: view.ref } : { turn: view.turn })),
    answer: (callId, value) => chat.answer(callId, value),
    changed: follow,
  });
}

function quietLine(text) {
  welcome(false);
  container.append(element("p", { className: "quiet", dir: "auto", textContent: text }));
  announce(text);
  follow();
}

function summary(data) {
  for (const name of ["message", "text", "title"]) if (typeof data[name] === "string") return data[name];
  const text = JSON.stringify(data);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** What a request comes to grief of is said once, quietly. */
function report(promise) {
  promise.catch((error) => error.code !== "session_lost" && error.code !== "closed" && quietLine(error.message));
}

// -- what the person does ---------------------------------------------------------------------------------------------

function say(content) {
  const view = newView();
  view.say(content);
  view.ref = chat.send(content);
  sent.set(view.ref, view);
  view.become(chat.state === "open" ? "waiting" : "unsent");
  views.push(view);
  container.append(view.node);
  pinned = true;
  showActivity();
  follow();
}

function stop() {
  const running = views.find((view) => view.state === "running" && view.turn !== null);
  report(chat.stop(running ? { turn: running.turn } : {}));
}

function submit() {
  const content = message.value.trim();
  if (!content || chat.state === "closed") return;
  message.value = "";
  fit();
  say(content);
}

function fit() {
  // Where the browser does not do it by itself.
  if (!CSS.supports("field-sizing", "content")) {
    message.style.height = "auto";
    message.style.height = `${message.scrollHeight}px`;
  }
  byId("send").disabled = !message.value.trim() || chat?.state === "closed";
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
message.addEventListener("input", fit);
message.addEventListener("keydown", (event) => {
  // An Enter that ends the choice of a Chinese or Japanese word is no Enter; Safari says so by its code only.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && !byId("stop").hidden) stop();
});
byId("stop").addEventListener("click", () => {
  stop();
  message.focus();
});
byId("new").addEventListener("click", () => {
  const old = chat;
  chat = null;
  report(old.end());
  begin();
  message.focus();
});

// -- what is going on -------------------------------------------------------------------------------------------------

function showActivity() {
  byId("stop").hidden =
    chat.state === "closed" || !views.some((view) => view.state === "running" || view.state === "waiting");
}

let wasOpen = false;

function showState({ state, code }) {
  wasOpen ||= state === "open";
  const [text, button] = state === "closed" ? (CLOSED[code] ?? ["The connection was closed.", "Try again"]) : [];
  const away = navigator.onLine === false ? "You are offline." : wasOpen ? "Reconnecting…" : "Connecting…";
  banner(state === "open" ? null : (text ?? away), state === "waiting" ? "Try now" : button);
  document.body.dataset.state = state;
  fit();
  showActivity();
}

function banner(text, button) {
  byId("banner").hidden = text === null;
  if (byId("banner-text").textContent !== (text ?? "")) byId("banner-text").textContent = text ?? "";
  byId("banner-button").hidden = !button;
  byId("banner-button").textContent = button ?? "";
}

byId("banner-button").addEventListener("click", () => (chat.state === "closed" ? begin() : chat.retry()));

/** For those who listen: few words at a time, and not the same ones again. */
function announce(text) {
  const announcer = byId("announcer");
  announcer.append(element("p", { textContent: text }));
  while (announcer.children.length > 20) announcer.firstChild.remove();
}

// -- where the reader is ----------------------------------------------------------------------------------------------

let top = 0;

function follow() {
  if (pinned) transcript.scrollTop = transcript.scrollHeight;
  byId("latest").hidden = pinned;
}

transcript.addEventListener("scroll", () => {
  const left = transcript.scrollHeight - transcript.scrollTop - transcript.clientHeight;
  // Text that grows below the reader is no reason to let go; a reader who goes up is.
  if (left < 40) pinned = true;
  else if (transcript.scrollTop < top) pinned = false;
  top = transcript.scrollTop;
  byId("latest").hidden = pinned;
});
byId("latest").addEventListener("click", () => {
  pinned = true;
  follow();
});
addEventListener("resize", follow);

begin();
