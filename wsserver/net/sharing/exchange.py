"""The letters of a server that shares its sessions: which of them is about what, and who is asked what.

::

    a client's process                     the writer
      claim ───────────────────────────────▶  free: it was idle, and may be taken
                                              mirrored: it is busy, and read from there from now on
      say, read, left ──────────────────────▶
           ◀─────────────────────────────── events, tell, head, closed
           ◀─────────────────────────────── yours: it is idle now, and may be taken
      ask ─────────────────────────────────▶  answer: pushed, stopped, ended, or not
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ...errors import StoreError
from ...wire.close import CloseCode
from .asks import Answers
from .letters import Letter, Post
from .mirror import BROKEN, Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from ...chat.claim import Claim
    from ...store.port import Store
    from .afar import Afar
    from .directory import Directory
    from .turns import SharedConversation

logger = logging.getLogger(__name__)

#: So many batches of a log are read at once.
_PAGE = 64


class Exchange:
    """`asked` serves what another process asks for: push, stop, end."""

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        directory: Directory,
        conversation: SharedConversation,
        asked: Callable[[Letter], None],
    ) -> None:
        self.afar: dict[str, Afar] = {}  # by their links: who reads elsewhere what is written here
        self._mirrors: dict[str, Mirror] = {}  # and who reads here what is written elsewhere
        self._claims: dict[str, tuple[asyncio.Future[Letter], Mirror, Claim]] = {}
        self._claimants: dict[str, list[tuple[str, str]]] = {}  # process and link of those who wait for a session
        self.answers = Answers(self.send)
        self._store = store
        self._loop = loop
        self._directory = directory
        self._conversation = conversation
        self._asked = asked
        self._tasks: set[asyncio.Task[None]] = set()
        self._table: dict[str, Callable[[Letter], None]] = {
            "claim": self._claim,
            "free": self._claim_answered,
            "unknown": self._claim_answered,
            "mirrored": self._claim_answered,
            "say": self._say,
            "read": self._read,
            "left": self._left,
            "events": self._mirror,
            "tell": self._mirror,
            "head": self._mirror,
            "closed": self._mirror,
            "yours": self._yours,
            "ask": asked,
            "answer": self.answers.came,
        }
        self._post = Post(store, loop, self._received)

    async def stop(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await self._post.stop()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is read afar, and nobody waits for an answer."""
        return not (self.afar or self._mirrors or self._claims or self._claimants or self.answers.waiting)

    def send(self, process: str, letter: Letter) -> None:
        """Posts a letter, which says whom it is from."""
        self._post.send(process, Letter(letter.kind, {**letter.fields, "from": self._store.process}, letter.body))

    def _received(self, letter: Letter) -> None:
        self._table[letter.kind](letter)

    def left_behind(self, sealed: bytes) -> None:
        """A letter that was left for whoever takes a session."""
        try:
            self._asked(Letter.opened(sealed))
        except Exception:
            logger.exception("a letter that was left for a session could not be handled")

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def beat(self) -> None:
        """Tells the other ends how far things are, and sees which of them have died. Raises `StoreError`."""
        alive: dict[str, bool] = {}
        for process in {*(one.process for one in self.afar.values()), *(one.writer for one in self._mirrors.values())}:
            alive[process] = await self._store.is_alive(process)
        for afar in tuple(self.afar.values()):
            if alive.get(afar.process, True):
                afar.beat()
            else:
                self._directory.gone_afar(afar)
        for mirror in tuple(self._mirrors.values()):
            if mirror.connection is None and mirror.given_up():
                self.dismiss(mirror)
            elif alive.get(mirror.writer, True) or mirror.moving:
                mirror.beat()
            else:
                mirror.close(CloseCode.SERVICE_RESTART, BROKEN)

    # -- where the client is ---------------------------------------------------------------------------------------

    async def claim(self, mirror: Mirror, claim: Claim, patience: float) -> Letter | None:
        """Asks the writer for a session; what it answers, None where it does not."""
        future: asyncio.Future[Letter] = self._loop.create_future()
        self._claims[mirror.link] = (future, mirror, claim)
        mirror.claim()
        try:
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            return None
        finally:
            del self._claims[mirror.link]

    def _claim_answered(self, letter: Letter) -> None:
        link = letter.fields["link"]
        future, mirror, claim = self._claims.get(link, (None, None, None))
        if future is not None and mirror is not None and claim is not None and not future.done():
            future.set_result(letter)
            if letter.kind == "mirrored":
                mirror.begin(letter, claim)
                self._mirrors[link] = mirror
        elif letter.kind == "mirrored":
            # Nobody waits for it any more.
            self.send(letter.fields["from"], Letter("left", {"link": link}))

    def shows(self, mirror: Mirror) -> bool:
        """Whether its writer goes on to send what its connection is to be shown."""
        return mirror.link in self._mirrors

    def dismiss(self, mirror: Mirror) -> None:
        """Its connection is gone, or is not to come."""
        mirror.leave_pool()
        if self._mirrors.pop(mirror.link, None) is not None and not mirror.moving:
            mirror.post("left")

    def _mirror(self, letter: Letter) -> None:
        mirror = self._mirrors.get(letter.fields["link"])
        if mirror is not None:
            if not mirror.moving:
                mirror.receive(letter)
        elif letter.kind != "closed":
            self.send(letter.fields["from"], Letter("left", {"link": letter.fields["link"]}))

    def fill(self, mirror: Mirror) -> None:
        """Reads from the store what a mirror lacks."""
        if not mirror.filling and mirror.log.head < mirror.log.head_there:
            mirror.filling = True
            self._begin(self._fill(mirror))

    async def _fill(self, mirror: Mirror) -> None:
        log = mirror.log
        try:
            while log.head < log.head_there and mirror.connection is not None and not mirror.moving:
                before = log.head
                for batch in await self._store.read(mirror.id, before, _PAGE):
                    if batch.last - sum(len(piece.values) for piece in batch.pieces) > log.head:
                        # What is missing is nowhere any more.
                        mirror.close(CloseCode.SERVICE_RESTART, BROKEN)
                        return
                    if batch.last > log.head:
                        mirror.append(batch)
                if log.head == before:
                    # What the client may be shown is about to be stored, and then sent.
                    return
        except StoreError as exc:
            self._directory.copier.missed(exc)
            mirror.close(CloseCode.SERVICE_RESTART, BROKEN)
        finally:
            mirror.filling = False

    def _yours(self, letter: Letter) -> None:
        mirror = self._mirrors.get(letter.fields["link"])
        if mirror is None:
            return
        if mirror.connection is None:
            # It is free, and whoever comes takes it.
            self.dismiss(mirror)
            return
        mirror.receive(letter)
        mirror.moving = True
        self._begin(self._move(mirror))

    async def _move(self, mirror: Mirror) -> None:
        try:
            async with self._directory.alone(mirror.id):
                record = await self._store.find(mirror.id)
                journal = None
                if record is not None and not record.writer:
                    journal = await self._directory.take(mirror.id, record.fence, mirror.owner, lost=False)
        except StoreError as exc:
            self._directory.copier.missed(exc)
            journal = None
        self._mirrors.pop(mirror.link, None)
        mirror.leave_pool()
        if mirror.connection is None:
            self._directory.answers_for(mirror.id, mirror.owner)
            return
        if journal is None or journal.released:
            mirror.close(CloseCode.SERVICE_RESTART, BROKEN)
            return
        self._directory.adopt(mirror, journal.session)
        for payload in mirror.unheard():
            self._conversation.hear(journal.session, payload)

    # -- where it is written ---------------------------------------------------------------------------------------

    def _claim(self, letter: Letter) -> None:
        session_id, link, process = (letter.fields[name] for name in ("session", "link", "from"))
        answer = self._directory.claimed(letter)
        if answer is not None:
            self.send(process, Letter(answer, {"link": link}))
        elif link not in self.afar:
            self._claimants.setdefault(session_id, []).append((process, link))

    def freed(self, session_id: str) -> None:
        """A session is written by nobody: who waits for it may take it."""
        for process, link in self._claimants.pop(session_id, ()):
            self.send(process, Letter("free", {"link": link}))

    def _say(self, letter: Letter) -> None:
        afar = self._heard(letter)
        if afar is None:
            return
        journal = self._directory.journals.get(afar.session.id)
        if journal is None or journal.released:
            # Whoever takes the session hears it.
            return
        try:
            if afar.hear(letter.fields["n"]):
                self._conversation.hear(afar.session, letter.body)
        except LookupError:
            self._break(afar)

    def _read(self, letter: Letter) -> None:
        afar = self._heard(letter)
        if afar is None:
            return
        afar.read(letter.fields["seq"])
        journal = self._directory.journals.get(afar.session.id)
        if letter.fields["said"] > afar.heard and journal is not None and not journal.released:
            self._break(afar)

    def _left(self, letter: Letter) -> None:
        afar = self.afar.get(letter.fields["link"])
        if afar is not None:
            self._directory.gone_afar(afar)

    def _heard(self, letter: Letter) -> Afar | None:
        afar = self.afar.get(letter.fields["link"])
        if afar is None:
            self._close_there(letter.fields["from"], letter.fields["link"])
        return afar

    def _break(self, afar: Afar) -> None:
        """Something was lost on the way: its client has to say it again."""
        self._directory.gone_afar(afar)
        self._close_there(afar.process, afar.link)

    def _close_there(self, process: str, link: str) -> None:
        fields = {"link": link, "after": 0, "code": CloseCode.SERVICE_RESTART, "reason": BROKEN}
        self.send(process, Letter("closed", fields))
