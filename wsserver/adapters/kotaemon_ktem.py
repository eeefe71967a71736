"""The one door to the packages of Kotaemon: what is read from it, and what is written into its database."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError
from .kotaemon_context import Context
from .kotaemon_conversation import empty

if TYPE_CHECKING:
    from collections.abc import Collection

    from .kotaemon_conversation import Exchange

logger = logging.getLogger(__name__)

#: How much of the first question becomes the name of its conversation, in characters.
_MAX_NAME = 60


class Kept(NamedTuple):
    """A conversation in the database."""

    user: str
    data_source: dict[str, Any]


class Application:
    """Kotaemon without its page. All methods but the first may be called from any thread."""

    def __init__(self) -> None:
        """Imports it, which takes some 20 seconds. Raises `ConfigError`."""
        try:
            from theflow.settings import settings
        except ImportError as exc:
            raise ConfigError(
                "there is no Kotaemon here: install its packages kotaemon and ktem, and start the server where its"
                " flowsettings.py is"
            ) from exc
        _forget_runs(settings)
        try:
            from ktem.app import BaseApp
            from ktem.components import reasonings
            from ktem.mcp.manager import mcp_manager
            from ktem.utils.lang import SUPPORTED_LANGUAGE_MAP
        except (ImportError, AttributeError) as exc:
            # An attribute that is missing is a setting.
            raise ConfigError(f"Kotaemon cannot be imported: {type(exc).__name__}: {exc}") from exc
        self._app = BaseApp()
        if not reasonings:
            raise ConfigError("Kotaemon has no reasoning: its settings name none in KH_REASONINGS")
        self.reasonings: dict[str, Any] = reasonings
        self.languages: Collection[str] = SUPPORTED_LANGUAGE_MAP.keys()
        self._tool_servers = mcp_manager
        self.indices: list[Any] = self._app.index_manager.indices
        for index in self.indices:
            index.get_selector_component_ui()  # which it asks for the files of a user
        self.empty_answer = str(getattr(settings, "KH_CHAT_EMPTY_MSG_PLACEHOLDER", "(Sorry, I don't know)"))
        self._defaults: dict[str, Any] = self._app.default_settings.flatten()

    @property
    def tool_servers(self) -> dict[str, Any]:
        """The settings of all that serve tools, by their names: not a copy."""
        servers: dict[str, Any] = self._tool_servers.info()
        return servers

    def user(self, session_user: str | None) -> str | None:
        """Who the user of a session is to Kotaemon; None for nobody that it knows."""
        if not self._app.f_user_management:
            return "default"
        if not session_user:
            return None
        from ktem.db.models import User, engine
        from sqlmodel import Session, select

        with Session(engine) as database:
            by_id = database.exec(select(User.id).where(User.id == session_user)).first()
            # Not by a name in lower case, which two subjects of an issuer may share.
            found = by_id or database.exec(select(User.id).where(User.username == session_user)).first()
        return str(found) if found else None

    def settings(self, user: str) -> dict[str, Any]:
        """The settings of a user; a copy."""
        from ktem.db.models import Settings, engine
        from sqlmodel import Session, select

        with Session(engine) as database:
            own = database.exec(select(Settings.setting).where(Settings.user == user)).first()
        return {**self._defaults, **(own or {})}

    def files(self, index: Any, user: str) -> dict[str, str]:
        """The names of the files that a user may see in an index, by their ids."""
        from ktem.db.models import engine
        from sqlmodel import Session, select

        source = getattr(index, "_resources", {}).get("Source")
        if source is None:
            return {}
        statement = select(source.id, source.name)
        if index.config.get("private", False):
            statement = statement.where(source.user == user)
        with Session(engine) as database:
            return {str(id_): str(name) for id_, name in database.exec(statement)}

    def conversation(self, name: str) -> Kept | None:
        """A conversation by its id."""
        from ktem.db.models import Conversation, engine
        from sqlmodel import Session

        with Session(engine) as database:
            found = database.get(Conversation, name)
            return Kept(str(found.user), dict(found.data_source or {})) if found is not None else None

    def begin(self, name: str, user: str, question: str) -> tuple[int, dict[str, Any]]:
        """Writes a question into a conversation, which is made if there is none; returns its place, and the state.

        Written now, it stands before those that follow, even if its answer comes to no end.
        """
        from ktem.db.models import Conversation, engine
        from sqlmodel import Session

        with Session(engine) as database:
            found = database.get(Conversation, name)
            if found is None:
                found = Conversation(id=name, name=" ".join(question.split())[:_MAX_NAME], user=user)
            elif found.user != user:
                raise PermissionError(f"the conversation {name!r} is not that of {user!r}")
            data_source = {**empty(), **(found.data_source or {})}
            index = len(data_source["messages"])
            found.data_source = {**data_source, "messages": [*data_source["messages"], [question, ""]]}
            _write(database, found)
        state = data_source["state"]
        return index, {**state, "app": {**state.get("app", {}), "regen": False}}

    def end(
        self, name: str, index: int, exchange: Exchange, selected: dict[str, list[Any]], state: dict[str, Any]
    ) -> None:
        """Writes down what was shown of an answer."""
        from ktem.db.models import Conversation, engine
        from sqlmodel import Session

        with Session(engine) as database:
            found = database.get(Conversation, name)
            if found is None:
                logger.info("the conversation %r was deleted while it was answered", name)
                return
            found.data_source = exchange.data_source(found.data_source or {}, index, selected=selected, state=state)
            _write(database, found)


def is_plain(index: Any) -> bool:
    """Whether it is an index of files, and not one of graphs, which takes one file at a time."""
    from ktem.index.file import FileIndex

    return type(index) is FileIndex


def confine(retriever: Any, files: Collection[str]) -> None:
    """Has a retriever find nothing that is of other files, whatever its stores return."""
    run = retriever.run

    def confined(*args: Any, **kwargs: Any) -> Any:
        found = run(*args, **kwargs)
        return [one for one in found if one.metadata.get("file_id") in files or "file_id" not in one.metadata]

    retriever.run = confined


def _forget_runs(settings: Any) -> None:
    """Nothing that a component is given, prompts and documents too, is written to the disk by the library below."""
    settings.load_settings()
    settings.MIDDLEWARE = {name: [] for name in settings.MIDDLEWARE}
    if settings.CONTEXT == {"__type__": "theflow.context.Context"}:
        settings.CONTEXT = {"__type__": f"{Context.__module__}.{Context.__qualname__}"}


def _write(database: Any, conversation: Any) -> None:
    conversation.date_updated = datetime.now().astimezone()
    database.add(conversation)
    database.commit()
