"""The house keeps its plan: imports only go down, and each library stays behind its one door.

Every rule is a function from a tree of modules to the list of its violations. It is held against the real tree, where
the list must be empty, and against a made-up one, where it must not be.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import wsserver

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = "wsserver"

#: A module may import what lies on lower floors, and its own package. On floor 0 all know one another.
FLOORS = {
    "config": 0, "errors": 0, "counters": 0,
    "wire": 1, "chat": 1, "guard": 1,
    "store": 2, "asyncapi": 2,
    "net": 3,
    "adapters": 4, "client": 4,
    "demo": 5, "__init__": 5,
    "environment": 1,
    "cli": 6,
    "__main__": 7,
}  # fmt: skip

#: Less than their floor would let them.
NARROWER = {
    "wire": {"errors", "config"},
    "chat": {"errors", "config"},
    "client": {"wire", "chat", "errors"},
    "demo": {"adapters", "chat", "errors"},
}
#: What the lower floors know nothing of: loops, clocks, sockets, logs.
WORLD = {"asyncio", "socket", "time", "logging", "ssl", "select", "selectors", "threading"}
WORLDLESS = ("wire", "chat", "guard")

#: The only modules, or packages, that may import a library.
DOORS = {
    "h11": ("wire.handshake", "wire.client", "net.admin.requests", "net.workers.inquiry"),
    "wsproto": ("wire",),
    "orjson": ("chat",),
    "uvloop": ("net.process",),
    "jwt": ("guard.keys", "guard.tokens"),
    "cryptography": ("guard.keys",),
    "httpx": ("net.auth.fetch",),
    "redis": ("store",),
    "openai": ("adapters.openai", "adapters.openai_clients"),
    "langchain_core": ("adapters.langchain", "adapters.langchain_input", "adapters.langchain_watch"),
    "langgraph": ("adapters.langchain",),
    "pydantic": ("adapters.functions",),
    "pydantic_core": ("adapters.functions",),
    "prometheus_client": ("net.admin.exposition",),
    "ktem": ("adapters.kotaemon_ktem",),
    "theflow": ("adapters.kotaemon_ktem",),
    "sqlmodel": ("adapters.kotaemon_ktem",),
}

#: To be imported where nothing but the dependencies is installed.
ADAPTERS = sorted(
    f"wsserver.adapters.{path.stem}" for path in (Path(wsserver.__file__).parent / "adapters").glob("[!_]*.py")
)

MAX_LINES = 300
LONGER: set[str] = set()


class Import(NamedTuple):
    """`target` as it is imported, `wsserver.chat.log` or `json.decoder`; `typing_only` where no run ever sees it."""

    target: str
    typing_only: bool


class Module(NamedTuple):
    name: str  # "wsserver.chat.log"; a package has the name of its folder
    source: str
    tree: ast.Module
    imports: list[Import]

    @property
    def place(self) -> str:
        """The name within the package, such as `chat.log`."""
        return self.name.partition(".")[2] or "__init__"


Tree = dict[str, Module]


def tree_of(files: dict[str, str]) -> Tree:
    """The modules of files such as `{"chat/log.py": source}`."""
    names = {path: ".".join([ROOT, *Path(path).with_suffix("").parts]).removesuffix(".__init__") for path in files}
    modules = {}
    for path, source in files.items():
        tree = ast.parse(source)
        package = names[path] if path.endswith("__init__.py") else names[path].rpartition(".")[0]
        imports = imports_of(tree, package, set(names.values()))
        modules[names[path]] = Module(names[path], source, tree, imports)
    return modules


def imports_of(node: ast.AST, package: str, known: set[str], typing_only: bool = False) -> list[Import]:
    """All imports under `node`, those inside functions too."""
    if isinstance(node, ast.Import):
        return [Import(alias.name, typing_only) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        base = ".".join(parts[: len(parts) + 1 - node.level]) if node.level else ""
        source = ".".join(filter(None, (base, node.module)))
        # `from . import log` takes the module, `from .log import Log` something that is in it.
        targets = [f"{source}.{alias.name}" for alias in node.names]
        return [Import(target if target in known else source, typing_only) for target in targets]
    found = []
    guarded = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    for child in ast.iter_child_nodes(node):
        hidden = guarded and isinstance(node, ast.If) and child in node.body
        found += imports_of(child, package, known, typing_only or hidden)
    return found


def top(place: str) -> str:
    return place.partition(".")[0]


def inside(target: str) -> str | None:
    """The place within our package that is imported, None for what is foreign."""
    return (target.partition(".")[2] or "__init__") if top(target) == ROOT else None


# -- rules -----------------------------------------------------------------------------------------------------------


def floors(tree: Tree) -> list[str]:
    broken = [f"{module.place} is on no floor" for module in tree.values() if top(module.place) not in FLOORS]
    for module in tree.values():
        here = top(module.place)
        for target in (inside(found.target) for found in module.imports):
            if target is None or top(target) == here or here not in FLOORS or top(target) not in FLOORS:
                continue
            lower = FLOORS[top(target)] < FLOORS[here] or FLOORS[top(target)] == FLOORS[here] == 0
            if not lower or (here in NARROWER and top(target) not in NARROWER[here]):
                broken.append(f"{module.place} imports {target}")
    return broken


def cycles(tree: Tree) -> list[str]:
    graph = {
        module.name: {found.target for found in module.imports if not found.typing_only and found.target in tree}
        for module in tree.values()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return [" → ".join(exc.args[1])]
    return []


def worldless(tree: Tree) -> list[str]:
    return [
        f"{module.place} imports {found.target}"
        for module in tree.values()
        for found in module.imports
        if top(module.place) in WORLDLESS and top(found.target) in WORLD
    ]


def doors(tree: Tree) -> list[str]:
    return [
        f"{module.place} imports {found.target}"
        for module in tree.values()
        for found in module.imports
        if top(found.target) in DOORS
        and not any(f"{module.place}.".startswith(f"{door}.") for door in DOORS[top(found.target)])
    ]


def lazy(tree: Tree) -> list[str]:
    """Adapters import their libraries only when they are used, in functions: an adapter that is there costs nothing."""
    return [
        f"{module.place} imports {found.target} at once"
        for module in tree.values()
        if top(module.place) == "adapters"
        for found in imports_of(_without_functions(module.tree), module.name, set())
        if not found.typing_only and top(found.target) not in {ROOT, "", *sys.stdlib_module_names}
    ]


def _without_functions(tree: ast.Module) -> ast.Module:
    """What runs when the module is imported."""

    class Hollow(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            """Nothing of it."""

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            """Nothing of it."""

    hollow = Hollow().visit(ast.parse(ast.unparse(tree)))
    assert isinstance(hollow, ast.Module)
    return hollow


def lengths(tree: Tree) -> list[str]:
    return [
        f"{module.place} has {module.source.count(chr(10))} lines"
        for module in tree.values()
        if module.source.count("\n") > MAX_LINES and module.place not in LONGER
    ]


def silence(tree: Tree) -> list[str]:
    """Exceptions that are swallowed without a word."""
    return [
        f"{module.place}:{node.lineno} passes over an exception"
        for module in tree.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and all(
            isinstance(statement, ast.Pass)
            or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            for statement in node.body
        )
    ]


def docstrings(tree: Tree) -> list[str]:
    """An empty file has nothing to explain."""
    return [
        f"{module.place} opens without a docstring"
        for module in tree.values()
        if module.tree.body and not ast.get_docstring(module.tree)
    ]


# -- what they are held against --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def house() -> Tree:
    root = Path(wsserver.__file__).parent
    return tree_of({path.relative_to(root).as_posix(): path.read_text("utf-8") for path in root.rglob("*.py")})


@pytest.mark.parametrize("rule", [floors, cycles, worldless, doors, lazy, lengths, silence, docstrings])
def test_the_house(rule: Callable[[Tree], list[str]], house: Tree) -> None:
    assert len(house) > 20
    assert rule(house) == []


TYPING = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    "files, broken",
    [
        ({"chat/log.py": "from ..net import flow", "net/flow.py": ""}, ["chat.log imports net.flow"]),
        ({"chat/log.py": "from ..wire.close import CloseCode"}, ["chat.log imports wire.close"]),
        ({"wire/a.py": "import wsserver.chat.log"}, ["wire.a imports chat.log"]),
        ({"guard/a.py": "from .. import wire", "wire/__init__.py": ""}, ["guard.a imports wire"]),
        ({"chat/log.py": "def f():\n    from ..cli import main"}, ["chat.log imports cli"]),
        ({"chat/log.py": TYPING + "from ..net.flow import Pump"}, ["chat.log imports net.flow"]),
        ({"chat/log.py": "from ..counters import Counters"}, ["chat.log imports counters"]),
        ({"store/a.py": "from ..net.flow import Pump"}, ["store.a imports net.flow"]),
        ({"client/a.py": "from ..config import Config"}, ["client.a imports config"]),
        ({"demo/a.py": "from ..client import terminal"}, ["demo.a imports client"]),
        ({"net/a.py": "from .. import __version__"}, ["net.a imports __init__"]),
        ({"errors.py": "from .chat import log"}, ["errors imports chat"]),
        ({"attic/a.py": ""}, ["attic.a is on no floor"]),
        ({"config.py": "from .errors import ConfigError", "chat/a.py": "from ..config import Config"}, []),
        ({"net/a.py": "from . import b\nfrom ..wire import c\nimport asyncio", "cli.py": "from . import demo"}, []),
    ],
)  # fmt: skip
def test_floors_are_seen(files: dict[str, str], broken: list[str]) -> None:
    assert floors(tree_of(files)) == broken


@pytest.mark.parametrize(
    "a, b, found",
    [
        ("from . import b", "from .a import x", True),
        ("from . import b", "import wsserver.chat.a", True),
        ("from .b import x", "def f():\n    from .a import x", True),
        ("from .b import x", TYPING + "from .a import x\nelse:\n    from .a import y", True),
        ("from .b import x", "if not typing.TYPE_CHECKING:\n    from .a import x", True),
        ("from .b import x", TYPING + "from .a import x", False),
        ("from .b import x", "from . import c", False),
    ],
)
def test_cycles_are_seen(a: str, b: str, found: bool) -> None:
    tree = tree_of({"chat/__init__.py": "from .a import x", "chat/a.py": a, "chat/b.py": b, "chat/c.py": ""})
    assert bool(cycles(tree)) is found


@pytest.mark.parametrize("name", sorted(WORLD))
def test_a_clock_on_a_lower_floor_is_seen(name: str) -> None:
    for source in (f"import {name}", f"from {name}.x import y", f"def f():\n    import {name} as z"):
        for place in WORLDLESS:
            assert len(worldless(tree_of({f"{place}/a.py": source}))) == 1
        assert worldless(tree_of({"net/a.py": source, "cli.py": source})) == []


@pytest.mark.parametrize(
    "library, door, elsewhere",
    [
        ("h11", "net/admin/requests.py", "net/server.py"),
        ("h11", "wire/handshake.py", "wire/protocol.py"),
        ("wsproto", "wire/engine.py", "net/connection.py"),
        ("orjson", "chat/envelope.py", "net/dispatch.py"),
        ("uvloop", "net/process.py", "net/processes.py"),
    ],
)
def test_a_library_beside_its_door_is_seen(library: str, door: str, elsewhere: str) -> None:
    for source in (f"import {library}", f"from {library}.connection import x", f"def f():\n    import {library}"):
        assert doors(tree_of({door: source})) == []
        assert len(doors(tree_of({elsewhere: source}))) == 1


def test_an_adapter_that_imports_its_library_at_once_is_seen() -> None:
    for source in ("import openai", "class A:\n    from openai import x", "try:\n    import openai\nfinally:\n    f()"):
        assert lazy(tree_of({"adapters/a.py": source})) == ["adapters.a imports openai at once"]
        assert lazy(tree_of({"net/a.py": source})) == []
    for source in ("class A:\n    async def f():\n        import openai", TYPING + "import openai", "import asyncio"):
        assert lazy(tree_of({"adapters/a.py": source})) == []
    assert lazy(tree_of({"adapters/a.py": "from . import b\nfrom ..errors import ConfigError"})) == []


def test_other_violations_are_seen() -> None:
    assert lengths(tree_of({"a.py": "x = 1\n" * MAX_LINES})) == []
    assert lengths(tree_of({"a.py": "x = 1\n" * (MAX_LINES + 1)})) == ["a has 301 lines"]
    for nothing in ("pass", "...", "'never mind'"):
        tree = tree_of({"a.py": f"try:\n    f()\nexcept OSError:\n    {nothing}\n"})
        assert silence(tree) == ["a:3 passes over an exception"]
    assert silence(tree_of({"a.py": "try:\n    f()\nexcept OSError:\n    raise\n"})) == []
    assert docstrings(tree_of({"a.py": "x = 1", "b.py": '"""What b is."""', "c/__init__.py": ""})) == [
        "a opens without a docstring"
    ]


def test_importing_it_needs_nothing_but_its_dependencies() -> None:
    modules = ("wsserver", "wsserver.demo", *ADAPTERS)
    code = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    environment = {"PYTHONPATH": str(Path(wsserver.__file__).parents[1])}
    bare, full = (
        {
            name
            for name in subprocess.run(
                [sys.executable, "-P", "-c", text], env=environment, capture_output=True, text=True, check=True
            ).stdout.split()
            if name not in sys.stdlib_module_names
        }
        for text in (code.replace(", ".join(("", *modules)), ""), code)
    )
    assert full - bare == {"wsserver", "h11", "orjson", "wsproto"}
