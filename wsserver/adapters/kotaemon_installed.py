"""An installed Kotaemon as a callback: its settings, its indices, its models, its users and their conversations.

::

    wsserver serve wsserver.adapters.kotaemon:app      where its flowsettings.py is

Sessions and users are Kotaemon's own: where it knows users, the user of a session is one of them, by id or by name, and
a session without one is refused; where it knows none, everybody is its one user. What a turn may search is what that
user may see, whatever the client selects.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from ..errors import HandshakeError, TurnError
from . import kotaemon_ktem as ktem
from .kotaemon_callback import Kotaemon
from .kotaemon_conversation import history
from .threads import MAX_THREADS, Threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..chat.view import SessionView
    from ..wire.handshake import Request
    from .kotaemon_conversation import Exchange
    from .kotaemon_turn import KotaemonTurn

#: Where a session keeps the name of its conversation, within its state.
CONVERSATION = "kotaemon_conversation"


class Prepared(NamedTuple):
    """What is looked up before a pipeline is built."""

    user: str
    settings: dict[str, Any]
    reasoning: str
    state: dict[str, Any]  # as Kotaemon keeps it with the conversation
    pipeline_state: dict[str, Any]  # the part that the pipeline may change
    selected: dict[str, list[Any]]  # what each index is asked in: mode, files, user
    conversation: str
    place: int  # of this exchange in the conversation


def installed(*, html: bool = False, max_threads: int = MAX_THREADS) -> Installed:
    """The callback that serves the Kotaemon of this environment. Raises `ConfigError` where there is none."""
    return Installed(ktem.Application(), html=html, max_threads=max_threads)


class Installed(Kotaemon):
    """What `app` is. `on_open` lets sessions go on with a conversation that Kotaemon keeps."""

    def __init__(self, application: ktem.Application, *, html: bool, max_threads: int) -> None:
        super().__init__(
            lambda turn: None,
            store=None,
            html=html,
            empty_answer=application.empty_answer,
            threads=Threads(max_threads),
        )
        self._application = application

    async def on_open(self, session: SessionView, request: Request) -> None:
        """For `wsserver.run(app, on_open=app.on_open)`: `?conversation=…` goes on with one of the user's own.

        Raises `HandshakeError` 403 for any other.
        """
        name = parse_qs(request.query).get("conversation", [""])[-1]
        if name:
            said = await asyncio.to_thread(self._conversation, name, session.user)
            if said is None:
                raise HandshakeError(403, "there is no such conversation, or it is not yours", reason="application")
            session.history = said
            session.state[CONVERSATION] = name

    def _conversation(self, name: str, session_user: str | None) -> list[dict[str, Any]] | None:
        user = self._application.user(session_user)
        kept = self._application.conversation(name)
        return history(kept.data_source) if kept is not None and user == kept.user else None

    # -- in the thread of the turn -------------------------------------------------------------------------------

    def prepare(self, turn: KotaemonTurn) -> Prepared:
        """Raises `TurnError` `unknown_user`, `unknown_document` or `bad_content`."""
        application = self._application
        user = application.user(turn.session.user)
        if user is None:
            raise TurnError("unknown_user", "Kotaemon does not know this user")
        settings, reasoning = _options(application, user, turn.content)
        selected = _selection(application, user, turn.content)
        turn.conversation = str(turn.session.state.setdefault(CONVERSATION, turn.session.id))
        place, state = application.begin(turn.conversation, user, turn.message)
        return Prepared(
            user, settings, reasoning, state, deepcopy(state.get(reasoning, {})), selected, turn.conversation, place
        )

    def build(self, turn: KotaemonTurn, prepared: Prepared) -> Any:
        retrievers = [
            retriever
            for index in self._application.indices
            for retriever in index.get_retriever_pipelines(
                prepared.settings, prepared.user, prepared.selected.get(str(index.id))
            )
        ]
        files = {file for _, chosen, _ in prepared.selected.values() for file in chosen}
        for retriever in retrievers:
            ktem.confine(retriever, files)
        state = {"app": deepcopy(prepared.state["app"]), "pipeline": prepared.pipeline_state}
        with _kept_whole(self._application.tool_servers):
            reasoning = self._application.reasonings[prepared.reasoning]
            return reasoning.get_pipeline(prepared.settings, state, retrievers)

    def keep(self, turn: KotaemonTurn, prepared: Prepared, exchange: Exchange) -> None:
        state = {**prepared.state, prepared.reasoning: prepared.pipeline_state}
        self._application.end(prepared.conversation, prepared.place, exchange, prepared.selected, state)


def _options(application: ktem.Application, user: str, content: Any) -> tuple[dict[str, Any], str]:
    """The user's settings, and which reasoning is used, as the message may say for itself."""
    settings = application.settings(user)
    asked: Mapping[str, Any] = content if isinstance(content, dict) else {}
    reasoning = asked.get("reasoning", settings["reasoning.use"])
    language = asked.get("language", settings["reasoning.lang"])
    citation = asked.get("citation", "off")
    mindmap = asked.get("mindmap", False)
    for name, known in (reasoning, application.reasonings), (language, application.languages):
        if not isinstance(name, str) or name not in known:
            raise TurnError("bad_content", "there is no such reasoning, or no such language")
    if citation not in ("highlight", "inline", "off") or not isinstance(mindmap, bool):
        raise TurnError("bad_content", "a citation is highlight, inline or off, and mindmap true or false")
    settings["reasoning.lang"] = language
    for name, value in (("highlight_citation", "citation"), ("create_mindmap", "mindmap")):
        if value in asked:
            settings[f"reasoning.options.{reasoning}.{name}"] = asked[value]
    return settings, reasoning


def _selection(application: ktem.Application, user: str, content: Any) -> dict[str, list[Any]]:
    """What each index is asked in: `["select", files, user]`. Raises `TurnError`.

    A message may select, by ids or by names, of what the user may see; one that does not searches all that there is in
    the indices of files. Indices of graphs take one file at a time, and must be asked for.
    """
    asked = content.get("selected") if isinstance(content, dict) else None
    if asked is not None and not (isinstance(asked, list) and all(isinstance(name, str) for name in asked)):
        raise TurnError("bad_content", "what is selected is a list of documents")
    selected: dict[str, list[Any]] = {}
    wanted = set(asked or ())
    unknown = set(wanted)
    for index in application.indices:
        files = application.files(index, user)  # names by ids
        if asked is None:
            chosen = list(files) if ktem.is_plain(index) else []
        else:
            unknown -= {*files, *files.values()}
            chosen = [id_ for id_, name in files.items() if id_ in wanted or name in wanted]
        selected[str(index.id)] = ["select", chosen, user]
    if unknown:
        raise TurnError("unknown_document", "there is no such document, or it is not yours")
    return selected


@contextmanager
def _kept_whole(servers: dict[str, Any]) -> Iterator[None]:
    """Building an agent takes the list of enabled tools out of the settings of its servers: the next one would have
    all of them."""
    before = deepcopy(servers)
    try:
        yield
    finally:
        servers.clear()
        servers.update(before)
