"""Who comes in by which token, on real sockets, and which settings cannot work."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.issuer import SECRET, Endpoint, base64url, jwk, pem, private, private_pem, signed
from tests.peer import Peer, Refused, request
from wsserver import Config, ConfigError, Request, Server, Turn, User
from wsserver.guard.claims import LEEWAY
from wsserver.net.auth import authentication

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield f"you are {turn.session.user}"


def claims(**others: Any) -> dict[str, Any]:
    return {"sub": "ada", "exp": time.time() + 600, **others}


async def user_of(url: str, *headers: str) -> str:
    async with Peer.connect(url, *headers) as peer:
        await peer.ask("who am I")
        name: str = (await peer.turn())[1]["data"]["value"]
        return name.removeprefix("you are ")


async def refusal(url: str, *headers: str) -> Refused:
    with pytest.raises(Refused) as caught:
        await user_of(url, *headers)
    return caught.value


class TestCarriers:
    @pytest.mark.parametrize("query_token", [False, True])
    def test_each_lets_in_and_none_is_echoed(self, query_token: bool) -> None:
        async def main() -> None:
            good = signed(claims())
            config = Config(port=0, jwt_secret=SECRET, query_token=query_token)
            async with Server(answer, config) as server:
                [url] = server.urls
                assert await user_of(url, f"Authorization: Bearer {good}") == "ada"
                for offer in (f"bearer.{good}", f"bearer64.{base64url(good.encode())}"):
                    async with Peer.connect(url, f"Sec-WebSocket-Protocol: {offer}, wsserver.v1") as peer:
                        assert "Sec-WebSocket-Protocol: wsserver.v1\r\n" in peer.head
                        assert offer not in peer.head
                if query_token:
                    assert await user_of(f"{url}?access_token={good}") == "ada"
                else:
                    assert (await refusal(f"{url}?access_token={good}")).status == 401

        run_virtually(main())

    def test_refusals(self) -> None:
        async def main() -> None:
            good, bad = signed(claims()), signed(claims(), key="another secret")
            async with Server(answer, Config(port=0, jwt_secret=SECRET)) as server:
                [url] = server.urls
                for headers in ([], ["Authorization: Basic eA=="], [f"Authorization: Bearer {bad}"]):
                    refused = await refusal(url, *headers)
                    assert refused.status == 401
                    assert "WWW-Authenticate: Bearer\r\n" in refused.head
                for headers in (
                    [f"Authorization: Bearer {good}", f"Authorization: Bearer {good}"],
                    [f"Authorization: Bearer {good}", f"Sec-WebSocket-Protocol: wsserver.v1, bearer.{good}"],
                    [f"Sec-WebSocket-Protocol: bearer.{good}"],
                    ["Authorization: Bearer a b"],
                ):
                    assert (await refusal(url, *headers)).status == 400
                assert not len(server.sessions)

        run_virtually(main())

    def test_who_offers_the_subprotocol_is_told_by_a_close_code(self) -> None:
        async def main() -> tuple[int, str]:
            async with Server(answer, Config(port=0, jwt_secret=SECRET)) as server, Peer.socket(server.urls[0]) as peer:
                offer = f"Sec-WebSocket-Protocol: wsserver.v1, bearer.{signed(claims(exp=1))}"
                await peer.write(request("/ws/chat", offer))
                await peer.read_head()
                return await peer.closed()

        assert run_virtually(main()) == (4501, "no or invalid token")


class TestSources:
    def test_by_key(self, tmp_path: Path) -> None:
        async def main() -> None:
            (tmp_path / "key.pem").write_bytes(pem("p256"))
            config = Config(port=0, jwt_key=str(tmp_path / "key.pem"), jwt_audience="chat", jwt_issuer="https://x")
            good = claims(aud="chat", iss="https://x")
            async with Server(answer, config) as server:
                for said, key, let_in in (
                    (good, private("p256"), True),
                    (good, private("ed25519"), False),
                    (claims(iss="https://x"), private("p256"), False),
                    (claims(aud="chat"), private("p256"), False),
                ):
                    text = signed(said, {"alg": "EdDSA" if key is private("ed25519") else "ES256"}, key=key)
                    header = f"Authorization: Bearer {text}"
                    if let_in:
                        assert await user_of(server.urls[0], header) == "ada"
                    else:
                        assert (await refusal(server.urls[0], header)).status == 401

        run_virtually(main())

    def test_by_published_keys(self) -> None:
        async def main() -> None:
            async with Endpoint({"keys": [jwk("rsa", kid="r")]}).serving() as endpoint:
                async with Server(answer, Config(port=0, jwks_url=endpoint.url)) as server:
                    text = signed(claims(), {"alg": "RS256", "kid": "r"}, key=private("rsa"))
                    assert await user_of(server.urls[0], f"Authorization: Bearer {text}") == "ada"

        run_virtually(main())

    def test_by_introspection(self) -> None:
        async def main() -> None:
            async with Endpoint({"active": True, "sub": "ada"}).serving() as endpoint:
                config = Config(
                    port=0,
                    introspection_url=endpoint.url,
                    introspection_client_id="chat",
                    introspection_client_secret="x",
                )
                async with Server(answer, config) as server:
                    assert await user_of(server.urls[0], "Authorization: Bearer opaque") == "ada"
                    endpoint.status = 500
                    refused = await refusal(server.urls[0], "Authorization: Bearer another")
                    assert refused.status == 503
                    assert "Retry-After: 5\r\n" in refused.head

        run_virtually(main())

    def test_the_applications_own_wins(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return User("whoever")

        async def main() -> None:
            # The setting could not even work.
            config = Config(port=0, jwt_secret="too short")
            async with Server(answer, config, authenticate=authenticate) as server:
                assert await user_of(server.urls[0]) == "whoever"

        run_virtually(main())

    def test_a_user_whose_time_is_over_is_nobody(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return User("ada", time.time() - 1)

        async def main() -> None:
            async with Server(answer, Config(port=0), authenticate=authenticate) as server:
                assert (await refusal(server.urls[0])).status == 401

        run_virtually(main())


class TestSettings:
    def refused(self, **settings: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            Server(answer, Config(**settings))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_short_secret(self) -> None:
        text = self.refused(jwt_secret="hunter2")
        assert text.startswith("--jwt-secret has 7 bytes, and HS256 needs 32: whoever has one token could ")
        assert "hunter2" not in text
        assert "HS512 needs 64" in self.refused(jwt_secret="x" * 63, jwt_algorithms="HS512")

    def test_one_source(self) -> None:
        text = self.refused(jwt_secret=SECRET, jwks_url="https://x/")
        assert text == "--jwt-secret and --jwks-url exclude one another: choose where tokens come from"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("jwt_algorithms", "ES256"),
            ("jwt_audience", "x"),
            ("jwt_issuer", "x"),
            ("introspection_client_id", "x"),
            ("introspection_client_secret", "x"),
            ("query_token", True),
        ],
    )
    def test_what_does_nothing_alone(self, name: str, value: Any) -> None:
        expected = f"--{name.replace('_', '-')} lets nobody in or out without --jwt-secret, --jwt-key, --jwks-url"
        assert self.refused(**{name: value}).startswith(expected)

    @pytest.mark.parametrize("names", ["none", "HS256,none", "RS256", "HS256,ES256", "hs256"])
    def test_algorithms_of_a_secret(self, names: str) -> None:
        text = self.refused(jwt_secret=SECRET, jwt_algorithms=names)
        assert text.startswith("--jwt-algorithms takes, for this kind of key, some of HS256, HS384, HS512, not ")

    @pytest.mark.parametrize("names", ["none", "HS256", "RS256,HS256"])
    def test_algorithms_of_keys(self, names: str) -> None:
        text = self.refused(jwks_url="https://x/", jwt_algorithms=names)
        assert text.startswith("--jwt-algorithms takes, for this kind of key, some of ES256, ")

    def test_a_key_that_is_for_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        path.write_bytes(pem("p384"))
        assert "is a key for ES384, of which --jwt-algorithms allows none" in self.refused(jwt_key=str(path))
        Server(answer, Config(jwt_key=str(path), jwt_algorithms="ES384, ES256"))
        path.write_bytes(private_pem("p256"))
        assert "its public half" in self.refused(jwt_key=str(path))

    @pytest.mark.parametrize("path", ["/nowhere/key.pem", "/", "a\0b"])
    def test_a_key_that_cannot_be_read(self, path: str) -> None:
        assert self.refused(jwt_key=path).startswith(f"--jwt-key {path} cannot be read: ")

    def test_introspection(self) -> None:
        url = {"introspection_url": "https://x/"}
        assert "leave it out" in self.refused(**url, jwt_algorithms="ES256")
        assert "needs --introspection-client-id" in self.refused(**url, introspection_client_secret="x")
        assert "takes an address" in self.refused(introspection_url="x")

    @pytest.mark.parametrize(
        ("name", "value", "missing"),
        [
            ("jwt_secret", SECRET, "jwt"),
            ("jwt_key", "key.pem", "cryptography"),
            ("jwks_url", "https://x/", "jwt"),
            ("jwks_url", "https://x/", "httpx"),
            ("introspection_url", "https://x/", "httpx"),
        ],
    )
    def test_the_extra(
        self, name: str, value: str, missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "key.pem").write_bytes(pem("p256"))
        for module in [module for module in sys.modules if module.partition(".")[0] == missing]:
            monkeypatch.setitem(sys.modules, module, None)
        for module in ("fetch", "keys", "introspection"):
            monkeypatch.delitem(sys.modules, f"wsserver.net.auth.{module}", raising=False)
        monkeypatch.setitem(sys.modules, missing, None)
        expected = f"--{name.replace('_', '-')} needs {missing}"
        text = self.refused(**{name: value})
        assert text.startswith(expected)
        assert text.endswith(": pip install 'wsserver[jwt]'")


class TestOpenDoors:
    @pytest.mark.parametrize(
        ("host", "settings", "warned"),
        [
            ("0.0.0.0", {}, True),
            ("127.0.0.1,::1", {}, False),
            ("127.0.0.1", {}, False),
            ("0.0.0.0", {"jwt_secret": SECRET}, False),
        ],
    )
    def test_one_warning_on_a_public_address(
        self, host: str, settings: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, host=host, **settings)):
                pass

        run_virtually(main())
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == warned
        assert all(text.startswith("everybody who reaches 0.0.0.0 is let in: ask for tokens") for text in warnings)

    def test_none_on_a_unix_socket(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            async with Server(answer, Config(uds=str(tmp_path / "s"))):
                pass

        run_virtually(main())
        assert caplog.records == []


class TestMint:
    def test_what_is_minted_lets_in(self) -> None:
        config = Config(port=0, jwt_secret=SECRET * 2, jwt_algorithms="HS512,HS384", jwt_audience="a", jwt_issuer="i")

        async def main() -> str:
            async with Server(answer, config) as server:
                minted = authentication.mint(config, "bea", 60)
                return await user_of(server.urls[0], f"Authorization: Bearer {minted}")

        assert run_virtually(main()) == "bea"

    def test_it_ends(self) -> None:
        config = Config(jwt_secret=SECRET)
        verifier = authentication.from_config(config)
        assert verifier is not None
        minted = authentication.mint(config, "ada", 60)
        found = run_virtually(verifier(Request("GET", "/", "", {"authorization": f"Bearer {minted}"}, "1.1")))
        assert found is not None and found.expires == pytest.approx(time.time() + 60 + LEEWAY, abs=5)

    @pytest.mark.parametrize(
        ("settings", "user", "lifetime", "reason"),
        [
            ({}, "ada", 60, "a token is signed with --jwt-secret"),
            ({"jwt_secret": "short"}, "ada", 60, "--jwt-secret has 5 bytes"),
            ({"jwt_secret": SECRET}, "", 60, "no server would take this token: its sub"),
            ({"jwt_secret": SECRET}, "ada", 1e300, "no server would take this token: its exp"),
        ],
    )
    def test_what_no_server_would_take(self, settings: dict[str, Any], user: str, lifetime: float, reason: str) -> None:
        with pytest.raises(ConfigError, match=reason):
            authentication.mint(Config(**settings), user, lifetime)

    def test_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in [module for module in sys.modules if module.partition(".")[0] == "jwt"]:
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ConfigError, match=r"pip install 'wsserver\[jwt\]'"):
            authentication.mint(Config(jwt_secret=SECRET), "ada", 60)
