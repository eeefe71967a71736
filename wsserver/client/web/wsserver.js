/**
 * A conversation with a wsserver, from a browser or any other place that has a WebSocket:
 *
 *     const chat = new Chat("ws://127.0.0.1:8765/ws/chat");
 *     for await (const text of chat.ask("What can you do?").text()) output.textContent = text;
 *
 * A connection that is lost comes back by itself: what was missed is asked for, what the server did not acknowledge is
 * sent again under the same id, and no event is shown twice or left out in silence. wsserver.d.ts says what each name
 * takes and gives. Times are in seconds.
 */

const SUBPROTOCOL = "wsserver.v1";

const DEFAULTS = {
  token: null,
  storage: null,
  storageKey: "wsserver",
  replay: false,
  openTimeout: 10,
  pingAfter: 10,
  pingTimeout: 5,
  firstDelay: 0.5,
  longestDelay: 30,
  WebSocket: globalThis.WebSocket,
  random: Math.random,
  now: () => performance.now() / 1000,
  setTimeout: (callback, seconds) => setTimeout(callback, seconds * 1000),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** A connection that lived so long was a good one: after it, waiting begins anew. */
const STABLE = 5;

/** Closed with one of these, or 4000 to 4499, a client comes back. 1005 is a peer, often a proxy, that gave no code. */
const RETURNING = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014]);

/** Closed with one of these, a client waits from the fourth step on, and never less than half of it. */
const CROWDED = new Set([1013, 4008]);
const CROWDED_STEP = 3;

/** What may stand in a subprotocol (RFC 9110, section 5.6.2). */
const PLAIN = /^[\w!#$%&'*+.^`|~-]+$/;

/** Closed with one of these, the session is no more. */
const ENDED = new Set([1000, 4506]);

/** Where a person would ask why. */
const REASONS = {
  1000: "the conversation has ended",
  1009: "a message was too big",
  4501: "no or an invalid token",
  4502: "the conversation goes on over a newer connection",
  4503: "not allowed",
  4504: "too many connections of this user or address",
  4506: "the conversation was ended",
};

export class ChatError extends Error {
  constructor({ code, message, retryable = false, retry_after = null, ref = null }) {
    super(message || code);
    this.name = "ChatError";
    this.code = code;
    this.retryable = retryable;
    this.retryAfter = retry_after;
    this.ref = ref;
  }
}

/** A conversation. Its events come as `event`, in order and each once; what becomes of its connection as `state`. */
export class Chat extends EventTarget {
  #options;
  #link;
  #session; // { id, token, epoch, seq, limit }, null before the first
  #outbox = new Map(); // what is not acknowledged, by id, in the order in which it was sent
  #asked = new Map(); // messages that have no final event yet, by id
  #covered = 0; // up to this `seq` the text is known from a history
  #resync = null; // the id of the history without which nothing of a turn can be shown
  #hole = null; // behind this `seq` events were missing, and resuming was tried
  #prefix = randomName();
  #count = 0;
  #over;

  constructor(url, options = {}) {
    super();
    this.#options = { ...DEFAULTS, ...options };
    this.#session = this.#load();
    this.closed = new Promise((resolve) => (this.#over = resolve));
    this.#link = new Link(addressOf(url), this.#options, {
      protocols: () => this.#protocols(),
      received: (text) => this.#receive(JSON.parse(text)),
      changed: (detail) => this.#changed(detail),
      hidden: () => this.#save(),
    });
    this.#link.open();
  }

  get state() {
    return this.#link.state;
  }

  get sessionId() {
    return this.#session?.id ?? null;
  }

  ask(content) {
    const answer = new Answer(this);
    answer.id = this.#say(content, answer);
    return answer;
  }

  send(content) {
    return this.#say(content, null);
  }

  async stop(target = {}) {
    try {
      await this.#request("stop", target);
    } catch (error) {
      if (error.code !== "not_active") throw error;
      return false;
    }
    return true;
  }

  async answer(callId, value) {
    await this.#request("answer", { call_id: callId, value });
  }

  history() {
    return this.#request("history", {});
  }

  async end() {
    this.#forget();
    if (this.state === "open") {
      this.#post("end", {});
      this.#link.expectEnd();
    } else {
      this.#link.close();
    }
    await this.closed;
  }

  close() {
    this.#save();
    this.#link.close();
  }

  retry() {
    this.#link.hasten();
  }

  // -- out -----------------------------------------------------------------------------------------------------------

  #say(content, answer) {
    const id = this.#post("message", { content });
    this.#asked.set(id, { id, turn: null, calls: new Set(), answer });
    return id;
  }

  #request(event, data) {
    return new Promise((resolve, reject) => {
      this.#post(event, data, (error, result) => (error ? reject(error) : resolve(result)));
    });
  }

  /** Keeps an event until the server has said what became of it; returns its id. */
  #post(event, data, settle = null) {
    if (this.state === "closed") throw new ChatError({ code: "closed", message: "the connection is closed" });
    const id = `${this.#prefix}-${++this.#count}`;
    const letter = { id, event, text: JSON.stringify({ event, data, id }), settle };
    this.#outbox.set(id, letter);
    // Not at once: whoever asks must hold the id before the first event comes.
    if (this.state === "open") queueMicrotask(() => this.#transmit(letter));
    return id;
  }

  #transmit(letter) {
    const { limit } = this.#session;
    // A UTF-16 unit takes at most three bytes. A server closes the connection for good when it gets too much.
    if (limit && letter.text.length * 3 > limit && new TextEncoder().encode(letter.text).length > limit) {
      this.#fail(letter.id, "too_big", `a message may have ${limit} bytes`);
    } else {
      this.#link.send(letter.text);
    }
  }

  #settle(id, error, result) {
    const letter = this.#outbox.get(id);
    this.#outbox.delete(id);
    letter?.settle?.(error, result);
  }

  /** Whoever waits for this hears that it will not come. */
  #fail(id, code, message, retryable = false) {
    const asked = this.#asked.get(id);
    this.#settle(id, new ChatError({ code, message, retryable, ref: id }));
    if (asked) this.#tell(asked, "error", { code, message, retryable, final: true });
  }

  // -- in ------------------------------------------------------------------------------------------------------------

  #receive(event) {
    event.data ??= {};
    if (event.event === "session") this.#begin(event);
    else if (event.event !== "pong" && (event.seq === undefined || this.#isNext(event))) this.#show(event);
  }

  #begin(event) {
    const { data, session_id: id } = event;
    const before = this.#session;
    const lost = before && before.id !== id ? [...this.#outbox.keys(), ...this.#asked.keys()] : [];
    this.#session = {
      id,
      token: data.resumable ? data.resume_token : null,
      epoch: data.epoch,
      seq: data.recovered && before ? before.seq : data.seq,
      limit: data.max_message_size,
    };
    this.#save();
    if (!data.recovered) {
      this.#outbox.delete(this.#resync);
      this.#resync = null;
      this.#covered = 0;
    }
    if (lost.length === 0) for (const letter of [...this.#outbox.values()]) this.#transmit(letter);
    this.#link.established();
    this.#emit(event);
    // Their turns were counted in another session.
    for (const name of lost) if (this.#asked.has(name)) this.#asked.get(name).turn = null;
    for (const name of lost) this.#fail(name, "session_lost", "the server no longer knows this conversation", true);
    // Behind the messages: their turns are known when it comes.
    if (data.resumed && !data.recovered) this.#askForHistory();
  }

  /** Whether a logged event is to be shown: what is known is dropped, and a hole is never silent. */
  #isNext({ event, data, seq, turn }) {
    const last = this.#session.seq;
    const first = data.from_seq ?? seq;
    if (seq <= last) return false;
    if (first !== last + 1) {
      if (this.#session.token && this.#hole !== last) {
        this.#hole = last;
        this.#link.again("events are missing");
        return false;
      }
      this.#askForHistory();
    }
    this.#session.seq = seq;
    const isText = event === "token" || (event === "reset" && data.channel === "answer");
    if (isText && first <= this.#covered && seq > this.#covered) this.#askForHistory(); // half of it is known
    return !(this.#resync && turn !== undefined) && !(isText && seq <= this.#covered);
  }

  #show(event) {
    const { event: name, data } = event;
    const asked = this.#askedBy(name === "ack" ? data.turn : event.turn, data.ref);
    const refused = name === "error" && !data.final;
    if (refused) this.#settle(data.ref, new ChatError(data));
    // The ack of a history comes before it: until it is here, it would have to be asked for again.
    else if (this.#outbox.get(data.ref)?.event !== "history") this.#settle(data.ref, null);
    if (name === "ask") asked?.calls.add(data.call_id);
    if (asked && (data.final || refused)) this.#asked.delete(asked.id);
    this.#emit(event);
    asked?.answer?.put(event);
    if (data.final) this.#save();
    if (name === "history") this.#restore(data);
    else if (name === "drain") this.#link.later = data.reconnect_in;
    else if (name === "auth_expiring") this.#renew();
  }

  #askedBy(turn, ref) {
    const asked = this.#asked.get(ref);
    if (turn === undefined) return asked;
    if (!asked) return [...this.#asked.values()].find((other) => other.turn === turn);
    asked.turn = turn;
    if (asked.answer) asked.answer.turn = turn;
    return asked;
  }

  #emit(event) {
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }

  /** An event that no server sent: it corrects, or ends, what was shown of an answer. */
  #tell(asked, event, data) {
    const ours = { event, data: { ...data, ref: asked.id }, session_id: this.sessionId, local: true };
    this.#show(asked.turn === null ? ours : { ...ours, turn: asked.turn });
  }

  // -- coming back ---------------------------------------------------------------------------------------------------

  #askForHistory() {
    if (this.#resync || this.state === "closed") return;
    const id = (this.#resync = this.#post("history", {}, (error) => {
      const again = () => {
        if (this.#resync !== id) return;
        this.#resync = null;
        this.#askForHistory();
      };
      // What it says is taken by #restore.
      if (error?.retryable) this.#options.setTimeout(again, error.retryAfter ?? 1);
      else if (error) this.#resync = null;
    }));
  }

  /** The text of a history replaces what was shown of the answers that are awaited. */
  #restore(history) {
    const id = [...this.#outbox.values()].find((letter) => letter.event === "history")?.id;
    const awaited = id !== undefined && id === this.#resync;
    if (awaited || history.seq > this.#session.seq) {
      this.#covered = history.seq;
      if (awaited) {
        this.#session.seq = Math.max(this.#session.seq, history.seq);
        this.#resync = null;
      }
      for (const asked of [...this.#asked.values()]) this.#rewrite(asked, history, awaited);
    }
    this.#settle(id, null, history);
  }

  #rewrite(asked, { items, active, waiting = [] }, awaited) {
    const now = active?.turn === asked.turn ? active : null;
    const said = now ? null : items.findLast((item) => item.turn === asked.turn && item.role === "assistant");
    if (now || said) {
      const text = now ? now.text : said.content;
      this.#tell(asked, "reset", { channel: "answer" });
      if (text) this.#tell(asked, "token", { value: text });
      for (const ask of now?.asks ?? []) if (!asked.calls.has(ask.call_id)) this.#tell(asked, "ask", ask);
    }
    // What was not waited for is followed by the log: the final event is still on its way.
    if (!awaited || now || asked.turn === null || waiting.includes(asked.turn)) return;
    this.#tell(asked, ...finalOf(said?.status));
  }

  async #renew() {
    const { token } = this.#options;
    if (typeof token !== "function") return;
    try {
      const fresh = await token();
      if (this.state === "open") this.#post("auth", { token: fresh });
    } catch {
      return; // the server closes with 4005, and the next attempt asks again
    }
  }

  async #protocols() {
    const { token } = this.#options;
    const credential = typeof token === "function" ? await token() : token;
    const session = this.#session;
    return [
      SUBPROTOCOL,
      ...(credential ? [bearer(credential)] : []),
      ...(session?.token ? [`resume.${session.token}.${session.epoch}.${session.seq}`] : []),
    ];
  }

  #changed(detail) {
    if (detail.state === "closed") {
      if (ENDED.has(detail.code)) this.#forget();
      for (const id of new Set([...this.#outbox.keys(), ...this.#asked.keys()])) {
        this.#fail(id, "closed", `the connection was closed: ${detail.reason || detail.code}`);
      }
      this.#over(detail);
    }
    this.dispatchEvent(new CustomEvent("state", { detail }));
  }

  // -- over a reload -------------------------------------------------------------------------------------------------

  #load() {
    const { storage, storageKey, replay } = this.#options;
    const stored = guarded(() => JSON.parse(storage?.getItem(storageKey) ?? "null"));
    if (typeof stored?.token !== "string") return null;
    return replay ? { ...stored, seq: 0 } : stored;
  }

  #save() {
    const { storage, storageKey } = this.#options;
    const session = this.#session;
    if (session?.token) guarded(() => storage?.setItem(storageKey, JSON.stringify(session)));
    else if (session) guarded(() => storage?.removeItem(storageKey));
  }

  #forget() {
    guarded(() => this.#options.storage?.removeItem(this.#options.storageKey));
    this.#options.storage = null;
  }
}

/** The events of one turn, for one reader. */
class Answer {
  id = "";
  turn = null;
  #chat;
  #events = [];
  #arrived = () => {};

  constructor(chat) {
    this.#chat = chat;
  }

  put(event) {
    this.#events.push(event);
    this.#arrived();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      while (this.#events.length === 0) await new Promise((resolve) => (this.#arrived = resolve));
      const event = this.#events.shift();
      yield event;
      if (event.data.final || event.event === "error") return;
    }
  }

  async *text() {
    let text = "";
    for await (const { event, data } of this) {
      if (event === "token") text += data.value;
      else if (event === "reset" && data.channel === "answer") text = "";
      else if (event === "error") throw new ChatError(data);
      else continue;
      // Whoever is slow gets the latest, not every step.
      if (this.#events[0]?.event !== "token") yield text;
    }
  }

  stop() {
    return this.#chat.stop({ ref: this.id });
  }
}

/** Keeps a connection: opens it, hears whether it lives, waits, opens it again. Knows nothing of conversations. */
class Link {
  state = "connecting";
  later = null; // how long the server wants nobody to come, once it has closed
  #url;
  #options;
  #chat;
  #socket = null;
  #attempt = null; // what an awaited token was for
  #timer = null; // of the opening, of the waiting, or of the heartbeat: never two at a time
  #step = 0;
  #patient = false;
  #ending = false;
  #received = 0;
  #heardAt = 0;
  #openedAt = null;
  #surroundings = new AbortController();

  constructor(url, options, chat) {
    this.#url = url;
    this.#options = options;
    this.#chat = chat;
    const listen = (target, type, listener) =>
      target?.addEventListener?.(type, listener, { signal: this.#surroundings.signal });
    listen(globalThis, "online", () => this.hasten());
    listen(globalThis, "offline", () => this.hasten());
    listen(globalThis, "pagehide", () => chat.hidden());
    listen(globalThis.document, "visibilitychange", () => document.visibilityState === "visible" && this.hasten());
  }

  async open() {
    const attempt = (this.#attempt = {});
    this.#become("connecting");
    let protocols;
    try {
      protocols = await this.#chat.protocols();
    } catch (error) {
      if (attempt === this.#attempt) this.#lost(1006, `no token: ${error}`);
      return;
    }
    if (attempt !== this.#attempt) return;
    let socket;
    try {
      socket = this.#socket = new this.#options.WebSocket(this.#url, protocols);
    } catch (error) {
      this.#ending = true; // the browser does not let this page go there, and never will
      this.#lost(null, String(error));
      return;
    }
    socket.onmessage = ({ data }) => {
      this.#received++;
      this.#heardAt = this.#options.now();
      this.#chat.received(data);
    };
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    socket.onerror = () => {}; // a close follows, and tells more
    this.#set(this.#options.openTimeout, () => this.#lost(1006, "the server does not answer"));
  }

  /** The server has spoken: the connection is of use. */
  established() {
    this.#openedAt = this.#options.now();
    this.#patient = false;
    this.#become("open");
    this.#beat();
  }

  send(text) {
    // While it closes nothing can be sent; what counts is sent again.
    if (this.#socket?.readyState === 1) this.#socket.send(text);
  }

  /** Something has changed: perhaps there is a network again, or none any more. */
  hasten() {
    if (this.state === "waiting" && !this.#patient) this.open();
    else if (this.state === "open" && !this.#ending) this.#probe();
  }

  again(reason) {
    this.#drop(4000, reason);
    this.#openedAt = null;
    this.open();
  }

  expectEnd() {
    this.#ending = true;
    this.#set(this.#options.pingTimeout, () => this.close());
  }

  close() {
    this.#ending = true;
    if (this.state !== "closed") this.#lost(null, "closed here");
  }

  #beat(silence = 0) {
    const { pingAfter, now } = this.#options;
    if (!pingAfter) return this.#set(null);
    this.#set(pingAfter - silence, () => {
      const silent = now() - this.#heardAt;
      // Timers are not exact; a millisecond is no silence.
      if (silent < pingAfter - 0.001) this.#beat(silent);
      else this.#probe();
    });
  }

  #probe() {
    const before = this.#received;
    this.send('{"event":"ping","data":{}}');
    this.#set(this.#options.pingTimeout, () => {
      if (this.#received !== before) this.#beat(this.#options.now() - this.#heardAt);
      else this.#lost(1006, "no sign of life");
    });
  }

  #lost(code, reason) {
    this.#drop(1000, "");
    if (this.#openedAt !== null && this.#options.now() - this.#openedAt >= STABLE) this.#step = 0;
    this.#openedAt = null;
    if (this.#ending || !(RETURNING.has(code) || (code >= 4000 && code < 4500))) {
      this.#surroundings.abort();
      this.#become("closed", { code, reason: reason || REASONS[code] || "" });
    } else {
      this.#wait(code, reason);
    }
  }

  #wait(code, reason) {
    const { firstDelay, longestDelay, random } = this.#options;
    const crowded = CROWDED.has(code);
    if (crowded) this.#step = Math.max(this.#step, CROWDED_STEP);
    const ceiling = Math.min(longestDelay, firstDelay * 2 ** this.#step++);
    let delay = random() * ceiling;
    if (crowded) delay = (ceiling + delay) / 2;
    this.#patient = crowded || this.later !== null;
    delay += this.later ?? 0;
    this.later = null;
    this.#set(delay, () => this.open());
    this.#become("waiting", { code, reason, retryIn: delay });
  }

  /** Lets go of the socket, which may take its time to close. */
  #drop(code, reason) {
    this.#set(null);
    const socket = this.#socket;
    this.#socket = this.#attempt = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close(code, reason);
  }

  #set(seconds, callback) {
    this.#options.clearTimeout(this.#timer);
    this.#timer = seconds === null ? null : this.#options.setTimeout(callback, seconds);
  }

  #become(state, detail = {}) {
    this.state = state;
    this.#chat.changed({ state, ...detail });
  }
}

/** The address of a WebSocket, relative to the page where there is one. */
function addressOf(url) {
  const address = new URL(url, globalThis.location?.href);
  address.protocol = address.protocol.replace("http", "ws");
  return address.href;
}

/** How a turn ended that a history knows by this status, or no longer knows. */
function finalOf(status) {
  if (status !== undefined && status !== "failed") return ["complete", { status, final: true }];
  const [code, what] = status ? ["generation_failed", "failed"] : ["turn_lost", "ended, and was forgotten,"];
  const message = `the answer ${what} while the connection was away`;
  return ["error", { code, message, retryable: !status, final: true }];
}

function bearer(token) {
  if (PLAIN.test(token)) return `bearer.${token}`;
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  return `bearer64.${btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

function randomName() {
  return [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Storage may be full or forbidden, and what is in it may be anything: then there is none. */
function guarded(action) {
  try {
    return action();
  } catch {
    return null;
  }
}
