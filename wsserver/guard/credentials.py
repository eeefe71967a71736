"""The bearer token of a request: where it may stand, and that it stands in one place only (RFC 6750, section 2)."""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from ..errors import HandshakeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLAIN, _ENCODED = "bearer.", "bearer64."

#: `b64token` of RFC 6750, section 2.1, and no longer than the headers of a request may be.
_TOKEN = re.compile(r"(?=.{1,16384}\Z)[A-Za-z0-9._~+/-]+=*", re.ASCII)

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Request(Protocol):
    """What is needed of a request."""

    @property
    def query(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def elements(self, name: str) -> list[str]: ...


def bearer_token(request: Request, *, query_token: bool = False) -> str | None:
    """The token of a request, None where it brings none.

    `Authorization: Bearer <token>`; or a subprotocol, `bearer.<token>` or `bearer64.<base64url of it, no padding>`; or
    `?access_token=<token>`, which is not looked at unless `query_token` is set: addresses are kept in many a log.
    Raises `HandshakeError` 400 for several, and for what is no token.
    """
    found = [*_of_header(request), *_of_subprotocols(request)]
    if query_token and "access_token" in request.query:
        found += parse_qs(request.query, keep_blank_values=True).get("access_token", ())
    if not found:
        return None
    if len(found) > 1:
        raise HandshakeError(400, "send one token, in one place", reason="credentials")
    if not is_token(found[0]):
        raise HandshakeError(400, "the token is malformed", reason="credentials")
    return found[0]


def is_token(text: str) -> bool:
    """Whether this may be a token, by its characters and its length."""
    return _TOKEN.fullmatch(text) is not None


def _of_header(request: Request) -> Iterator[str]:
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.strip().partition(" ")
        # Other schemes are the business of others, such as a proxy with a password.
        if scheme.lower() == "bearer":
            yield token.strip()


def _of_subprotocols(request: Request) -> Iterator[str]:
    for offered in request.elements("sec-websocket-protocol"):
        if offered.startswith(_PLAIN):
            yield offered.removeprefix(_PLAIN)
        elif offered.startswith(_ENCODED):
            yield _decoded(offered.removeprefix(_ENCODED))


def _decoded(text: str) -> str:
    """What this is the base64url of; empty, which is no token, where it is not."""
    if not _BASE64URL.fullmatch(text):
        return ""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""
