"""The surface: what `import beatra_nb as bn` promises, how light it is, and what works without the extras."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
import textwrap
import typing
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn

NAMES = sorted(set(bn.__all__) - {"__version__"})
MODULES = sorted(
    each.name
    for each in pkgutil.walk_packages(bn.__path__, "beatra_nb.")
    if not each.name.endswith("__main__")
)


def python(code: str, *flags: str, **environment: str) -> str:
    """Run code in a Python of its own; warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


# ── names ──


def test_all_is_what_can_be_imported() -> None:
    assert len(bn.__all__) == len(set(bn.__all__))
    for name in bn.__all__:
        assert getattr(bn, name) is not None
    assert set(bn.__all__) <= set(dir(bn))
    scope: dict[str, Any] = {}
    exec("from beatra_nb import *", scope)
    assert set(scope) - {"__builtins__"} == set(bn.__all__)


def test_nothing_else_is_public() -> None:
    shown = python(
        "import beatra_nb as bn; print(*(name for name in dir(bn) if not name.startswith('_')))"
    ).split()
    extra = set(shown) - set(bn.__all__)
    hooks = {"load_ipython_extension", "unload_ipython_extension"}
    assert extra <= {"annotations", "import_module", "TYPE_CHECKING", "Any", *hooks}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        bn.nonsense  # noqa: B018
    with pytest.raises(ImportError):
        exec("from beatra_nb import nonsense")


def test_the_type_checker_sees_the_same_names() -> None:
    source = inspect.getsource(bn)
    block = source[source.index("if TYPE_CHECKING:") : source.index("__all__")]
    seen = {line.split(" as ")[1].strip() for line in block.splitlines() if " as " in line}
    assert seen == set(NAMES)
    assert (Path(bn.__file__).parent / "py.typed").exists()


def test_no_module_takes_a_verb_s_name() -> None:
    """A submodule named like a verb replaces it as soon as somebody imports the module."""
    submodules = {each.name for each in pkgutil.iter_modules(bn.__path__)}
    assert submodules & set(bn.__all__) == {"sandbox"}
    for name in submodules - {"__main__"}:
        importlib.import_module(f"beatra_nb.{name}")
    assert callable(bn.chat)
    assert callable(bn.journal)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_thing_says_what_it_is(name: str) -> None:
    thing = getattr(bn, name)
    assert (thing.__doc__ or "").strip(), name
    if not inspect.isclass(thing):
        return
    for attribute, member in vars(thing).items():
        if attribute.startswith("_") or not (
            inspect.isfunction(member) or isinstance(member, property | classmethod)
        ):
            continue
        assert (inspect.getdoc(getattr(thing, attribute)) or inspect.getdoc(member) or "").strip(), (
            f"{name}.{attribute}"
        )


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isfunction(getattr(bn, n))])
def test_a_verb_shows_itself_as_a_verb_of_the_package(name: str) -> None:
    verb = getattr(bn, name)
    assert verb.__name__ == name
    assert "self" not in inspect.signature(verb).parameters
    assert inspect.signature(verb).return_annotation is not inspect.Signature.empty


def test_the_names_of_the_design_are_there() -> None:
    promised = """
        connect Client AsyncClient chat achat stream astream Chat Reply models capabilities health journal sandbox
        BeatraError ConfigurationError ConnectionFailed Timeout IncompleteStream APIError AuthenticationError
        PermissionDenied InsufficientBalance InvalidRequest NotFound Conflict RateLimited ServerError TaskFailed
    """
    assert set(promised.split()) <= set(bn.__all__)
    fields = (
        "text model request_id usage finish_reason complete elapsed attempts data raw tool_calls fallback"
    )
    assert all(hasattr(bn.Reply("x"), field) for field in fields.split())
    for method in ["send", "turns", "usage", "regenerate", "edit", "fork", "save", "load", "export"]:
        assert hasattr(bn.Chat, method)
    for attribute in ["code", "status", "retryable", "request_id", "param", "details", "body"]:
        assert hasattr(bn.APIError("x"), attribute)
    for attribute in ["mode", "base_url"]:
        assert isinstance(inspect.getattr_static(bn.Client, attribute), property)


# ── weight ──

HEAVY = [
    "httpx",
    "pydantic",
    "IPython",
    "ipywidgets",
    "anywidget",
    "starlette",
    "uvicorn",
    "pandas",
    "sqlite3",
    "asyncio",
]


def test_importing_loads_nothing_heavy_and_warns_of_nothing() -> None:
    loaded = python("import sys, beatra_nb; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)
    assert [name for name in loaded if name.startswith("beatra_nb")] == ["beatra_nb"]


def test_a_ready_client_loads_neither_widgets_nor_the_sandbox() -> None:
    loaded = python("import sys, beatra_nb as bn; bn.Client('sk-test-test'); print(*sys.modules)").split()
    assert not {"IPython", "ipywidgets", "anywidget", "starlette", "uvicorn", "pandas", "pydantic"} & set(
        loaded
    )


def test_a_call_s_own_way_needs_no_screen() -> None:
    code = """
        import sys, beatra_nb as bn
        with bn.sandbox.start(engine="scripted") as box, bn.Client(box.api_key, base_url=box.base_url) as client:
            client.chat("Hi")
            for _ in client.stream("Hi"):
                pass
        print(*sys.modules)
    """
    loaded = set(python(code).split())
    assert not {"IPython", "ipywidgets", "anywidget", "pandas", "beatra_nb.display"} & loaded


# ── examples ──


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"bn": bn}, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_there_are_examples() -> None:
    parser = doctest.DocTestParser()
    for verb in (bn.connect, bn.Client, bn.Client.chat, bn.Client.stream, bn.Chat, bn.AsyncClient, bn.last):
        assert parser.get_examples(verb.__doc__ or ""), verb


def test_every_annotation_can_be_resolved_by_a_type_checker() -> None:
    """Names that stand under TYPE_CHECKING alone are fine; names that stand nowhere are not."""
    for name in ("Usage", "ToolCall", "ModelInfo", "Capability", "Health", "Timeouts"):
        kind = getattr(bn, name)
        from datetime import datetime
        from decimal import Decimal

        assert typing.get_type_hints(kind, localns={"Decimal": Decimal, "datetime": datetime})


# ── with nothing else installed ──

# Importers that find nothing of the extras: as if they were not installed.
WITHOUT = """
    import sys, warnings

    class Blind:
        def __init__(self, finder):
            self.finder = finder

        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {names!r}:
                return None
            return self.finder.find_spec(name, path, target)

        def __getattr__(self, name):
            return getattr(self.finder, name)

    sys.meta_path[:] = [Blind(finder) for finder in sys.meta_path]
"""
EXTRAS = [
    "starlette",
    "uvicorn",
    "xllamacpp",
    "jupyterlab",
    "notebook",
    "nbclient",
    "nbconvert",
    "nbformat",
    "ipykernel",
    "pandas",
    "numpy",
    "openai",
]


def without(names: list[str], code: str, **environment: str) -> str:
    return python(textwrap.dedent(WITHOUT.format(names=names)) + textwrap.dedent(code), **environment)


def test_without_extras_the_sandbox_says_what_to_install() -> None:
    said = without(
        EXTRAS,
        """
        import beatra_nb as bn
        for start in (lambda: bn.chat("Hi"), bn.sandbox.start, lambda: bn.connect(mode="sandbox").health()):
            try:
                start()
            except bn.SandboxUnavailable as error:
                print(error)
        """,
        BEATRA_MODE="sandbox",  # asked for, so nothing needs to be said about it
    )
    assert said.count("pip install 'beatra-nb[sandbox]'") == 3
    assert said.count("starlette") == 3


def test_without_extras_live_calls_and_views_and_the_journal_work() -> None:
    with bn.sandbox.start(engine="scripted") as box:
        said = without(
            EXTRAS,
            """
            import beatra_nb as bn
            reply = bn.chat("Say hi in five words.")
            assert sorted(reply._repr_mimebundle_()) == ["text/html", "text/markdown", "text/plain"]
            assert bn.chat("Hi", stream=True).complete
            talk = bn.Chat()
            talk.send("Hi")
            for suffix in (".md", ".html", ".ipynb"):
                talk.export(f"{__import__('os').environ['BEATRA_HOME']}/talk{suffix}")
            assert bn.health() and bn.models().ids and bn.capabilities()
            assert len(bn.journal()) == 6, bn.journal()
            try:
                bn.journal().to_frame()
            except bn.ConfigurationError as error:
                print(error)
            """,
            BEATRA_API_KEY=box.api_key,
            BEATRA_BASE_URL=box.base_url,
        )
    assert "pip install 'beatra-nb[frames]'" in said


def test_without_the_engine_the_scripted_one_answers() -> None:
    said = without(
        ["xllamacpp"],
        """
        import beatra_nb as bn
        with bn.sandbox.start() as box, bn.Client(box.api_key, base_url=box.base_url) as client:
            print(client.chat("Hi").model)
        """,
    )
    assert said.strip() == "sandbox-scripted"


def test_the_command_line_works_without_extras() -> None:
    code = """
        from beatra_nb.cli import main
        try:
            main(["--version"])
        except SystemExit:
            pass
    """
    assert bn.__version__ in without(EXTRAS, code)
