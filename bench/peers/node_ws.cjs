// `ws` of Node, the same work: node node_ws.cjs WORK CONSTANTS, the constants of bench/work.py as JSON, times in ms.
// NODE_PATH is the folder that holds `ws`.
"use strict";

const { randomBytes } = require("node:crypto");
const { setImmediate: turn, setTimeout: sleep } = require("node:timers/promises");
const { WebSocketServer } = require("ws");

const work = process.argv[2];
const { tokens, token, pacedTokens, pace, stampWidth, pingInterval, largest } = JSON.parse(process.argv[3]);

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096, maxPayload: largest });
server.on("listening", () => console.log(`Listening on ws://127.0.0.1:${server.address().port}/ws/chat`));

server.on("connection", (socket) => {
  socket.on("error", () => socket.terminate());
  if (work === "large") return void socket.on("message", (data) => socket.send(data, { binary: true }));
  const session_id = "s_" + randomBytes(16).toString("base64url");
  let turns = 0;
  let seq = 0;
  const send = (event) => socket.send(JSON.stringify(event));
  send({ event: "session", data: { resumed: false }, session_id });

  async function answer() {
    const turn_id = ++turns;
    const paced = work === "paced";
    for (let n = 0; n < (paced ? pacedTokens : tokens) && socket.readyState === 1; n++) {
      const value = paced ? process.hrtime.bigint().toString().padStart(stampWidth, "0") : token;
      send({ event: "token", data: { value }, session_id, turn: turn_id, seq: ++seq });
      await (paced ? sleep(pace) : turn());
    }
    send({ event: "complete", data: { final: true, status: "completed" }, session_id, turn: turn_id, seq: ++seq });
  }

  socket.on("message", (message) => {
    const event = JSON.parse(message);
    if (work === "echo") send({ event: "pong", data: event.data, session_id });
    else if (event.content) answer();
  });
});

if (work === "idle") setInterval(() => server.clients.forEach((socket) => socket.ping()), pingInterval);
