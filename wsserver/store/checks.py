"""What a Redis must be, and what it should be, before anything is kept in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from redis.asyncio import RedisCluster
from redis.exceptions import NoPermissionError, RedisClusterException, RedisError

from ..errors import StoreError
from .trouble import explain

if TYPE_CHECKING:
    from .address import Client

logger = logging.getLogger(__name__)

#: What streams that forget by id (XTRIM MINID) need.
_VERSION = (6, 2)


async def check(client: Client, shown: str) -> None:
    """Raises `StoreError` where it is out of reach or too old, and warns where it may drop what is kept in it."""
    try:
        infos = await _infos(client)
    except NoPermissionError:
        logger.warning("Redis at %s does not tell this user its version and eviction policy (INFO)", shown)
        return
    except (RedisError, RedisClusterException, OSError) as exc:
        raise explain(exc, shown) from None
    for info in infos:
        version = str(info["redis_version"])
        if tuple(map(int, version.split(".")[:2])) < _VERSION:
            raise StoreError(f"Redis at {shown} is version {version}: 6.2 or newer is needed, or Valkey")
        if info.get("redis_mode") == "cluster" and not isinstance(client, RedisCluster):
            raise StoreError(f"Redis at {shown} is a node of a cluster: write redis+cluster://… as its address")
    policies = {str(info["maxmemory_policy"]) for info in infos} - {"noeviction"}
    if policies:
        logger.warning(
            "Redis at %s drops keys when its memory is full (maxmemory-policy %s), so sessions may be lost: set"
            " maxmemory-policy to noeviction",
            shown,
            ", ".join(sorted(policies)),
        )


async def _infos(client: Client) -> list[dict[str, Any]]:
    """What each primary says of itself."""
    if not isinstance(client, RedisCluster):
        found: dict[str, Any] = await client.info()
        return [found]
    by_node: dict[str, dict[str, Any]] = await client.info(target_nodes=RedisCluster.PRIMARIES)
    return list(by_node.values())
