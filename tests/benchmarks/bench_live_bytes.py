"""What one live answer costs at the kernel's output channel, whole: widget, deltas, static view.

A real kernel as a page would watch it, a scripted answer at 120 tokens a second, every byte of the channel counted.

``python -m tests.benchmarks.bench_live_bytes``
"""

from __future__ import annotations

import os
import tempfile

from tests.benchmarks.table import show, verdict
from tests.display.kernel import Kernel

TOKENS = (500, 1000, 2000, 4000)
PACE = 120
BOUND = 20.0

# The painter is fed directly, so that the pace is exact and the text is the field's usual 5.35 bytes a token.
PAINT = """
import time
from beatra_nb.core.reply import Reply
from beatra_nb.display import live

def answer(tokens, pace):
    words = ["the ", "quick", "ly ", "found ", "answer"]
    ends = {24: ". ", 149: ".\\n\\n"}
    pieces = [words[n % 5] + ends.get(n % 150, "") for n in range(tokens)]
    view = live.painter(sandbox=True)
    began = time.perf_counter()
    for n, piece in enumerate(pieces):
        view.add(piece)
        time.sleep(max(0.0, began + (n + 1) / pace - time.perf_counter()))
    text = "".join(pieces)
    view.finish(Reply(text, model="bench", request_id="req_bench", sandbox=True))
    return len(text.encode())
"""


def measure(kernel: Kernel, tokens: int) -> tuple[int, int, int]:
    """Return the bytes of the text, the bytes of the channel and the number of its messages."""
    [said] = kernel.run(f"size = answer({tokens}, 10_000_000); print(size, flush=True)")[-1:]
    text = int(said.content["text"])
    messages = kernel.run(f"answer({tokens}, {PACE});")
    return text, sum(message.size for message in messages), len(messages)


def main() -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as home:
        kernel = Kernel(watched=True, env={"HOME": home, "BEATRA_HOME": os.path.join(home, "beatra")})
        try:
            kernel.run(PAINT)
            rows = []
            for tokens in TOKENS:
                text, sent, messages = measure(kernel, tokens)
                times = sent / text
                mark = verdict(times, BOUND) if tokens == 2000 else ""
                rows.append(
                    [tokens, f"{text / 1000:.1f} kB", f"{sent / 1000:.0f} kB", messages, f"{times:.1f}", mark]
                )
        finally:
            kernel.stop()
    show(
        f"A live answer at {PACE} tokens a second: bytes at the kernel's output channel",
        ["tokens", "text", "sent", "messages", "times the text", "bound"],
        rows,
    )


if __name__ == "__main__":
    main()
