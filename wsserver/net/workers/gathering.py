"""The admin port of a supervisor: what `admin` answers, over all workers.

Lists are merged; what is meant for one session is answered by the worker that has it. Beside that::

    GET /workers    the processes: {"workers": [{"worker": 0, "pid": 71, "state": "ready", "seconds": 3.5, …}, …]}

Figures are added up. Those of a worker that is gone still count, as far as they were asked for while it lived.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ...chat import envelope
from ...store.port import Count, total
from ..admin import exposition, metrics
from ..admin.gate import Refused
from ..admin.gate import json_response as _json
from ..admin.port import MOST_AT_ONCE
from ..admin.requests import Request, Response

if TYPE_CHECKING:
    from .supervisor import Supervisor
    from .worker import Worker

logger = logging.getLogger(__name__)


class Gathering:
    """Answers the requests of the admin port of `supervisor`; who may ask has been decided before."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._totals = metrics.Totals()

    async def __call__(self, request: Request) -> Response:
        try:
            if request.path == ("sessions",) and request.method == "GET":
                return await self._list(request)
            if request.path == ("count",) and request.method == "GET":
                return await self._count(request)
            if request.path == ("workers",):
                return self._workers(request)
            if request.path in (("metrics",), ("figures",)) and request.method == "GET":
                return await self._figures(request)
            return await self._find(request)
        except Refused as exc:
            return exc.response

    async def gather(self, path: str) -> list[dict[str, Any]]:
        """The JSON objects that the workers answer to `GET path`, by place; `worker` in each says which it is of.

        Workers that run empty are among them, behind those that have taken their places. Who gives no such answer is
        left out.
        """
        replies = await self._ask_all(Request("GET", tuple(path.split("/")[1:]), {}, {}, b""))
        return [
            {**document, "worker": worker.index}
            for worker, reply in replies
            if reply is not None and reply.status == 200 and isinstance(document := _value(reply), dict)
        ]

    async def _ask_all(self, request: Request) -> list[tuple[Worker, Response | None]]:
        """What each worker answers, None for no answer; raises `Refused` where there is none to ask."""
        workers = self._serving()
        return list(zip(workers, await asyncio.gather(*(_ask(worker, request) for worker in workers)), strict=True))

    def _serving(self) -> list[Worker]:
        """Those that can be asked; raises `Refused` where there is none."""
        workers = [worker for worker in self._supervisor.workers if worker.ready.is_set()]
        if not workers:
            raise Refused(503, "no worker serves", Retry_After="1")
        return sorted(workers, key=lambda worker: (worker.index, worker.leaving.is_set(), worker.pid))

    # -- one request each ----------------------------------------------------------------------------------------

    async def _list(self, request: Request) -> Response:
        """All together; the first that finds fault with the request answers it."""
        count, sessions = 0, []
        replies = await self._ask_all(request)
        for worker, reply in replies:
            if reply is None:
                raise _silent(worker)
            if reply.status != 200:
                return reply
            found = _value(reply)
            count += found["count"]
            sessions += [{**session, "worker": worker.index} for session in found["sessions"]]
        limit = min(int(request.query.get("limit", "100")), MOST_AT_ONCE)
        return _json({"count": count, "sessions": sorted(sessions, key=lambda session: session["id"])[:limit]})

    async def _count(self, request: Request) -> Response:
        """Each counts what all have that share their sessions, or else itself alone."""
        counts = []
        for worker, reply in await self._ask_all(request):
            if reply is None:
                raise _silent(worker)
            if reply.status != 200:
                return reply
            counts.append(Count(**_value(reply)))
        return _json((max(counts) if self._supervisor.shares else total(counts))._asdict())

    async def _find(self, request: Request) -> Response:
        """The answer of the one that has what is asked for; the others know nothing of it.

        A session that one worker writes and another one shows its client is known to both, so what changes something
        is asked of one after the other, that it is not done twice.
        """
        if request.method == "GET":
            replies = await self._ask_all(request)
        else:
            replies = []
            for worker in self._serving():
                replies.append((worker, await _ask(worker, request)))
                if not _is_missing(replies[-1][1]):
                    break
        found = [reply for _, reply in replies if reply is not None and not _is_missing(reply)]
        if found:
            return min(found, key=_is_mirror)
        for worker, reply in replies:
            if reply is None:
                raise _silent(worker)
        _, missing = replies[0]
        assert missing is not None
        return missing

    async def _figures(self, request: Request) -> Response:
        replies = await self._ask_all(Request("GET", ("figures",), {}, {}, b""))
        found = {worker.pid: _value(reply) for worker, reply in replies if reply is not None and reply.status == 200}
        figures = self._totals.of(found, {worker.pid for worker in self._supervisor.workers})
        figures["worker_restarts"] = sum(slot.restarts for slot in self._supervisor.slots)
        return exposition.response(figures, request) if request.path == ("metrics",) else _json(figures)

    def _workers(self, request: Request) -> Response:
        if request.method != "GET":
            raise Refused(405, "this takes GET", Allow="GET")
        restarts = {slot.index: slot.restarts for slot in self._supervisor.slots}
        workers = sorted(self._supervisor.workers, key=lambda worker: (worker.index, worker.pid))
        return _json({"workers": [{**worker.brief(), "restarts": restarts[worker.index]} for worker in workers]})


async def _ask(worker: Worker, request: Request) -> Response | None:
    try:
        return await worker.ask(request)
    except OSError as exc:
        logger.warning("%s does not answer: %s", worker.name, exc or type(exc).__name__)
        return None


def _is_missing(reply: Response | None) -> bool:
    """Whether nothing was found; one that does not answer has found nothing either."""
    return reply is None or reply.status == 404


def _is_mirror(reply: Response) -> bool:
    """Whether another worker knows more of what this one shows."""
    return reply.status == 200 and "mirror" in _value(reply)


def _silent(worker: Worker) -> Refused:
    return Refused(503, f"{worker.name} does not answer", Retry_After="1")


def _value(reply: Response) -> Any:
    return envelope.decode_value(reply.body)
