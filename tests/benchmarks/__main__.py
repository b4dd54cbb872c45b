"""Runs every benchmark, one after another: ``python -m tests.benchmarks``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

for script in sorted(Path(__file__).parent.glob("bench_*.py")):
    # A process each, so that what one has imported does not count for the next.
    subprocess.run([sys.executable, "-m", f"tests.benchmarks.{script.stem}"], check=True)
