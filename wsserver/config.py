"""One frozen `Config`, validated once; the flags, their variables and their help are made from its fields."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from math import inf
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import ConfigError

if TYPE_CHECKING:
    from dataclasses import Field

KiB = 2**10
MiB = 2**20

#: Stands for "no limit" where a limit of 0 says so.
NO_LIMIT = 2**63 - 1


#: Where the raw echo answers.
ECHO_PATH = "/echo"

#: Where health is told: the process lives, and wants clients.
HEALTH, READINESS = HEALTH_PATHS = ("/healthz", "/readyz")

_PLAIN_PATH = re.compile("/[A-Za-z0-9/._~-]*")

Loop = Literal["uvloop", "asyncio"]
Framing = Literal["lanes", "wsproto"]
Busy = Literal["queue", "reject", "interrupt"]
OnDisconnect = Literal["continue", "cancel"]
Durability = Literal["fast", "strict"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


def _setting(
    default: Any,
    text: str,
    *,
    zero: str | None = None,
    maximum: float | None = None,
    of: Any = None,
    shown: str | None = None,
    secret: bool = False,
    repeatable: bool = False,
) -> Any:
    """A field with the help text of its flag; the flag of what is on by default switches it off.

    `zero` says what 0 means, or is None where 0 is not allowed; `of` is the Literal whose words may be chosen; `shown`
    is what people read of a default that depends on the machine; what is `secret` is never shown, and may come from a
    file; `repeatable` flags are joined by commas.
    """
    metadata = {
        "help": text,
        "zero": zero,
        "maximum": maximum,
        "choices": get_args(of),
        "shown": shown or str(default) or "none",
        "secret": secret,
        "repeatable": repeatable,
    }
    return field(default=default, metadata=metadata, repr=not secret)


def _quarter_of_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return 1024 * MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of a server. Times are in seconds, sizes in bytes; raises `ConfigError` for what cannot work."""

    host: str = _setting("127.0.0.1", "addresses to listen on, separated by commas")
    port: int = _setting(8765, "TCP port", zero="a free one, printed", maximum=65535)
    uds: str = _setting("", "path of a UNIX socket to listen on, instead of host and port")
    path: str = _setting("/ws/chat", "path of the WebSocket")
    workers: int = _setting(1, "processes that serve the port", maximum=1024)
    loop: Loop = _setting("uvloop", "event loop; uvloop where it runs", of=Loop)
    framing: Framing = _setting("lanes", "wsproto takes every frame through wsproto, to compare", of=Framing)
    echo: bool = _setting(False, "mount a raw echo at /echo")
    page: bool = _setting(True, "serve neither the chat page nor wsserver.js")

    flush_interval: float = _setting(
        0.001,
        "wait of a token for its neighbours, longer where a busy loop has many to write to",
        zero="leave at the end of the loop turn",
    )
    soft_limit: int = _setting(64 * KiB, "unsent bytes at which a callback waits for the reader")
    hard_limit: int = _setting(MiB, "unsent bytes at which a connection is no longer read")

    max_message_size: int = _setting(64 * KiB, "largest message of a client", zero="no limit")
    max_history: int = _setting(MiB, "what a session remembers of its conversation", zero="no history")
    max_state: int = _setting(64 * KiB, "what the application may keep in a session", zero="no state")
    max_log_size: int = _setting(MiB, "events that a session holds for a replay", zero="no replay")
    max_memory: int = _setting(
        _quarter_of_memory(),
        "logs, histories, waiting messages and running answers of all sessions together",
        zero="no limit",
        shown="25 % of the machine's",
    )
    max_connections: int = _setting(10000, "open connections", zero="no limit")
    max_connections_per_ip: int = _setting(64, "open connections of one address, or IPv6 network", zero="no limit")
    max_connections_per_user: int = _setting(16, "open connections of one user", zero="no limit")
    handshake_rate: float = _setting(20.0, "handshakes of one address each second", zero="no limit")
    message_rate: float = _setting(20.0, "messages of one session each second", zero="no limit")
    byte_rate: int = _setting(MiB, "bytes of one session each second; beyond it is read later", zero="no limit")
    max_turns_per_user: int = _setting(4, "sessions of one user that answer at the same time", zero="no limit")
    max_queue: int = _setting(16, "messages that wait while a turn runs", zero="queue nothing")
    busy: Busy = _setting("queue", "what a message does while a turn runs", of=Busy)

    open_timeout: float = _setting(10.0, "for the opening handshake", zero="none")
    close_timeout: float = _setting(
        5.0, "for the closing handshake, and for a callback that ends", zero="none for a callback, 60 for a socket"
    )
    write_timeout: float = _setting(30.0, "without progress of unsent bytes, until a slow reader is cut", zero="none")
    turn_timeout: float = _setting(600.0, "for one turn", zero="none")
    ping_interval: float = _setting(25.0, "between pings", zero="no pings")
    ping_timeout: float = _setting(10.0, "for a sign of life after a ping")
    max_age: float = _setting(0.0, "for one connection, which then has to come back", zero="no limit")

    resume_ttl: float = _setting(
        120.0, "that a session waits for its client", zero="no resume: a session ends with its connection"
    )
    on_disconnect: OnDisconnect = _setting(
        "continue", "what becomes of the answers of a client that is away", of=OnDisconnect
    )
    drain_timeout: float = _setting(30.0, "for running answers when the server ends", zero="cut at once")

    compression: bool = _setting(False, "accept permessage-deflate")
    compression_context: bool = _setting(False, "keep the compression context between messages (92 KiB each)")

    origin: str = _setting(
        "",
        "origin of pages that may connect, like https://chat.example, or * for all; may be repeated",
        shown="the server's own host",
        repeatable=True,
    )
    proxy_protocol: bool = _setting(False, "every connection begins with a preamble of the PROXY protocol, v1 or v2")
    forwarded_allow_ips: str = _setting(
        "", "addresses or networks of proxies, unix: for UNIX sockets, or *: who may say whose request it is"
    )

    redis: str = _setting("", "address of a Redis that several processes share, like redis://host:6379/0", secret=True)
    durability: Durability = _setting("fast", "strict shows nothing that Redis does not hold yet", of=Durability)

    admin_host: str = _setting("127.0.0.1", "address of the admin port")
    admin_port: int = _setting(
        0, "TCP port on which programs look into sessions and speak into them", zero="none", maximum=65535
    )
    admin_token: str = _setting("", "what opens the admin port; made and printed where none is given", secret=True)

    jwt_secret: str = _setting("", "secret that tokens (JWT) are signed with, 32 bytes or more", secret=True)
    jwt_key: str = _setting("", "PEM file of the public key that tokens are signed with")
    jwks_url: str = _setting("", "address of the public keys (JWK Set) that tokens are signed with")
    jwt_algorithms: str = _setting(
        "",
        "algorithms of tokens, separated by commas",
        shown="HS256 with a secret, RS256, ES256 and EdDSA with keys",
    )
    jwt_audience: str = _setting("", "what tokens must name in aud")
    jwt_issuer: str = _setting("", "what tokens must name in iss")
    introspection_url: str = _setting("", "address of OAuth 2.0 token introspection, which is asked about tokens")
    introspection_client_id: str = _setting("", "who asks there")
    introspection_client_secret: str = _setting("", "its password", secret=True)
    query_token: bool = _setting(False, "take tokens from ?access_token= too, which many a log keeps")

    ssl_certfile: str = _setting("", "PEM file of the certificate and its chain; with it, TLS is spoken")
    ssl_keyfile: str = _setting("", "PEM file of its private key, if that is not in the same file")
    ssl_ca_certs: str = _setting("", "PEM file of authorities; clients must show a certificate signed by one of them")

    log_level: LogLevel = _setting("info", "what is logged", of=LogLevel)
    log_format: LogFormat = _setting("text", "text for people, or an object a line for machines", of=LogFormat)
    log_people: bool = _setting(True, "log neither users nor addresses of clients")

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check(setting, getattr(self, setting.name))
        if not all(map(str.strip, self.host.split(","))):
            raise ConfigError(
                f"{flag('host')} takes addresses separated by commas, like 127.0.0.1,::1, not {self.host!r}"
            )
        if not self.path.startswith("/"):
            raise ConfigError(f"{flag('path')} must begin with a slash, like /ws/chat, not {self.path!r}")
        if not _PLAIN_PATH.fullmatch(self.path):
            raise ConfigError(f"{flag('path')} takes letters, digits and /-._~ as they are, not {self.path!r}")
        if self.path in HEALTH_PATHS:
            raise ConfigError(f"{flag('path')} {self.path} is taken by the health checks: choose another path")
        if self.echo and self.path == ECHO_PATH:
            raise ConfigError(f"{flag('path')} {ECHO_PATH} is taken by {flag('echo')}: choose another path")
        for name in ("ssl_keyfile", "ssl_ca_certs"):
            if getattr(self, name) and not self.ssl_certfile:
                raise ConfigError(f"{flag(name)} does nothing without {flag('ssl_certfile')}: set that too")
        if self.workers > 1 and not self.redis and self.resume_ttl:
            raise ConfigError(
                f"{flag('workers')} {self.workers} needs {flag('redis')}: a client that comes back may reach another"
                f" process than that of its session; or set {flag('resume_ttl')} 0, so that none comes back"
            )
        if self.durability != "fast" and not self.redis:
            raise ConfigError(f"{flag('durability')} does nothing without {flag('redis')}: set that too")
        if self.hard_limit < self.soft_limit:
            raise ConfigError(
                f"{flag('hard_limit')} ({self.hard_limit}) must not be below {flag('soft_limit')} ({self.soft_limit})"
            )


def flag(name: str) -> str:
    """The command-line flag of a setting: `--no-…` for what is on by default."""
    no = "no-" if Config.__dataclass_fields__[name].default is True else ""
    return f"--{no}{name.replace('_', '-')}"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return "WSSERVER_" + name.upper()


_NOUNS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _check(setting: Field[Any], value: Any) -> None:
    name, metadata = flag(setting.name), setting.metadata
    kind: Any = type(setting.default)
    if metadata["choices"]:
        if value not in metadata["choices"]:
            raise ConfigError(f"{name} must be one of {', '.join(metadata['choices'])}, not {value!r}")
    elif type(value) is not kind and not (kind is float and type(value) is int):
        shown = type(value).__name__ if metadata["secret"] else repr(value)
        raise ConfigError(f"{name} takes {_NOUNS[kind]}, not {shown}")
    elif kind is str:
        if not value and setting.default:
            raise ConfigError(f"{name} must not be empty: {metadata['help']}")
    elif kind is not bool:
        # NaN fails every comparison.
        if not value < inf:
            raise ConfigError(f"{name} must be a finite number, not {value}")
        if value < 0:
            raise ConfigError(f"{name} must not be negative, but is {value}")
        if value == 0 and metadata["zero"] is None:
            raise ConfigError(f"{name} must be more than 0")
        if metadata["maximum"] is not None and value > metadata["maximum"]:
            raise ConfigError(f"{name} must be at most {metadata['maximum']}, but is {value}")
