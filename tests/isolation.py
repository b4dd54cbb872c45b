"""A home of its own for every test and every notebook, with none of the user's settings. Loaded as a plugin.

The process's environment is cleaned once, before anything is collected, because the kernels of notebooks
inherit it; and again around every test.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from beatra_nb.core.settings import weights_home

# Weights are large and read-only: every test uses the machine's, found before its home is moved away.
WEIGHTS = weights_home()

# What the machine needs to find its tools stays; what steers this package, its clients and Jupyter goes.
STEERING = (
    "BEATRA_",
    "OPENAI_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "JPY_",
    "VIRTUAL_ENV",
    "VOILA_",
    "XDG_",
)

# The suite says the same thing every time; `--hypothesis-profile explore` looks for new examples.
# First examples pay for imports on shared cores, so none is timed.
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None, max_examples=40)
hypothesis.settings.register_profile("explore", max_examples=2000, deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Clean the process's environment, which kernels inherit; and make property tests repeatable."""
    if not config.getoption("--hypothesis-profile", None):
        hypothesis.settings.load_profile("suite")
    home = Path(tempfile.mkdtemp(prefix="beatra-nb-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in list(os.environ):
        if name.upper().startswith(STEERING):
            del os.environ[name]
    os.environ.update(
        HOME=str(home),
        BEATRA_HOME=str(home / "beatra"),
        BEATRA_WEIGHTS=str(WEIGHTS),
        IPYTHONDIR=str(home / "ipython"),
        JUPYTER_CONFIG_DIR=str(home / "jupyter"),
        PYDEVD_DISABLE_FILE_VALIDATION="1",
    )


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Isolate home and environment; gives the temporary ``BEATRA_HOME``."""
    for name in list(os.environ):
        if name.upper().startswith(STEERING):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("BEATRA_HOME", str(home / "beatra"))
    monkeypatch.setenv("BEATRA_WEIGHTS", str(WEIGHTS))
    yield home / "beatra"
    if journals := sys.modules.get("beatra_nb.store.journal"):
        for journal in [*journals._open.values()]:
            journal.close()
    # The next test's own sandbox has the next test's engine and home.
    if (boxes := sys.modules.get("beatra_nb.sandbox")) and boxes._shared is not None:
        boxes._shared.stop()
