"""Asks one address over HTTP: bounded in time and size, following nothing (httpx only here)."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import httpx

from ...config import flag
from ...errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: For the whole answer, in seconds.
TIMEOUT = 5.0

#: The largest answer, in bytes: a JWK Set of 64 large keys with their certificates.
MAX_SIZE = 2**19

#: Connections to the address at the same time; whoever comes then waits, within `TIMEOUT`.
_MAX_CONNECTIONS = 8


#: What clients are told where there was no answer: their tokens may be good.
CANNOT_SAY = 503, "tokens cannot be checked now, try again later", (("Retry-After", "5"),)


class Unavailable(Exception):
    """There was no answer that could be used; the text says why."""


class Fetcher:
    """Fetches the address of the setting `name`. Raises `ConfigError` where it is none.

    It holds connections: close it in the end.
    """

    def __init__(self, name: str, url: str) -> None:
        check_url(name, url)
        self._flag = flag(name)
        self._url = url
        self._fails = False
        self._client = httpx.AsyncClient(
            # What this machine trusts, rather than the list that comes with httpx.
            verify=ssl.create_default_context(),
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=_MAX_CONNECTIONS),
            # A compressed answer could be inflated beyond all bounds.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def fetch(
        self, parse: Callable[[bytes], T], form: Mapping[str, str] | None = None, authorization: str = ""
    ) -> T:
        """What `parse` makes of the answer to GET, or to POST where there is a form.

        Raises `Unavailable`, also where `parse` raises `ValueError`, whose text must be fit for the log.
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                found = parse(await self._fetch(form, authorization))
        except (httpx.HTTPError, OSError, TimeoutError) as exc:
            raise self._unavailable(type(exc).__name__) from exc
        except ValueError as exc:
            raise self._unavailable(str(exc)) from exc
        self._fails = False
        return found

    def _unavailable(self, reason: str) -> Unavailable:
        # Once, until it works again. The address may hold secrets: it is named by its flag.
        if not self._fails:
            self._fails = True
            logger.warning("%s gives no usable answer: %s", self._flag, reason)
        return Unavailable(reason)

    async def _fetch(self, form: Mapping[str, str] | None, authorization: str) -> bytes:
        headers = {"Authorization": authorization} if authorization else {}
        method = "GET" if form is None else "POST"
        async with self._client.stream(method, self._url, data=form, headers=headers) as response:
            if response.status_code != 200:
                raise ValueError(f"status {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_SIZE:
                    raise ValueError(f"more than {MAX_SIZE} bytes")
        return bytes(body)

    async def close(self) -> None:
        await self._client.aclose()


def check_url(name: str, url: str) -> None:
    """Raises `ConfigError` for what is no address of HTTP, and for one with a password: it would be in logs."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.username is None and not parts.fragment
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{flag(name)} takes an address like https://login.example.com/keys, without a password")
