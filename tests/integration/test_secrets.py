"""Nothing secret is ever logged: not at DEBUG, in no carrier, whether it was good or bad."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.issuer import SECRET, Endpoint, base64url, jwk, private, signed
from tests.peer import CLOSE, Peer, Refused, request
from wsserver import Config, Request, Server, Turn, User
from wsserver.chat import events
from wsserver.net.admin import requests
from wsserver.wire.handshake import Upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Stands in everything that must not be seen.
MARK = "xyzzy"


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield f"{MARK}-answer"
    if turn.content == f"{MARK}-fail":
        raise RuntimeError("the callback failed")


def tokens() -> dict[str, str]:
    def token(key: str = SECRET, **others: Any) -> str:
        return signed({"sub": "ada", "exp": time.time() + 60, "name": MARK, **others}, key=key)

    return {
        "good": token(),
        "expired": token(exp=1),
        "forged": token(key="another"),
        "for others": token(aud=MARK),
        "nonsense": f"{MARK}.{MARK}.{MARK}",
        "opaque": MARK,
        "malformed": f"{MARK} {MARK}",
    }


def carriers(token: str) -> list[tuple[str, list[str]]]:
    encoded = base64url(token.encode())
    return [
        ("", [f"Authorization: Bearer {token}"]),
        ("", [f"Sec-WebSocket-Protocol: wsserver.v1, bearer.{token}"]),
        ("", [f"Sec-WebSocket-Protocol: wsserver.v1, bearer64.{encoded}"]),
        ("", [f"Sec-WebSocket-Protocol: bearer.{token}"]),
        ("", [f"Sec-WebSocket-Protocol: wsserver.v1, resume.{token}.1.0"]),
        (f"?access_token={token}", []),
        (f"?access_token={token}&access_token={token}&{MARK}=1", []),
        (f"?resume={token}&last_seq={MARK}", []),
        (f"?access_token={token}", [f"Authorization: Bearer {token}", f"Cookie: {MARK}={MARK}"]),
    ]


async def handshake(url: str, query: str, headers: list[str]) -> str:
    """How it ended: a status, a close code, or the code of the last error where the peer was let in and talked."""
    async with Peer.socket(url) as peer:
        await peer.write(request(f"/ws/chat{query}".replace(" ", "%20"), *headers))
        try:
            await peer.read_head()
        except Refused as exc:
            return str(exc.status)
        first, payload = await peer.frame()
        if first == 0x80 | CLOSE:
            return str(int.from_bytes(payload[:2], "big"))
        for content in (f"{MARK}-content", f"{MARK}-fail"):
            await peer.ask(content, id=content)
            ends = await peer.turn()
            await peer.send({"event": MARK, "data": {MARK: MARK}})
            await peer.event("error")
        for token in tokens().values():
            await peer.send({"event": "auth", "data": {"token": token}})
            await peer.event()
        code: str = ends[-1]["data"]["code"]
        return code


def hidden(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What must not stand in the log and does; tracebacks count."""
    secrets = {MARK, "access_token", "resume=", SECRET}
    for token in tokens().values():
        secrets.update(part for part in (token, base64url(token.encode()), token.rpartition(".")[2]) if part)
    return [secret for secret in secrets if secret in caplog.text]


def run(caplog: pytest.LogCaptureFixture, config: Config, authenticate: Any = None) -> list[str]:
    """Each token in each carrier; returns what was answered."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        # So asyncio shows each callback that it has called.
        loop.slow_callback_duration = 0
        answers = []
        async with Server(answer, config, authenticate=authenticate) as server:
            for token in tokens().values():
                for query, headers in carriers(token):
                    answers.append(await handshake(server.urls[0], query, headers))
            for member in server.sockets:
                logging.getLogger("wsserver").debug("%r", member)
        return answers

    with caplog.at_level(logging.DEBUG):
        return run_virtually(main())


@pytest.mark.parametrize("query_token", [False, True])
def test_by_secret(query_token: bool, caplog: pytest.LogCaptureFixture) -> None:
    answers = run(caplog, Config(port=0, jwt_secret=SECRET, query_token=query_token, handshake_rate=0, message_rate=0))
    assert answers.count("generation_failed") == 4
    assert {"400", "401", "4501"} < set(answers)
    assert "a token was refused: it has expired" in caplog.text
    assert "RuntimeError: the callback failed" in caplog.text
    assert "Executing <Handle" in caplog.text
    assert hidden(caplog) == []


def test_by_the_applications_own(caplog: pytest.LogCaptureFixture) -> None:
    async def authenticate(request: Request) -> User | None:
        logging.getLogger("application").debug("%r", request)
        if "authorization" in request.headers:
            return User("ada")
        raise RuntimeError("no header")

    run(caplog, Config(port=0, handshake_rate=0, message_rate=0), authenticate)
    assert "Request(method='GET', path='/ws/chat', http_version='1.1', client=" in caplog.text
    assert "RuntimeError: no header" in caplog.text
    assert hidden(caplog) == []


def test_what_is_asked_elsewhere(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")

    async def main() -> None:
        secret = f"client-{MARK}"
        async with Endpoint({"active": True, "sub": "ada"}).serving() as endpoint:
            config = Config(
                port=0,
                introspection_url=endpoint.url,
                introspection_client_id="chat",
                introspection_client_secret=secret,
            )
            async with Server(answer, config) as server:
                for body in ({"active": True, "sub": "ada", MARK: MARK}, {"active": False, MARK: MARK}, MARK, b"\xff"):
                    endpoint.body = body
                    await handshake(server.urls[0], "", [f"Authorization: Bearer {MARK}{json.dumps(body is MARK)}"])
            endpoint.body = {"keys": [jwk("p256", kid=MARK)]}
            async with Server(answer, Config(port=0, jwks_url=endpoint.url)) as server:
                for kid in (MARK, f"{MARK}-2"):
                    text = signed({"sub": "ada", "exp": 1}, {"alg": "ES256", "kid": kid}, key=private("p256"))
                    await handshake(server.urls[0], "", [f"Authorization: Bearer {text}"])

    with caplog.at_level(logging.DEBUG):
        run_virtually(main())
    # httpx names the address that it asks at INFO: `run` keeps it quiet, and nothing else of it is secret.
    assert "--introspection-url gives no usable answer" in caplog.text
    assert hidden(caplog) == []
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("wsserver")]
    assert not any("of-the-address" in text for text in ours)


def test_the_settings() -> None:
    config = Config(
        jwt_secret=MARK,
        introspection_client_secret=MARK,
        admin_token=MARK,
        jwt_issuer="seen",
        introspection_client_id="seen",
    )
    assert MARK not in repr(config)
    assert repr(config).count("seen") == 2


@pytest.mark.parametrize(
    "thing, shown",
    [
        (Request("GET", "/ws/chat", MARK, {"authorization": MARK}, "1.1"), "path='/ws/chat'"),
        (Upgrade("key", [f"bearer.{MARK}"], []), "key='key'"),
        (requests.Request("POST", ("sessions",), {MARK: MARK}, {"authorization": MARK}, MARK.encode()), "'sessions'"),
        (events.Message(MARK, "m7"), "id='m7'"),
        (events.Answer("c_1", MARK), "call_id='c_1'"),
        (events.Ping(MARK), "id=None"),
        (events.Auth(MARK), "id=None"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_might_be_logged_some_day(thing: object, shown: str) -> None:
    assert shown in repr(thing)
    assert MARK not in repr(thing)
