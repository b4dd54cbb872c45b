"""How fast the sandbox composes, and how much memory it takes: ``python -m tests.benchmarks.bench_music``.

A worker as the server starts it, kept on one core where the system can do that. Times are the worker's own CPU
time where it can be read (a shared machine's wall clock says more about its neighbours), from order to finished file.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.table import show, verdict

GENRES = ("dream pop", "rock", "house", "jazz", "lo-fi", "cinematic", "synthwave", "metal", "techno")
LEAST_SPEED, MOST_MB = 15, 600
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Worker:
    """A composer's process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "beatra_nb.sandbox.music.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self.process.pid, {min(os.sched_getaffinity(0))})

    def order(self, prompt: str, seconds: float, form: str) -> tuple[float, float, int]:
        """Return an order's wall time, CPU time and its clip's size."""
        assert self.process.stdin
        assert self.process.stdout
        with tempfile.TemporaryDirectory() as folder:
            body = {
                "prompt": prompt,
                "seconds": seconds,
                "format": form,
                "seed": 1,
                "clips": 1,
                "folder": folder,
            }
            wall, cpu = time.perf_counter(), self.cpu()
            self.process.stdin.write(json.dumps(body) + "\n")
            self.process.stdin.flush()
            while "progress" in (answer := json.loads(self.process.stdout.readline())):
                pass
            wall, cpu = time.perf_counter() - wall, self.cpu() - cpu
            return wall, cpu, (Path(folder) / answer["done"]["clips"][0]["file"]).stat().st_size

    def cpu(self) -> float:
        """Return the seconds of CPU it has used so far; the clock on the wall where that is not told."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return time.perf_counter()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak(self) -> float:
        """Return its largest resident size in MB; NaN where that is not told."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        except OSError:
            return float("nan")
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(20)


def main() -> None:
    """Measure and print."""
    worker = Worker()
    worker.order("pop", 2, "mp3")  # imports are another matter
    rows = []
    for genre in GENRES:
        rounds = [worker.order(genre, 60, "mp3") for _ in range(3)]
        wall, cpu = (statistics.median(each[i] for each in rounds) for i in (0, 1))
        speed = 60 / cpu
        kept = verdict(speed, LEAST_SPEED, at_least=True)
        size = f"{rounds[0][2] / 1000:.0f} kB"
        rows.append([genre, f"{wall:.2f} s", f"{cpu:.2f} s", f"{speed:.1f} ×", kept, size])
    wall, cpu, length = worker.order("dream pop", 60, "ogg")
    rows.append(
        [
            "dream pop, OGG",
            f"{wall:.2f} s",
            f"{cpu:.2f} s",
            f"{60 / cpu:.1f} ×",
            "",
            f"{length / 1000:.0f} kB",
        ]
    )
    show(
        "60 s of stereo, composed and encoded", ("genre", "wall", "CPU", "× real time", "bound", "size"), rows
    )
    worker.close()
    rows = []
    for seconds in (60, 240):
        worker = Worker()
        worker.order("dream pop", seconds, "mp3")
        rows.append([f"{seconds} s", f"{worker.peak():.0f} MB", verdict(worker.peak(), MOST_MB)])
        worker.close()
    show("Peak memory of the worker", ("piece", "resident", "bound"), rows)


if __name__ == "__main__":
    main()
