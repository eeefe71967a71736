"""Who comes in by which token: the flags → what `authenticate` is where the application brings none of its own."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...config import flag
from ...errors import ConfigError
from ...guard import keys, tokens
from ...guard.claims import InvalidToken, Policy
from ...guard.credentials import bearer_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...config import Config
    from ...guard.keys import Key
    from ...guard.user import User
    from ...wire.handshake import Request

logger = logging.getLogger(__name__)

_QUALIFIERS = (
    "jwt_algorithms",
    "jwt_audience",
    "jwt_issuer",
    "introspection_client_id",
    "introspection_client_secret",
    "query_token",
)


class Verifier(Protocol):
    """Knows whose a token is."""

    async def user_of(self, token: str) -> User:
        """Raises `InvalidToken`, and `HandshakeError` where nobody can say now."""

    async def close(self) -> None: ...


class Authentication:
    """`authenticate` by tokens. To be closed once it is needed no more."""

    def __init__(self, verifier: Verifier, *, query_token: bool = False) -> None:
        self._verifier = verifier
        self._query_token = query_token

    async def __call__(self, request: Request) -> User | None:
        token = bearer_token(request, query_token=self._query_token)
        if token is None:
            return None
        try:
            return await self._verifier.user_of(token)
        except InvalidToken as exc:
            logger.debug("a token was refused: %s", exc)
            return None

    async def close(self) -> None:
        await self._verifier.close()


class OneKey:
    """Verifies tokens with a key that is at hand."""

    def __init__(self, policy: Policy, key: Key) -> None:
        self._policy = policy
        self._key = key

    async def user_of(self, token: str) -> User:
        return tokens.verify(tokens.read(token, self._policy), self._key, self._policy, time.time())

    async def close(self) -> None:
        """It holds nothing."""


def from_config(config: Config) -> Authentication | None:
    """What the flags ask for, None where they ask for nothing: then everybody is let in.

    Raises `ConfigError` for what cannot work, and where the extra is missing.
    """
    sources = [name for name in _SOURCES if getattr(config, name)]
    if not sources:
        for name in _QUALIFIERS:
            if getattr(config, name):
                raise ConfigError(f"{flag(name)} lets nobody in or out without {', '.join(map(flag, _SOURCES))}")
        return None
    if len(sources) > 1:
        raise ConfigError(f"{' and '.join(map(flag, sources))} exclude one another: choose where tokens come from")
    try:
        verifier = _SOURCES[sources[0]](config)
    except ModuleNotFoundError as exc:
        raise _missing(sources[0], exc) from exc
    return Authentication(verifier, query_token=config.query_token)


def _policy_of(config: Config, known: frozenset[str], default: frozenset[str]) -> Policy:
    """What is asked of tokens; `known` are the algorithms for this kind of key. Raises `ConfigError`."""
    names = frozenset(name for part in config.jwt_algorithms.split(",") if (name := part.strip()))
    if not names <= known:
        raise ConfigError(
            f"{flag('jwt_algorithms')} takes, for this kind of key, some of {', '.join(sorted(known))},"
            f" not {', '.join(sorted(names - known))}"
        )
    return Policy(names or default, config.jwt_audience, config.jwt_issuer)


def mint(config: Config, user: str, lifetime: float) -> str:
    """A token for development that a server with the same settings takes. Raises `ConfigError`."""
    if not config.jwt_secret:
        raise ConfigError(f"a token is signed with {flag('jwt_secret')}: give it, or its variable")
    try:
        policy, key = _secret_of(config)
    except ModuleNotFoundError as exc:
        raise _missing("jwt_secret", exc) from exc
    now = int(time.time())
    claims: dict[str, object] = {"sub": user, "iat": now, "exp": now + lifetime}
    if policy.audience:
        claims["aud"] = policy.audience
    if policy.issuer:
        claims["iss"] = policy.issuer
    minted = tokens.mint(claims, key, min(policy.algorithms))
    try:
        tokens.verify(tokens.read(minted, policy), key, policy, now)
    except InvalidToken as exc:
        raise ConfigError(f"no server would take this token: {exc}") from exc
    return minted


def _missing(name: str, exc: ModuleNotFoundError) -> ConfigError:
    return ConfigError(f"{flag(name)} needs {exc.name}: pip install 'wsserver[jwt]'")


def _secret_of(config: Config) -> tuple[Policy, Key]:
    policy = _policy_of(config, frozenset(keys.SECRET_ALGORITHMS), keys.DEFAULT_SECRET_ALGORITHMS)
    return policy, keys.of_secret(config.jwt_secret, policy.algorithms)


def _public_policy(config: Config) -> Policy:
    return _policy_of(config, keys.PUBLIC_ALGORITHMS, keys.DEFAULT_PUBLIC_ALGORITHMS)


def _by_secret(config: Config) -> Verifier:
    return OneKey(*_secret_of(config))


def _by_key(config: Config) -> Verifier:
    policy = _public_policy(config)
    try:
        pem = Path(config.jwt_key).read_bytes()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigError(f"{flag('jwt_key')} {config.jwt_key} cannot be read: {reason}") from exc
    key = keys.of_pem(pem)
    if not key.algorithms & policy.algorithms:
        raise ConfigError(
            f"{flag('jwt_key')} is a key for {', '.join(sorted(key.algorithms))}, of which"
            f" {flag('jwt_algorithms')} allows none"
        )
    return OneKey(policy, key)


def _by_published_keys(config: Config) -> Verifier:
    keys.require()
    from .fetch import Fetcher
    from .keys import PublishedKeys

    return PublishedKeys(_public_policy(config), Fetcher("jwks_url", config.jwks_url))


def _by_introspection(config: Config) -> Verifier:
    from .fetch import Fetcher
    from .introspection import Introspection

    if config.jwt_algorithms:
        raise ConfigError(f"{flag('jwt_algorithms')} is nothing to {flag('introspection_url')}: leave it out")
    if config.introspection_client_secret and not config.introspection_client_id:
        raise ConfigError(f"{flag('introspection_client_secret')} needs {flag('introspection_client_id')}")
    policy = Policy(frozenset(), config.jwt_audience, config.jwt_issuer)
    fetcher = Fetcher("introspection_url", config.introspection_url)
    return Introspection(policy, fetcher, config.introspection_client_id, config.introspection_client_secret)


_SOURCES: dict[str, Callable[[Config], Verifier]] = {
    "jwt_secret": _by_secret,
    "jwt_key": _by_key,
    "jwks_url": _by_published_keys,
    "introspection_url": _by_introspection,
}
