"""What the front ends' servers share: a subprocess on a free loopback port, with a home of its own.

Every directory of Jupyter's and marimo's is in a temporary folder: nothing of the user's configuration is read,
nothing is written outside. The kernels are this very Python.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from beatra_nb.core.settings import weights_home

KERNEL = "beatra"
READY = 60.0  # seconds that a loaded machine may take to start a server or a kernel
STEERING = (
    "BEATRA_",
    "JUPYTER_",
    "JPY_",
    "IPYTHON",
    "MARIMO_",
    "VOILA_",
    "XDG_",
    "OPENAI_",
    "PYTEST",
    "COV_",
    "VSCODE_",
    "COLAB_",
)


class Server:
    """A running server of a front end; ends with its ``with`` block, or with ``stop``.

    Parameters
    ----------
    home : Path
        An empty folder for everything it writes.
    engine : str
        Which engine of the sandbox answers in its kernels.
    """

    name = ""

    def __init__(self, home: Path, *, engine: str = "scripted") -> None:
        self.home = home
        self.work = home / "work"
        self.beatra_home = home / "beatra"
        self.config, data, runtime = (home / name for name in ("config", "data", "runtime"))
        for folder in (self.work, self.config, data, runtime):
            folder.mkdir(parents=True)
        # What the package's own code is told, in whatever process it runs.
        self.kernel_env = {
            "BEATRA_HOME": str(self.beatra_home),
            "BEATRA_SANDBOX_ENGINE": engine,
            "BEATRA_WEIGHTS": str(weights_home()),
            "IPYTHONDIR": str(home / "ipython"),
        }
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(STEERING)}
        self.env |= {"HOME": str(home), "IPYTHONDIR": str(home / "ipython"), "JUPYTER_NO_CONFIG": ""}
        self.env |= {
            "JUPYTER_CONFIG_DIR": str(self.config),
            "JUPYTER_DATA_DIR": str(data),
            "JUPYTER_RUNTIME_DIR": str(runtime),
        }
        self._write_kernel(data)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "server.log"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, command: Sequence[str], ready: str) -> None:
        """Start it, and wait until it answers at a path."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=self.work, env=self.env, stdout=log, stderr=log
            )
        until = time.monotonic() + READY
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.url + ready, timeout=2):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"{self.name} did not start:\n{self.said()[-4000:]}")

    def said(self) -> str:
        """What it has written to its log."""
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """End the server, and with it its kernels."""
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _write_kernel(self, data: Path) -> None:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {
            "argv": argv,
            "display_name": "Python (beatra tests)",
            "language": "python",
            "env": self.kernel_env,
        }
        folder = data / "kernels" / KERNEL
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
