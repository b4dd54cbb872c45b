"""Notebooks that are recorded on the sandbox, and replayed in kernels that can reach nothing."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent

# What a kernel of a replay runs before anything else: of the machine's sockets it has those of the kernel alone.
NO_NETWORK = """
import os
import socket
import sys


def refused(*given, **more):
    raise OSError("a replay has reached for the network")


def cut_off(event, given):
    # The kernel's own sockets were made before the notebook's first cell, by a library that does not come by here.
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind") and "beatra_nb" in sys.modules:
        address = given[1] if event != "socket.getaddrinfo" else given
        # The processes of a cluster on this machine talk to each other.
        if isinstance(address, tuple) and not (address[0] == "127.0.0.1" and "distributed" in sys.modules):
            raise OSError(f"a replay has reached for the network: {event} {address!r}")


if os.environ.get("BEATRA_MODE") == "replay":
    sys.addaudithook(cut_off)
"""


def environment(folder: Path, mode: str, cassette: Path, key: str = "") -> dict[str, str]:
    """What a kernel gets: a home of its own, and nothing of anybody's settings."""
    home = folder / f"home-{mode}"
    site = folder / "site"
    site.mkdir(exist_ok=True, parents=True)
    (site / "sitecustomize.py").write_text(NO_NETWORK)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BEATRA_")}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
        "BEATRA_HOME": str(home),
        "BEATRA_SANDBOX_ENGINE": "scripted",
        "BEATRA_MODE": mode,
        "BEATRA_CASSETTE": str(cassette),
        "BEATRA_SPEED": "0",
        **({"BEATRA_API_KEY": key} if key else {}),
    }


def run(notebook: nbformat.NotebookNode, cwd: Path, env: dict[str, str]) -> nbformat.NotebookNode:
    """Run a notebook in a fresh kernel."""
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", record_timing=False)
    client.execute(cwd=str(cwd), env=env)
    return notebook


def strict(path: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a saved notebook again, and compare each output to the letter; nothing is made alike first."""
    command = [
        sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider",
        "-c", os.devnull, "--rootdir", str(path.parent), str(path),
    ]  # fmt: skip
    alone = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"] if can_be_alone() else []
    return subprocess.run(
        [*alone, *command], env=env, capture_output=True, text=True, timeout=240, check=False
    )


@functools.cache
def can_be_alone() -> bool:
    """Whether a process may have a network of its own, with nobody in it; else the sockets are refused alone."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    trial = ["unshare", "-rn", "ip", "link", "set", "lo", "up"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0
