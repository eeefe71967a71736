"""Python functions that a language model may call: what it is told of them, and the call with what it answers.

What a function takes is read from its signature and type hints by pydantic, which also checks and converts what the
model gives. A model may give anything: each wrong call is an `ArgumentsError`, whose text is for the model.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pydantic

    from ..chat.turn import Turn


class ArgumentsError(ValueError):
    """What the model gave is not what the function takes."""


@dataclass(frozen=True)
class Function:
    """A function, sync or async, and what a model is told of it.

    If it has an argument `turn`, that is the `Turn`, and nothing that the model is told of.

    `description` is that of its docstring where it is None. `parameters` is the JSON Schema of an object, one property
    for each argument; where it is None it is made of the signature. Given, it is what the model is told, and what comes
    is handed on unchecked. `message` is what a person is shown while the function runs.
    """

    function: Callable[..., Any]
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    message: str | None = None


class Callee:
    """A function as it is called by its `name`; made once, before any model asks for it."""

    def __init__(self, name: str, function: Function | Callable[..., Any]) -> None:
        """Raises `ConfigError` where the signature does not tell what the function takes."""
        given = function if isinstance(function, Function) else Function(function)
        self.name = name
        self.message = given.message
        self._function = given.function
        self._takes_turn = _takes_turn(given.function)
        self._model = _model(name, given.function) if given.parameters is None else None
        schema = given.parameters if self._model is None else self._model.model_json_schema()
        description = given.description
        if description is None:
            description = inspect.getdoc(_inner(given.function)) or ""
        self.tool = {
            "type": "function",
            "function": {"name": name, "description": description, "parameters": schema},
        }

    async def __call__(self, arguments: str, turn: Turn) -> Any:
        """Calls it with a JSON object, in `turn`. What is no async function runs in a thread of the loop's executor.

        Raises `ArgumentsError`, or whatever the function raises.
        """
        values = self._values(arguments or "{}")
        if self._takes_turn:
            values["turn"] = turn
        if inspect.iscoroutinefunction(_code(self._function)):
            return await self._function(**values)
        return await asyncio.to_thread(self._function, **values)

    def _values(self, arguments: str) -> dict[str, Any]:
        if self._model is None:
            try:
                values = json.loads(arguments)
            except ValueError as exc:
                raise ArgumentsError(f"the arguments are not JSON: {exc}") from exc
            if not isinstance(values, dict):
                raise ArgumentsError("the arguments are not a JSON object")
            return values
        import pydantic

        try:
            given = self._model.model_validate_json(arguments)
        except pydantic.ValidationError as exc:
            raise ArgumentsError("; ".join(_problem(error) for error in exc.errors(include_url=False))) from exc
        fields = self._model.model_fields
        # What the model left out gets the default of the function itself.
        return {str(fields[name].alias): getattr(given, name) for name in given.model_fields_set}


def callees(functions: Mapping[str, Function | Callable[..., Any]]) -> dict[str, Callee]:
    """By their names. Raises `ConfigError`."""
    return {name: Callee(name, function) for name, function in functions.items()}


def jsonable(result: Any) -> Any:
    """What a function returned as JSON values: dataclasses, dates, pydantic's models too; text of what is none."""
    import pydantic_core

    return pydantic_core.to_jsonable_python(result, fallback=str, inf_nan_mode="null")


def _model(name: str, function: Callable[..., Any]) -> type[pydantic.BaseModel]:
    """One field for each argument."""
    import pydantic

    fields: dict[str, Any] = {}
    # An argument that a partial has set is none of the model's business.
    bound = function.keywords if isinstance(function, functools.partial) else {}
    try:
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError(f"{parameter.name!r} cannot be given by its name")
            if parameter.name in ("turn", *bound) or parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                continue
            hint = Any if parameter.annotation is parameter.empty else parameter.annotation
            default = ... if parameter.default is parameter.empty else parameter.default
            # By an alias, because not every name can be that of a field.
            fields[f"p{len(fields)}"] = (Annotated[hint, pydantic.Field(alias=parameter.name)], default)
        # Hints that are text are read where the function stands.
        model: type[pydantic.BaseModel] = pydantic.create_model(
            name, __config__=pydantic.ConfigDict(extra="forbid"), __module__=_code(function).__module__, **fields
        )
        model.model_json_schema()
    except Exception as exc:  # whatever the hints of a program can do
        raise ConfigError(
            f"the tool {name!r} does not say what it takes ({exc}): give it type hints that pydantic knows, or use"
            f" Function({name}, parameters={{…}}) with a JSON Schema"
        ) from exc
    return model


def _takes_turn(function: Callable[..., Any]) -> bool:
    bound = function.keywords if isinstance(function, functools.partial) else {}
    try:
        return "turn" in inspect.signature(function).parameters.keys() - bound
    except ValueError:  # of C, without a signature
        return False


def _problem(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    return f"{where}: {error['msg']}" if where else str(error["msg"])


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.func if isinstance(function, functools.partial) else function


def _code(function: Callable[..., Any]) -> Any:
    """What is async or not: of an object that can be called, its method."""
    inner = _inner(function)
    return inner if inspect.isroutine(inner) else type(inner).__call__
