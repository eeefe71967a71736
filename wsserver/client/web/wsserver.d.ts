/** A conversation with a wsserver. All times are in seconds. */

/** A JSON value. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/**
 * The data of each event, by its name. An application adds its own, from turns or pushed into the session:
 *
 *     declare module "./wsserver.js" { interface Events { parcel: { number: string } } }
 */
export interface Events {
  session: Session;
  ack: { ref: string; turn?: number; queued?: number; duplicate?: boolean };
  start: { ref?: string };
  token: { value: string; from_seq?: number };
  tool: Tool;
  source: { title?: string; text?: string; url?: string; score?: number; [field: string]: unknown };
  ask: Question;
  status: { message: string };
  reset: { channel: "answer" | "sources" };
  complete: { final: true; status: "completed" | "stopped" | "interrupted"; ref?: string; usage?: Json };
  error: Failure;
  history: History;
  replayed: { count: number; seq: number };
  drain: { reconnect_in: number };
  auth_expiring: { expires_in: number };
}

/** A server event. Those that are not declared come too, and are to be passed over, as are unknown fields. */
export type ChatEvent = { [Name in keyof Events]: Named<Name, Events[Name]> }[keyof Events];

export interface Named<Name, Data> {
  event: Name;
  data: Data;
  session_id: string;
  /** The number of the turn that it belongs to. */
  turn?: number;
  /** Its place in the log of the session, where it has one. */
  seq?: number;
  /**
   * True for what no server sent. After a connection was away for longer than the server's log reaches, a `reset` and a
   * `token` with the whole text so far replace what was shown of an answer; an `error` ends a turn that nobody will
   * answer: `session_lost`, `turn_lost`, `closed`, `too_big`.
   */
  local?: true;
}

export interface Session {
  resumed: boolean;
  recovered: boolean;
  resumable: boolean;
  epoch: number;
  seq: number;
  resume_token: string;
  resume_ttl: number;
  ping_interval: number;
  max_message_size: number;
  active_turn: number | null;
}

export interface Tool {
  call_id: string;
  name: string;
  status: "started" | "progress" | "finished" | "failed";
  message?: string;
  input?: Json;
  output?: Json;
  error?: string;
}

export interface Failure {
  code: string;
  message: string;
  retryable: boolean;
  final?: boolean;
  ref?: string;
  retry_after?: number;
}

export interface History {
  /** The oldest first. `turn` is 0 for what the application brought along. */
  items: { turn: number; role: "user" | "assistant"; content: Json; status: string; truncated?: boolean }[];
  /** The answer that is under way, and the questions that wait for an answer. */
  active: { turn: number; text: string; truncated?: boolean; asks?: Question[] } | null;
  /** The turns that have not begun. */
  waiting?: number[];
  seq: number;
}

export interface Question {
  call_id: string;
  message: string;
  schema: JsonSchema;
}

export type JsonSchema = { [keyword: string]: Json };

/** What was asked for and will not be: `code` is one of the protocol's, `session_lost`, `closed` or `too_big`. */
export class ChatError extends Error {
  readonly code: string;
  readonly retryable: boolean;
  readonly retryAfter: number | null;
  readonly ref: string | null;
}

/** `waiting` is between two attempts; `closed` is for good. */
export type State = "connecting" | "open" | "waiting" | "closed";

export interface StateDetail {
  state: State;
  /** Why the connection was lost, or closed: a close code of RFC 6455 or of the protocol; null where it was our doing. */
  code?: number | null;
  reason?: string;
  /** When the next attempt begins. */
  retryIn?: number;
}

export interface Options {
  /** Who is there: a token, or a function that gives a fresh one for every attempt. It never stands in the address. */
  token?: string | null | (() => string | null | Promise<string | null>);
  /** Such as `sessionStorage`: a page that is loaded again resumes its session. */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** Default `wsserver`. */
  storageKey?: string;
  /** A stored session is sent again from its first event, as far as the server still has it. Default false. */
  replay?: boolean;
  /** For an attempt to connect. Default 10. */
  openTimeout?: number;
  /** Silence after which a `ping` is sent. Default 10; 0 for none. */
  pingAfter?: number;
  /** For a sign of life after a ping. Default 5. */
  pingTimeout?: number;
  /** Attempts begin after a random time of at most this, doubled each time. Default 0.5. */
  firstDelay?: number;
  /** The most that it is doubled to. Default 30. */
  longestDelay?: number;
  /** Where there is none, such as in Node 20: that of `ws`. */
  WebSocket?: new (url: string, protocols: string[]) => any;
  /** For tests: from 0 to 1. */
  random?: () => number;
  /** For tests: a clock that never goes back. */
  now?: () => number;
  setTimeout?: (callback: () => void, seconds: number) => any;
  clearTimeout?: (timer: any) => void;
}

/** The events of one turn, for one reader. The last one is final, or the `error` that refuses the message. */
export interface Answer extends AsyncIterable<ChatEvent> {
  /** The client's name of the message: `ref` in what answers it. */
  readonly id: string;
  /** The number of its turn, once it is known. */
  readonly turn: number | null;
  /** The whole text so far, each time there is more of it or it was replaced. Throws `ChatError` for an `error`. */
  text(): AsyncGenerator<string, void, void>;
  /** Ends the turn; false where it was over. */
  stop(): Promise<boolean>;
}

/**
 * A conversation. It connects at once and comes back by itself. What is sent while there is no connection is sent when
 * there is one; each message makes exactly one turn.
 */
export class Chat extends EventTarget {
  /** `url` is ws or wss; http and https become these, and in a page it may be relative. Throws `TypeError`. */
  constructor(url: string | URL, options?: Options);
  readonly state: State;
  /** The public name of the session, null before the first. */
  readonly sessionId: string | null;
  /** Fulfilled when the conversation is over for good. */
  readonly closed: Promise<StateDetail>;
  /** Says something, text or any JSON value, and gives what is answered. Throws `ChatError` `closed`. */
  ask(content: Json): Answer;
  /** The same for a page that is drawn from `event`s; returns the `ref` of those that answer. */
  send(content: Json): string;
  /** Ends a turn, or all that runs or waits; false where there was none. */
  stop(target?: { turn: number } | { ref: string }): Promise<boolean>;
  /** Answers a question of an `ask` event. Rejects with `not_active` where nobody waits for it. */
  answer(callId: string, value: Json): Promise<void>;
  /** What was shown so far; it comes as an `event` too, in its order among the others. */
  history(): Promise<History>;
  /** Ends the session, and with it the connection. */
  end(): Promise<void>;
  /** Only closes the connection: the session waits for somebody to resume it. */
  close(): void;
  /** Tries now, where an attempt is waited for; asks for a sign of life, where there is a connection. */
  retry(): void;

  addEventListener<Type extends keyof Listened>(
    type: Type,
    listener: (event: CustomEvent<Listened[Type]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(...others: Parameters<EventTarget["addEventListener"]>): void;
}

/** What a listener finds in `detail`. */
export interface Listened {
  event: ChatEvent;
  state: StateDetail;
}
