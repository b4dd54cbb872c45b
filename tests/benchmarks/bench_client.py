"""The client beside the openai SDK and raw httpx: ready, one call, a stream.

``python -m tests.benchmarks.bench_client``
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from tests.benchmarks.raw_server import running
from tests.benchmarks.table import in_turn, ratio, show, verdict

KEY = "sk-" + "0" * 32
CHUNKS = 5000
MESSAGES = [{"role": "user", "content": "Say hi in five words."}]


def process(code: str) -> tuple[float, float]:
    """Return the wall seconds and peak MiB of a fresh interpreter that runs this code."""
    wrapped = f"{code}\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    start = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", wrapped], capture_output=True, text=True, check=True)
    return time.perf_counter() - start, int(out.stdout) / 1024


def ready(rounds: int = 15) -> None:
    codes = {
        "python alone": "pass",
        "import beatra_nb": "import beatra_nb as bn",
        "bn.Client(…)": f"import beatra_nb as bn; bn.Client({KEY!r})",
        "openai.OpenAI(…)": f"import openai; openai.OpenAI(api_key={KEY!r})",
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in codes}
    for _ in range(rounds + 1):
        for name, code in codes.items():
            measured[name].append(process(code))
    walls = {name: [wall for wall, _ in values[1:]] for name, values in measured.items()}
    peaks = {name: statistics.median(peak for _, peak in values[1:]) for name, values in measured.items()}
    wall = ratio(walls["bn.Client(…)"], walls["openai.OpenAI(…)"])
    peak = peaks["bn.Client(…)"] / peaks["openai.OpenAI(…)"]
    extra = 1000 * statistics.median(
        a - b for a, b in zip(walls["import beatra_nb"], walls["python alone"], strict=True)
    )
    show(
        "A ready client (whole process)",
        ["", "wall ms", "peak MiB"],
        [[name, f"{1000 * statistics.median(walls[name]):.0f}", f"{peaks[name]:.1f}"] for name in codes],
    )
    show(
        "",
        ["", "figure", "bound"],
        [
            ["wall, ours / openai", f"{wall:.2f}", verdict(wall, 0.35)],
            ["peak memory, ours / openai", f"{peak:.2f}", verdict(peak, 0.65)],
            ["bare import over python, ms", f"{extra:.0f}", verdict(extra, 40)],
        ],
    )


def one_call(base_url: str, rounds: int = 1500) -> None:
    import httpx
    import openai

    import beatra_nb as bn

    raw = httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=60, trust_env=False)
    ours = bn.Client(KEY, base_url=base_url)
    sdk = openai.OpenAI(api_key=KEY, base_url=base_url)
    url = f"{base_url}/chat/completions"
    times = in_turn(
        {
            "httpx": lambda: raw.post(url, json={"model": "auto", "messages": MESSAGES}).json(),
            "beatra_nb, journal on": lambda: ours.chat("Say hi in five words."),
            "openai": lambda: sdk.chat.completions.create(model="auto", messages=MESSAGES),  # type: ignore[arg-type]
        },
        rounds=rounds,
        warm_up=50,
    )
    mine = times["beatra_nb, journal on"]
    against = {"httpx": 1.4, "openai": 0.55}
    show(
        "One plain call at a zero-latency server",
        ["", "median µs", "ours / it", "bound"],
        [
            [
                name,
                f"{1e6 * statistics.median(values):.0f}",
                f"{ratio(mine, values):.2f}",
                verdict(ratio(mine, values), against[name]) if name in against else "",
            ]
            for name, values in times.items()
        ],
    )
    raw.close()
    ours.close()
    sdk.close()


def streaming(base_url: str, rounds: int = 12) -> None:
    import openai

    import beatra_nb as bn

    ours = bn.Client(KEY, base_url=base_url)
    sdk = openai.OpenAI(api_key=KEY, base_url=base_url)

    def run_ours() -> int:
        stream = ours.stream("x")
        count = sum(1 for _ in stream)
        assert stream.reply.complete
        return count

    def run_sdk() -> int:
        chunks = sdk.chat.completions.create(model="auto", messages=MESSAGES, stream=True)  # type: ignore[call-overload]
        return sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.content)

    assert run_ours() == run_sdk() == CHUNKS
    times = in_turn({"beatra_nb": run_ours, "openai": run_sdk}, rounds=rounds, warm_up=2)
    faster = ratio(times["openai"], times["beatra_nb"])
    show(
        f"Streaming {CHUNKS} chunks",
        ["", "chunks/s", "ours / it", "bound"],
        [
            ["beatra_nb", f"{CHUNKS / statistics.median(times['beatra_nb']):,.0f}", "", ""],
            [
                "openai",
                f"{CHUNKS / statistics.median(times['openai']):,.0f}",
                f"{faster:.1f}",
                verdict(faster, 4, at_least=True),
            ],
        ],
    )

    tracemalloc.start()
    run_ours()
    growth = []
    for _ in range(5):
        before = tracemalloc.get_traced_memory()[0]
        run_ours()
        growth.append(tracemalloc.get_traced_memory()[0] - before)
    tracemalloc.stop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show(
        "Memory", ["", "KiB"], [["kept after each further stream", f"{statistics.median(growth) / 1024:.1f}"]]
    )
    print(f"(peak of this process with both clients: {peak:.0f} MiB)")
    ours.close()
    sdk.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["BEATRA_HOME"] = str(Path(home))
        ready()
        with running(CHUNKS) as base_url:
            one_call(base_url)
            streaming(base_url)


if __name__ == "__main__":
    main()
