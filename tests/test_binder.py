"""The Binder image: exactly what ``binder/`` lists is installed, and the quickstart runs there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A fresh environment with what the Binder files say, as the image's builder reads them."""
    assert (ROOT / "binder/runtime.txt").read_text().startswith("python-3.")
    checkout = tmp_path / "checkout"
    shutil.copytree(
        ROOT,
        checkout,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", "node_modules", "*_cache", "__pycache__", "test-output"
        ),
    )
    # uv installs what pip would, in a tenth of the time, and so pip need not be there
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / "env"], check=True)
    run(checkout, "uv", "pip", "install", "-q", "--python", "env/bin/python", "-r", "binder/requirements.txt")
    return checkout


def run(checkout: Path, *command: str) -> str:
    path = [str(checkout / "env/bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    env = {**os.environ, "PATH": os.pathsep.join(path)}
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.weights
@pytest.mark.timeout(600)
def test_the_notebooks_run_in_what_binder_installs(image: Path) -> None:
    run(image, "bash", "binder/postBuild")
    convert = ("jupyter", "nbconvert", "--to", "markdown", "--execute", "--stdout")
    out = run(image, *convert, "notebooks/01_quickstart.ipynb")
    assert "sandbox-smollm2" in out
    assert "request id" in out
    out = run(image, *convert, "notebooks/03_music.ipynb")
    assert "sandbox-composer" in out
    assert "data:audio/mpeg;base64," in out
    run(image, "jupyter", "lab", "--version")
