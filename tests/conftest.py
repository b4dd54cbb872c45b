"""Every test runs in a home of its own, with none of the user's settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beatra_nb.core.settings import weights_home

# Weights are large and read-only: every test uses the ones of the machine, found before its home is moved away.
WEIGHTS = weights_home()

# What the machine needs to find its tools stays; everything that steers the package or its clients goes.
STEERING = ("BEATRA_", "OPENAI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "JPY_", "XDG_", "SSL_CERT")


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Isolate home and environment; returns the temporary ``BEATRA_HOME``."""
    for name in list(os.environ):
        if name.upper().startswith(STEERING):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("BEATRA_HOME", str(home / "beatra"))
    monkeypatch.setenv("BEATRA_WEIGHTS", str(WEIGHTS))
    return home / "beatra"
