"""Runs a program of a few lines under Node, with wsserver.js and the `ws` of npm."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.web.scripted import scripted

WEB = Path(__file__).parents[2] / "wsserver" / "client" / "web"

#: A second of the chat takes so many milliseconds, so that none is waited for.
SECOND = 20

PRELUDE = f"""
import {{ createRequire }} from "node:module";
import {{ Chat, ChatError }} from {json.dumps((WEB / "wsserver.js").as_uri())};
const WebSocket = createRequire(process.env.NODE_PATH + "/")("ws");
const [url, ...rest] = process.argv.slice(1);
const delays = [];
const show = (value) => console.log(JSON.stringify(value));
const open = (options = {{}}, address = url) => new Chat(address, {{
  WebSocket,
  random: () => 1,
  pingAfter: 0,
  now: () => performance.now() / {SECOND},
  setTimeout: (callback, seconds) => (delays.push(seconds), setTimeout(callback, seconds * {SECOND})),
  clearTimeout,
  openTimeout: 250,
  ...options,
}});
/** Resolves with the detail of the next `state` or `event` that passes `test`. */
const next = (chat, type, test) => new Promise((resolve) => chat.addEventListener(type, function listen({{ detail }}) {{
  if (!test(detail)) return;
  chat.removeEventListener(type, listen);
  resolve(detail);
}}));
class Store {{
  held = {{}};
  getItem = (key) => this.held[key] ?? null;
  setItem = (key, value) => (this.held[key] = value);
  removeItem = (key) => delete this.held[key];
}}
/** What an answer came to: its text, how often it was voided, its last event. */
const whole = async (answer) => {{
  let text = "", resets = 0, last;
  for await (last of answer) {{
    if (last.event === "token") text += last.data.value;
    if (last.event === "reset") (text = ""), resets++;
  }}
  return {{ text, resets, end: last.data.status ?? last.data.code }};
}};
"""


def modules() -> str:
    """The node_modules folder that holds `ws` and `typescript`; skips the test where there is none."""
    found = os.environ.get("WSSERVER_TEST_NODE_PATH")
    if not found or shutil.which("node") is None:
        pytest.skip("needs Node and WSSERVER_TEST_NODE_PATH, the node_modules folder that holds `ws` and `typescript`")
    return found


async def node(program: str, *arguments: str) -> list[Any]:
    """Runs the program; returns what it showed. Fails the test where it fails, or takes longer than 20 s."""
    process = await asyncio.create_subprocess_exec(
        *("node", "--input-type=module", "--eval", PRELUDE + program, *arguments),
        env={**os.environ, "NODE_PATH": modules()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 20)
    except TimeoutError:
        process.kill()
        output, errors = await process.communicate()
        pytest.fail(f"the program did not end: {output.decode()}{errors.decode()}")
    assert process.returncode == 0, errors.decode()
    return [json.loads(line) for line in output.decode().splitlines()]


def run(program: str, *scripts: Any) -> list[Any]:
    """What the program shows, talking to a server that follows the scripts."""

    async def main() -> list[Any]:
        async with scripted(*scripts) as url:
            return await node(program, url)

    return asyncio.run(main())
