// A user's program: it is never run, only checked against wsserver.d.ts.
import { Chat, ChatError, type ChatEvent, type Options } from "../../wsserver/client/web/wsserver.js";

declare module "../../wsserver/client/web/wsserver.js" {
  interface Events {
    parcel: { number: string };
  }
}

const options: Options = {
  token: async () => "fresh",
  storage: sessionStorage,
  pingAfter: 5,
  random: () => 0.5,
};
const chat = new Chat(new URL("/ws/chat", "wss://example.org"), options);

chat.addEventListener("state", ({ detail }) => {
  const waiting: boolean = detail.state === "waiting";
  console.log(waiting, detail.retryIn?.toFixed(1), detail.code);
  // @ts-expect-error: there is no such state
  console.log(detail.state === "resting");
});

chat.addEventListener("event", ({ detail: event }) => {
  if (event.event === "parcel") console.log(event.data.number.length, event.turn ?? "pushed");
  if (event.event === "drain") console.log(event.data.reconnect_in + 1);
});

function show(event: ChatEvent): string {
  switch (event.event) {
    case "token":
      return event.data.value;
    case "tool":
      return `${event.data.name}: ${event.data.status}`;
    case "ask":
      void chat.answer(event.data.call_id, true);
      return event.data.message;
    case "complete":
      return event.data.status;
    default:
      return event.local ? "ours" : event.session_id;
  }
}

export async function main(): Promise<void> {
  const answer = chat.ask("What can you do?");
  for await (const event of answer) console.log(show(event));
  try {
    for await (const text of chat.ask({ any: ["JSON", 1, null] }).text()) console.log(text.length);
  } catch (error) {
    if (error instanceof ChatError && error.retryable) console.log(error.code, error.retryAfter);
  }
  const stopped: boolean = await chat.stop({ turn: 1 });
  await chat.stop({ ref: chat.send("more") });
  await chat.stop();
  const { items, active, seq } = await chat.history();
  console.log(stopped, items.length, active?.asks?.[0]?.call_id, seq, answer.turn);
  // @ts-expect-error: a turn is a number
  await chat.stop({ turn: "1" });
  // @ts-expect-error: a function is no JSON
  chat.ask(() => 1);
  await chat.end();
  const { code } = await chat.closed;
  console.log(code);
}
