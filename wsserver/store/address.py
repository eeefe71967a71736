"""Where a Redis is: the address that people write, and the client of redis-py that it stands for.

::

    redis://[user:password@]host[:6379][/db]            one server; rediss:// over TLS
    unix:///path/to/redis.sock[?db=0]                   one server
    redis+sentinel://[user:password@]host[:26379],…/service[/db]     whatever the sentinels say is the primary
    redis+cluster://[user:password@]host[:6379],…       a cluster

`rediss+sentinel` and `rediss+cluster` speak TLS. What follows `?` are settings of redis-py's connections, such as
`ssl_ca_certs`, those of the sentinels themselves `sentinel_username` and `sentinel_password`; and `prefix`, what the
names of all keys begin with, for several applications on one Redis. No password is ever shown.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError, RedisClusterException

from ..config import flag
from ..errors import ConfigError

#: What the names of keys begin with.
PREFIX = "wsserver:"

#: Seconds for a connection, and for an answer.
TIMEOUT = 5.0

#: What a broken connection was sent is sent again so often, within about a second; then whoever asked hears of it.
_RETRIES = 3

_PORTS = {"": 6379, "cluster": 6379, "sentinel": 26379}

Client = Redis | RedisCluster


class Address(NamedTuple):
    """An address as it was understood; `settings` and `sentinel` are what redis-py takes."""

    shown: str  # for people: without user, password and settings
    kind: str  # "", "sentinel", "cluster"
    hosts: tuple[tuple[str, int], ...]  # none for a UNIX socket
    service: str
    prefix: str
    sentinel: dict[str, Any]
    settings: dict[str, Any]

    @property
    def timeout(self) -> float:
        """Seconds until an answer must have come."""
        return float(self.settings.get("socket_timeout", TIMEOUT))

    def client(self) -> Client:
        """A client that has no connection yet."""
        try:
            return self._client()
        except (TypeError, ValueError, RedisClusterException) as exc:
            raise ConfigError(f"{flag('redis')} {self.shown} has a setting that redis-py does not take") from exc

    def _client(self) -> Client:
        settings: dict[str, Any] = {
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "retry": Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.05), _RETRIES, (ConnectionError,)),
            "protocol": 2,  # the answers as Redis gives them, whatever the version of redis-py
            **self.settings,
        }
        if self.kind == "cluster":
            # To try again, or to look at the cluster anew, redis-py breaks all connections, those of healthy nodes as
            # well: so it does neither by itself (see `lane`).
            settings |= {"retry": Retry(NoBackoff(), 0), "reinitialize_steps": 0, "require_full_coverage": False}
            return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in self.hosts], **settings)
        if self.kind == "sentinel":
            Redis(**settings)  # looks at what connections would look at only when they are made
            # A sentinel that does not answer is passed over for the next.
            own = {**settings, "retry": Retry(NoBackoff(), 0)}
            own = {name: own[name] for name in ("socket_timeout", "socket_connect_timeout", "protocol", "retry")}
            manager: Any = Sentinel
            primary: Redis = manager(self.hosts, sentinel_kwargs=own | self.sentinel, **settings).master_for(
                self.service
            )
            return primary
        if self.hosts:
            settings["host"], settings["port"] = self.hosts[0]
        return Redis(**settings)


async def close(client: Client) -> None:
    """Closes all connections of a client that an address gave."""
    await client.aclose()
    if isinstance(client, RedisCluster):
        # Of one that never was initialised it closes none.
        for nodes in ("nodes_cache", "startup_nodes"):
            await client.nodes_manager.aclose(nodes)
    else:
        manager: Sentinel | None = getattr(client.connection_pool, "sentinel_manager", None)
        for sentinel in manager.sentinels if manager is not None else ():
            await sentinel.aclose()


def parse(url: str) -> Address:
    """Reads an address. Raises `ConfigError`, which tells nothing of it that may be secret."""
    try:
        parts = urlsplit(url)
        scheme, _, kind = parts.scheme.partition("+")
        if scheme == "unix" and not kind:
            return _read(parts, "", ())
        if scheme in ("redis", "rediss") and kind in _PORTS:
            return _read(parts, kind, _hosts(parts.netloc.rpartition("@")[2], _PORTS[kind]))
        raise ValueError("no scheme of ours")
    except ValueError:
        # Its text may hold a piece of a password with characters that should have been escaped.
        raise ConfigError(
            f"{flag('redis')} takes an address like redis://host:6379/0, redis+sentinel://host1,host2/service or"
            f" redis+cluster://host1,host2; in a password, characters like / and @ are written %2F and %40"
        ) from None


def _hosts(text: str, port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for part in text.split(","):
        split = urlsplit(f"//{part}")
        if not split.hostname or split.path or split.query:
            raise ValueError("a host is missing")
        hosts.append((split.hostname, split.port or port))
    return tuple(hosts)


def _read(parts: SplitResult, kind: str, hosts: tuple[tuple[str, int], ...]) -> Address:
    query = dict(parse_qsl(parts.query))
    prefix = query.pop("prefix", PREFIX)
    own = {name: query.pop(name) for name in list(query) if name.startswith("sentinel_")}
    path = parts.path.strip("/")
    service, path = path.partition("/")[::2] if kind == "sentinel" else ("", path)
    if hosts and not (path == "" or (path.isdigit() and kind != "cluster")):
        raise ValueError("a database is a number, and a cluster has none")
    if (len(hosts) > 1 and not kind) or (kind == "sentinel" and not service) or not (hosts or path):
        raise ValueError("a part is missing, or one too many")
    # redis-py knows better how users, passwords and the types of settings are read.
    user, at, shown = parts.netloc.rpartition("@")
    settings: dict[str, Any] = dict(parse_url(f"redis://{user}{at}/{path if hosts else ''}?{urlencode(query)}"))
    if not hosts:
        settings["unix_socket_path"] = unquote(parts.path)
    if parts.scheme.startswith("rediss"):
        settings["ssl"] = True
    sentinel = {name: value for name, value in settings.items() if name.startswith("ssl")}
    sentinel |= {name.removeprefix("sentinel_"): value for name, value in own.items()}
    return Address(f"{parts.scheme}://{shown}{parts.path}", kind, hosts, service, prefix, sentinel, settings)
