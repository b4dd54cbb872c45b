"""``beatra-nb demo``: run a notebook for real, and write it as a page that needs nothing from outside.

The notebook runs in a kernel of this very Python, in sandbox mode whatever keys are set: a demonstration
spends nobody's money. The page is nbconvert's own, without the scripts that it would fetch from other hosts,
and under a content policy that lets nothing be loaded and no script run but this package's copy button.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import importlib.util
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import BeatraError, ConfigurationError, InvalidInput, SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

QUICKSTART = "01_quickstart.ipynb"
INSTALL = "Install it with: pip install 'beatra-nb[demo]'"
CELL_SECONDS = 300

# The blocks of nbconvert's template that would load scripts from other hosts are emptied: RequireJS, MathJax,
# Mermaid and the widgets' player. Formulas are then shown as they were written.
_TEMPLATE = """\
{%%- extends 'lab/index.html.j2' -%%}
{%%- block html_head_js -%%}
<meta http-equiv="Content-Security-Policy" content="%s">
{%%- endblock html_head_js -%%}
{%% block jupyter_widgets %%}{%% endblock jupyter_widgets %%}
{%%- block html_head_js_mathjax -%%}{%%- endblock html_head_js_mathjax -%%}
{%%- block html_head_js_mermaidjs -%%}{%%- endblock html_head_js_mermaidjs -%%}
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a demonstration left.

    Attributes
    ----------
    notebook, page : Path
        The notebook with its outputs, and the page of it.
    answer : str or None
        What the first call of ``chat`` showed.
    seconds : float
        How long the notebook ran.
    failure : str or None
        What stopped the notebook; None when it ran to its end.
    """

    notebook: Path
    page: Path
    answer: str | None
    seconds: float
    failure: str | None = None


def quickstart() -> Path:
    """Find the quickstart notebook: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package, package.parent):
        found = folder / "notebooks" / QUICKSTART
        if found.is_file():
            return found
    raise ConfigurationError(
        "The quickstart notebook is not part of this installation.",
        hint="Reinstall beatra-nb, or name a notebook with --notebook.",
    )


def prepare(engine: str | None, *, fetch: bool, say: Callable[[str], None]) -> None:
    """See to it that the engine asked for can answer; without the real model, say so and go on without.

    Raises
    ------
    SandboxUnavailable
        If the real model was asked for by name and cannot answer here.
    """
    if engine == "scripted":
        return
    from beatra_nb.sandbox import weights
    from beatra_nb.sandbox.engines import smollm2

    if fetch and importlib.util.find_spec("xllamacpp") is not None:
        try:
            weights.fetch()  # at once when they are there; else with a progress bar
        except BeatraError as problem:
            say(f"The language model's weights could not be fetched. {problem}")
    missing = smollm2.missing()
    if missing is None:
        return
    if engine == "smollm2":
        raise SandboxUnavailable(f"The real model cannot answer here: {missing.what}.", hint=missing.mend)
    say(f"Going on with scripted answers, in which no model thinks: {missing.what}. {missing.mend}")


def run(notebook: Path, out: Path, *, engine: str | None = None) -> Outcome:
    """Run a notebook in a kernel of its own and write it, with a page of it, into a folder.

    Parameters
    ----------
    notebook : Path
        What to run; it is read only.
    out : Path
        Where to write; made if it is missing. What an earlier run wrote there is replaced.
    engine : str, optional
        Who answers in the sandbox; by default the real model where its weights are.

    Raises
    ------
    ConfigurationError
        If what runs and converts notebooks is not installed.
    InvalidInput
        If the notebook cannot be read, or the folder not be written.
    """
    for package in ("ipykernel", "nbformat", "nbclient", "nbconvert"):
        if importlib.util.find_spec(package) is None:
            raise ConfigurationError(
                f"The demo runs a notebook, and {package} is not installed.", hint=INSTALL
            )
    written, page = out / notebook.name, out / f"{notebook.stem}.html"
    if written.resolve() == notebook.resolve():
        raise InvalidInput(
            "The demo would overwrite the notebook it is to run.", hint="Choose another folder with --out."
        )
    node = _read(notebook)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InvalidInput(f"{out} cannot be made: {problem.strerror or problem}.") from problem
    start = time.monotonic()
    failure = _execute(node, out, engine)
    seconds = time.monotonic() - start
    _write(node, written, page)
    return Outcome(written.resolve(), page.resolve(), _answer(node), seconds, failure)


def _read(notebook: Path) -> Any:  # noqa: ANN401 - nbformat's nodes are untyped
    import nbformat

    try:
        node = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(node)
    except OSError as problem:
        raise InvalidInput(f"{notebook} cannot be read: {problem.strerror or problem}.") from problem
    except Exception as problem:  # what is no notebook fails in many ways
        raise InvalidInput(f"{notebook} is not a notebook that can be read.") from problem
    return node


def _execute(node: Any, folder: Path, engine: str | None) -> str | None:  # noqa: ANN401
    """Run every cell, filling the node with outputs; return what stopped it early, or None."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    # Kernels registered on this machine may belong to another Python: with no folders to look in, what is
    # left is the kernel of the Python that runs this.
    kernel = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True),
    )
    interrupted: list[asyncio.Future[None]] = []

    def stop() -> None:
        interrupted.append(asyncio.ensure_future(kernel.shutdown_kernel(now=True)))

    client = NotebookClient(
        node,
        km=kernel,
        timeout=CELL_SECONDS,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        on_notebook_start=lambda **_: _on_interrupt(stop),
    )
    # What a kernel says on stderr is not for the reader: that it talks over loopback TCP, say.
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    failure = None
    try:
        client.execute(cleanup_kc=True, env=_environment(engine), **quiet)
    except CellExecutionError as problem:
        failure = f"{problem.ename}: {problem.evalue}"
    except CellTimeoutError:
        failure = f"a cell did not finish within {CELL_SECONDS} s"
    except DeadKernelError:
        failure = "the kernel died"
    if interrupted:
        raise KeyboardInterrupt
    return failure


def _write(node: Any, written: Path, page: Path) -> None:  # noqa: ANN401
    """Write the notebook and the page of it."""
    import nbformat

    try:
        nbformat.write(node, written)  # type: ignore[no-untyped-call]
        page.write_text(page_of(node, written.stem), encoding="utf-8")
    except OSError as problem:
        raise InvalidInput(
            f"{problem.filename or page} cannot be written: {problem.strerror or problem}."
        ) from problem


def page_of(node: Any, name: str) -> str:  # noqa: ANN401
    """Return a notebook as a page that needs nothing from outside."""
    from nbconvert.exporters.html import HTMLExporter

    exporter = HTMLExporter(raw_template=_TEMPLATE % _policy())  # type: ignore[no-untyped-call]
    html, _ = exporter.from_notebook_node(node, resources={"metadata": {"name": name}})
    return str(html)


def _on_interrupt(action: Callable[[], None]) -> None:
    """Let Ctrl-C end the run; nbclient's own handler would report it as a kernel that died."""
    # Where loops take no signal handlers (Windows), Ctrl-C raises by itself.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, action)


def _environment(engine: str | None) -> dict[str, str]:
    """Return the kernel's environment: this one, steered to the sandbox, and without the key."""
    environment = {name: value for name, value in os.environ.items() if name != "BEATRA_API_KEY"}
    environment.update(BEATRA_MODE="sandbox", BEATRA_DISPLAY="static")
    if engine is not None:
        environment["BEATRA_SANDBOX_ENGINE"] = engine
    return environment


def _policy() -> str:
    """Return the page's content policy: nothing from outside, and no script but our own, known by its hash."""
    from beatra_nb.display.html import asset

    digest = base64.b64encode(hashlib.sha256(asset("copy.js").encode()).digest()).decode()
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            "media-src data:",
            "font-src data:",
            "style-src 'unsafe-inline'",
            f"script-src 'sha256-{digest}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _answer(node: Any) -> str | None:  # noqa: ANN401 - nbformat's nodes are untyped
    """Return what the first cell that chats shows, or else the first thing that is shown at all."""
    shown = [
        (cell.source, text)
        for cell in node.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if (text := output.get("data", {}).get("text/plain") or output.get("text"))
    ]
    chats = [text for source, text in shown if "chat(" in source]
    return next(iter([*chats, *[text for _, text in shown]]), None)
