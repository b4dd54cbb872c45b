"""The outline of a song of three minutes, against decoding it: ``python -m tests.benchmarks.bench_waveform``.

Also what it costs in memory, and what a look at the headers costs, which is all that an upload needs.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from beatra_nb.core.audio import examine, peaks
from tests.benchmarks.table import in_turn, ratio, show, verdict
from tests.core.sounds import encode

SECONDS = 180
RATE = 44_100
BOUND = 0.3
WHOLE = "soundfile.read(path, dtype='float32')"


def song(kind: str) -> bytes:
    """Make three minutes of stereo that keep a decoder busy: chords, a beat, a little noise."""
    time = np.arange(SECONDS * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220, 277.2, 329.6, 1108.7))
    beat = np.exp(-8 * (time % 0.5)) * np.sin(2 * np.pi * 60 * time)
    noise = np.random.default_rng(0).normal(0, 0.05, (len(time), 2))
    return encode((0.1 * (chord + 3 * beat)[:, None] + noise).astype("float32"), RATE, kind)


def grown(code: str, path: Path) -> float:
    """Return by how many MB a process grows that runs some code on a file, after it did so on a short one."""
    script = (
        "import re, sys, soundfile\nfrom beatra_nb.core.audio import examine, peaks\n"
        # The most the process ever held; getrusage's figure starts at the parent's.
        "def most(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "def run(path):\n    data = open(path, 'rb').read()\n"
        f"    before = most()\n    {code}\n    return most() - before\n"
        "run(sys.argv[1]); print(run(sys.argv[2]))"
    )
    with tempfile.NamedTemporaryFile(suffix=path.suffix) as short:
        soundfile.write(short.name, np.zeros((RATE, 2)), RATE)
        said = subprocess.run(
            [sys.executable, "-c", script, short.name, path], check=True, capture_output=True, text=True
        )
    return int(said.stdout) / 1024


def main() -> None:
    """Measure and print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("MP3", "OGG", "FLAC", "WAV"):
            data = song(kind)
            path = Path(folder, f"song.{kind.lower()}")
            path.write_bytes(data)
            times = in_turn(
                {
                    "peaks": lambda data=data: peaks(data),
                    "decode": lambda data=data: soundfile.read(io.BytesIO(data), dtype="float32"),
                    "examine": lambda data=data: examine(data),
                },
                rounds=7,
                warm_up=1,
            )
            ours = statistics.median(times["peaks"])
            rows.append(
                [
                    kind,
                    f"{len(data) / 1e6:.1f} MB",
                    f"{ours * 1e3:.0f} ms",
                    verdict(ours, BOUND) if kind == "MP3" else "",
                    f"{ratio(times['peaks'], times['decode']):.2f} ×",
                    f"{grown('peaks(data)', path):.1f} MB",
                    f"{grown(WHOLE, path):.0f} MB",
                    f"{statistics.median(times['examine']) * 1e3:.1f} ms",
                ]
            )
        show(
            "400 peaks of three minutes, against decoding the whole with soundfile",
            ["file", "size", "peaks", "bound (s)", "of a decode", "memory", "a decode's", "headers alone"],
            rows,
        )
        long = Path(folder, "long.mp3")
        once = song("MP3")
        with long.open("wb") as file:
            while file.tell() < 30 * 1000 * 1000 - len(once):
                file.write(once)
        size = long.stat().st_size
        took = statistics.median(in_turn({"examine": lambda: examine(long)}, rounds=5, warm_up=1)["examine"])
        print(f"examining an MP3 of {size / 1e6:.0f} MB, every frame of it: {took * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
