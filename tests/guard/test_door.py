"""Names and pages that are foreign."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.config import Config
from wsserver.errors import ConfigError, HandshakeError
from wsserver.guard.door import Door
from wsserver.guard.proxies import Client

DIRECT, BY_PROXY = Client("127.0.0.1", trusted=False), Client("192.0.2.7", trusted=True)


def refusal(headers: dict[str, str], client: Client = DIRECT, *, is_local: bool = False, **settings: Any) -> str:
    """Why it is refused; nothing where it is not."""
    try:
        Door(Config(**settings)).check(client, headers, is_local=is_local)
    except HandshakeError as exc:
        assert exc.status == 403
        assert len(exc.message) <= 123, "a Close has no room for more"
        return exc.message
    return ""


class TestHost:
    @pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1", "[::1]:8765", "LOCALHOST", "127.1.2.3:1"])
    def test_this_machine(self, host: str) -> None:
        assert not refusal({"host": host}, is_local=True)

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "evil.example:8765", "localhost.evil.example", "10.0.0.1", "", "localhost/", "a,localhost"],
    )
    def test_another_name_is_refused_with_advice(self, host: str) -> None:
        said = refusal({"host": host}, is_local=True)
        assert "--origin" in said and "--forwarded-allow-ips" in said

    def test_elsewhere_every_name_will_do(self) -> None:
        assert not refusal({"host": "evil.example"})

    def test_the_bound_name_and_those_of_allowed_pages(self) -> None:
        settings: dict[str, Any] = {"host": "127.0.0.1, MyBox.local", "origin": "https://chat.example"}
        for host in ("mybox.local:8765", "chat.example", "Chat.Example:9"):
            assert not refusal({"host": host}, is_local=True, **settings)
        assert refusal({"host": "sub.chat.example"}, is_local=True, **settings)
        assert refusal({"host": "evil.example"}, is_local=True, origin="*")

    def test_a_trusted_proxy_passes_on_any_name(self) -> None:
        assert not refusal({"host": "chat.example"}, BY_PROXY, is_local=True)


class TestOrigin:
    def test_a_program_sends_none(self) -> None:
        assert not refusal({"host": "chat.example"})

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "https://chat.example:8443"])
    def test_a_foreign_page_is_refused_with_advice(self, origin: str) -> None:
        assert "--origin" in refusal({"host": "chat.example", "origin": origin})
        assert not refusal({"host": "chat.example", "origin": origin}, origin="*")

    def test_a_page_of_its_own_or_of_the_list(self) -> None:
        assert not refusal({"host": "chat.example", "origin": "https://chat.example"})
        assert not refusal({"host": "x", "origin": "https://chat.example"}, origin="https://chat.example")

    @pytest.mark.parametrize("forwarded", ["chat.example", "spoofed.example, chat.example", "chat.example:443"])
    def test_of_the_host_that_a_trusted_proxy_names(self, forwarded: str) -> None:
        headers = {"host": "backend:8765", "x-forwarded-host": forwarded, "origin": "https://chat.example"}
        assert not refusal(headers, BY_PROXY)
        assert refusal(headers, DIRECT)
        assert refusal({**headers, "origin": "http://backend:8765"}, BY_PROXY)

    @pytest.mark.parametrize("forwarded", [{}, {"x-forwarded-host": ""}, {"x-forwarded-host": " , "}])
    def test_or_the_one_that_it_passes_on(self, forwarded: dict[str, str]) -> None:
        headers = {"host": "chat.example", "origin": "https://chat.example", **forwarded}
        assert not refusal(headers, BY_PROXY)


@pytest.mark.parametrize("settings", [{"origin": "chat.example"}, {"forwarded_allow_ips": "nginx"}])
def test_settings_that_cannot_work(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        Door(Config(**settings))  # type: ignore[arg-type]
