"""A long conversation in all three formats: ``python -m tests.benchmarks.bench_transcript``.

Prints the median time for the whole mimebundle and the size of each format. Every round shows a conversation that
has not been parsed before, so that no cache helps.
"""

from __future__ import annotations

import statistics
import time

from beatra_nb import display
from tests.benchmarks.table import show, verdict
from tests.display.gallery import TYPICAL, conversation

ROUNDS = 15
MOST_MS, MOST_KB = 50, 300


def measure(turns: int) -> list[str]:
    """Return a row of the table."""
    times = []
    bundle: dict[str, str] = {}
    for number in range(ROUNDS):
        chat = conversation(turns, f"Round {number}. {TYPICAL}")
        start = time.perf_counter()
        bundle = display.bundle(chat)
        times.append((time.perf_counter() - start) * 1000)
    time_ms = statistics.median(times)
    kilobytes = {kind: len(text.encode()) / 1000 for kind, text in bundle.items()}
    return [
        f"{turns:,}",
        f"{time_ms:.1f} ms",
        verdict(time_ms, MOST_MS),
        *(f"{size:.0f} kB" for size in kilobytes.values()),
        verdict(kilobytes["text/html"], MOST_KB),
    ]


def main() -> None:
    """Measure and print."""
    display.bundle(conversation(1))  # imports are another matter
    head = ("turns", "all formats", "bound, ms", "html", "markdown", "plain", "bound, kB of html")
    show(
        "A transcript in html, markdown and plain text",
        head,
        [measure(turns) for turns in (10, 100, 1000)],
    )


if __name__ == "__main__":
    main()
