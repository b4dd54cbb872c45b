"""What one row costs a call: ``python -m tests.benchmarks.bench_journal``.

Prints the median and the 99th percentile of ``Journal.record``, alone and while another process writes too.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from beatra_nb.store.entry import Entry
from beatra_nb.store.journal import Journal

ROWS = 20_000


def example(number: int) -> Entry:
    """Make an entry such as a chat leaves."""
    return Entry(
        time=datetime.now(UTC),
        verb="chat",
        asked_model="auto",
        model="smollm2-135m-instruct",
        request_id=f"req_{number:026d}",
        idempotency_key=f"0b5c1d6e-8f6a-4c0e-9b3e-{number:012d}",
        http_status=200,
        prompt_tokens=31,
        completion_tokens=8,
        total_tokens=39,
        credits=Decimal("0.39"),
        duration=0.134,
        base_url="https://api.beatra.ai/v1",
    )


def measure(path: Path, rows: int = ROWS) -> list[float]:
    """Return how long each record took, in µs, the making of the entry included."""
    journal = Journal.open(path)
    journal.record(example(0))
    times = []
    for number in range(rows):
        start = time.perf_counter()
        journal.record(example(number))
        times.append((time.perf_counter() - start) * 1e6)
    journal.close()
    return times


def report(name: str, times: list[float]) -> None:
    """Print one line."""
    cut = statistics.quantiles(times, n=100)
    middle = statistics.median(times)
    print(f"{name:30} median {middle:7.1f} µs   p99 {cut[98]:8.1f} µs   max {max(times):9.1f} µs")


def main() -> None:
    """Measure alone and in company."""
    with tempfile.TemporaryDirectory() as folder:
        report("alone", measure(Path(folder) / "alone.sqlite3"))
        shared = Path(folder) / "shared.sqlite3"
        code = f"from tests.benchmarks.bench_journal import *; measure(Path({str(shared)!r}))"
        other = subprocess.Popen([sys.executable, "-c", code])
        report("while another process writes", measure(shared))
        other.wait()
        start = time.perf_counter()
        view = Journal.open(shared).view()
        print(f"view of the newest 50 of {view.total}: {(time.perf_counter() - start) * 1e3:.1f} ms")
        start = time.perf_counter()
        found = Journal.open(shared).search(f"req_{ROWS // 2:026d}")
        print(f"search for one id: {(time.perf_counter() - start) * 1e3:.1f} ms ({found.total} found)")


if __name__ == "__main__":
    main()
