"""Imports point one way: from the edges to the core, never back.

Looked at is what a module imports when it is itself imported; what stands in a function, or is there for the type
checker alone, is loaded later or never.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import beatra_nb

PACKAGE = Path(beatra_nb.__file__).parent
MODULES = {
    ".".join(["beatra_nb", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# A room → the rooms it may import. Every room may import itself and the plain facts of the package (its version).
ROOMS = {
    "core": set[str](),
    "store": {"core"},
    "display": {"core", "store"},
    "interact": {"core", "store", "display"},
    "batch": {"core", "store", "display"},
    "verbs": {"core", "store", "display"},
    "tapes": {"core", "store", "verbs"},
    "sandbox": {"core"},
}
# What the sandbox may know of the core: facts and errors, never the client.
SANDBOX_KNOWS = {
    "beatra_nb.core.errors",
    "beatra_nb.core.settings",
    "beatra_nb.core.models",
    "beatra_nb.core.seams",
}
# In functions, too, the core reaches out of its room in one place alone.
REACHES_OUT = {"beatra_nb.core.seams"}


def imports(path: Path, name: str, *, later: bool) -> Iterator[str]:
    """Yield the modules of this package that a module imports, at once or also ``later``."""

    def walk(node: ast.AST) -> Iterator[ast.stmt]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from walk(other)
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not later:
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child
            yield from walk(child)

    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for statement in walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(statement, ast.Import):
            found = [alias.name for alias in statement.names]
        else:
            assert isinstance(statement, ast.ImportFrom)
            parent = (
                package.split(".")[: len(package.split(".")) - statement.level + 1] if statement.level else []
            )
            base = ".".join([*parent, *([statement.module] if statement.module else [])])
            found = [
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base
                for alias in statement.names
            ]
        yield from (each for each in found if each.partition(".")[0] == "beatra_nb")


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def allowed(name: str, imported: str) -> bool:
    home, away = room(name), room(imported)
    return home == away or away is None or away in ROOMS[home or ""]


def in_rooms() -> list[str]:
    return [name for name in MODULES if room(name) in ROOMS]


def test_every_module_has_a_room_or_is_an_edge() -> None:
    edges = {room(name) for name in MODULES} - set(ROOMS)
    assert edges <= {None, "__main__", "cli", "demo", "doctor"}, "a new room: say what it may import"


@pytest.mark.parametrize("name", in_rooms())
def test_imports_point_one_way(name: str) -> None:
    wrong = [each for each in imports(MODULES[name], name, later=False) if not allowed(name, each)]
    assert not wrong, f"{name} must not import {wrong}"


@pytest.mark.parametrize("name", [name for name in in_rooms() if room(name) == "core"])
def test_only_the_seams_reach_out_of_the_core(name: str) -> None:
    out = [each for each in imports(MODULES[name], name, later=True) if not allowed(name, each)]
    assert not out or name in REACHES_OUT, f"{name} reaches out to {out}"


def test_the_seams_do_reach_out() -> None:
    """Or the tests above look at nothing."""
    out = {
        room(each) for each in imports(MODULES["beatra_nb.core.seams"], "beatra_nb.core.seams", later=True)
    }
    assert {"display", "sandbox", "store"} <= out
    assert not list(imports(MODULES["beatra_nb.core.seams"], "beatra_nb.core.seams", later=False))


@pytest.mark.parametrize("name", [name for name in in_rooms() if room(name) == "sandbox"])
def test_the_sandbox_knows_no_client(name: str) -> None:
    known = {each for each in imports(MODULES[name], name, later=True) if room(each) == "core"}
    assert known <= SANDBOX_KNOWS, f"{name} knows {known - SANDBOX_KNOWS}"


@pytest.mark.parametrize("name", MODULES)
def test_only_the_edges_import_the_edges(name: str) -> None:
    if room(name) not in ROOMS:
        return
    edges = [
        each for each in imports(MODULES[name], name, later=True) if room(each) in ("cli", "demo", "doctor")
    ]
    assert not edges


def reads_environment(tree: ast.AST) -> bool:
    """Whether a module looks into the environment; setting it, or handing all of it to a child, is no look."""
    handed_on = {
        id(target.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Subscript)
    } | {
        id(value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if key is None
    }
    return any(
        isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("os.environ", "os.getenv", "os.environb")
        and id(node) not in handed_on
        for node in ast.walk(tree)
    )


def test_only_the_settings_read_the_environment() -> None:
    readers = {name for name in in_rooms() if reads_environment(ast.parse(MODULES[name].read_text("utf-8")))}
    assert readers == {"beatra_nb.core.settings"}


def test_only_the_transport_knows_the_http_library() -> None:
    users = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (
            isinstance(node, ast.Import)
            and any(alias.name.partition(".")[0] == "httpx" for alias in node.names)
        )
        or (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "httpx")
    }
    # All but the first for their annotations alone.
    modules = ["transport", "connections", "wire", "deadline", "foreign"]
    modules += [f"taping{module}" for module in ("", ".asking", ".recording", ".replaying", ".troubles")]
    known = {f"beatra_nb.core.{module}" for module in modules}
    assert {name for name in users if room(name) in ROOMS} == known
