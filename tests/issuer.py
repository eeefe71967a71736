"""Who issues tokens and publishes keys: made by hand, so that it can do what must not be done."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a secret of more than 32 bytes, for tests only"
NOW = 1_800_000_000.0

Claims = dict[str, Any]


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**others: Any) -> Claims:
    """Those of a token that is good at `NOW`; None takes one out."""
    return {name: value for name, value in {"sub": "ada", "exp": NOW + 600, **others}.items() if value is not None}


def signed(payload: Claims | bytes, header: Claims | bytes | None = None, *, key: Any = SECRET, using: str = "") -> str:
    """A token with exactly this header and payload, signed with `key` by the algorithm `using`, or by what it says."""
    if header is None:
        header = {"alg": "HS256", "typ": "JWT"}
    head, body = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload))
    content = f"{base64url(head)}.{base64url(body)}"
    name = using or (header["alg"] if isinstance(header, dict) else "HS256")
    if name.startswith("HS"):
        # By hand: PyJWT would refuse the keys of some attacks.
        digest = getattr(hashlib, f"sha{name[2:]}")
        signature = hmac.new(key if isinstance(key, bytes) else key.encode(), content.encode(), digest).digest()
    else:
        signature = get_default_algorithms()[name].sign(content.encode(), key)
    return f"{content}.{base64url(signature)}"


@cache
def private(kind: str) -> Any:
    """One key of each kind for all tests: making them takes long."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "k256": ec.SECP256K1()}
    return ec.generate_private_key(curves[kind])


def pem(kind: str) -> bytes:
    """The public half."""
    public: bytes = (
        private(kind)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def private_pem(kind: str) -> bytes:
    private_bytes: bytes = private(kind).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private_bytes


def jwk(kind: str, **others: Any) -> Claims:
    """The public half as a JSON Web Key; None takes a member out."""
    public = private(kind).public_key()
    if kind.startswith("rsa"):
        text = RSAAlgorithm.to_jwk(public)
    elif kind == "ed25519":
        text = OKPAlgorithm.to_jwk(public)
    else:
        text = ECAlgorithm.to_jwk(public)
    members = {**json.loads(text), "key_ops": None, **others}
    return {name: value for name, value in members.items() if value is not None}


class Endpoint:
    """Answers each HTTP request with `status` and `body`, and notes what was asked; waits for `gate` first.

    Between the bytes of the body it waits for `pace` seconds, if that is not 0.
    """

    def __init__(self, body: Any = None) -> None:
        self.requests: list[str] = []
        self.status = 200
        self.body = body
        self.headers = ""
        self.pace = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((int(line[15:]) for line in head.lower().splitlines() if line[:15] == "content-length:"), 0)
            self.requests.append(head + (await reader.readexactly(length)).decode())
            await self.gate.wait()
            body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
            head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{self.headers}\r\n"
            writer.write(head.encode())
            for start in range(len(body) if self.pace else 0):
                writer.write(body[start : start + 1])
                await asyncio.sleep(self.pace)
            writer.write(b"" if self.pace else body)
            await writer.drain()
        except ConnectionError:
            self.requests.append("lost")
        finally:
            writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Endpoint]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/answer?secret=of-the-address"
        try:
            yield self
        finally:
            self.gate.set()
            server.close()
