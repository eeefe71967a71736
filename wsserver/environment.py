"""Settings from flags and from variables of the environment: texts → `Config`."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Config, flag, variable
from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from dataclasses import Field

_TRUE, _FALSE = frozenset(("1", "true", "yes", "on")), frozenset(("0", "false", "no", "off"))

#: How much alike two names are of which one is a slip: what an orchestrator sets of its own is like none of ours.
_ALIKE = 0.9


def config_from(options: Mapping[str, Any], environment: Mapping[str, str]) -> Config:
    """The settings: a flag counts before its variable, a variable before the default; an empty variable is none."""
    values = {}
    for setting in fields(Config):
        where, text = flag(setting.name), options.get(setting.name)
        if setting.metadata["repeatable"] and text is not None:
            text = ",".join(text)
        if text is None:
            where = variable(setting.name)
            is_secret = setting.metadata["secret"]
            text = secret(environment, setting.name) if is_secret else environment.get(where) or None
        elif setting.metadata["secret"] and not text:
            raise ConfigError(f"{where} is empty: leave it out, or give it a value")
        if text is not None:
            values[setting.name] = _parse(setting, text, where)
    return Config(**values)


def secret(environment: Mapping[str, str], name: str) -> str | None:
    """What should not stand on a command line: from its variable, or from the file that `…_FILE` names."""
    where = f"{variable(name)}_FILE"
    value, path = environment.get(variable(name)) or None, environment.get(where)
    if not path:
        return value
    if value is not None:
        raise ConfigError(f"{variable(name)} and {where} are both set: choose one")
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:
        # The text of a UnicodeDecodeError holds what was read.
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigError(f"{where} names {path}, which cannot be read: {reason}") from exc
    if not value:
        raise ConfigError(f"{where} names {path}, which is empty")
    return value


def misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    """A line for each variable that is like that of a setting, and is none."""
    known = {variable(setting.name): setting for setting in fields(Config)}
    files = [f"{name}_FILE" for name, setting in known.items() if setting.metadata["secret"]]
    names = [*known, *files]
    for name in sorted(environment):
        if name.startswith(variable("")) and name not in names:
            for close in get_close_matches(name, names, 1, _ALIKE):
                yield f"{name} is no setting: did you mean {close}?"


def _parse(setting: Field[Any], text: str, where: str) -> Any:
    kind: Any = type(setting.default)
    if kind is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ConfigError(f"{where} must be true or false, not {text!r}")
    try:
        return kind(text)
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{where} takes {noun}, not {text!r}") from None
