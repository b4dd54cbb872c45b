"""Uploading 100 MB against raw httpx's own streaming, in one run: ``python -m tests.benchmarks.bench_upload``.

Prints the throughput of both and their ratio (ours hashes, examines and journals on the way), and how far the memory
of a process of its own grows while it uploads.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.table import in_turn, ratio, show, verdict

SIZE = 100 * 1000 * 1000
ROUNDS = 7
KEY = "sk-" + "b" * 32
BODY = json.dumps({"artifact_id": "art_1", "url": "https://cdn.example.com/1"}).encode()
ANSWER = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Request-Id: req_1\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
GROWTH = """
import resource, sys
import beatra_nb as bn
client = bn.Client(sys.argv[1], base_url=sys.argv[2])
client.upload(sys.argv[3], fresh=True)  # everything is loaded
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
client.upload(sys.argv[4], fresh=True)
print((peak() - before) / 1024)
"""


def _drain(port: Any) -> None:
    """Answer uploads, and throw away what comes."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    port.send(listener.getsockname()[1])
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=_connection, args=(conn,), daemon=True).start()


def _connection(conn: socket.socket) -> None:
    room = bytearray(1 << 20)
    with conn:
        while _one(conn, room):
            conn.sendall(ANSWER)


def _one(conn: socket.socket, room: bytearray) -> bool:
    head = b""
    while b"\r\n\r\n" not in head:
        if not (piece := conn.recv(65536)):
            return False
        head += piece
    names, _, body = head.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in names.split(b"\r\n")[1:])
    left = int(fields[b"content-length"]) - len(body)
    while left > 0:
        left -= conn.recv_into(room)
    return True


@contextmanager
def drain() -> Iterator[str]:
    """Run the server; gives its base URL."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_drain, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()


def wav(path: Path, size: int) -> Path:
    """Write noise as a WAV file of a size."""
    import numpy as np
    import soundfile

    samples = np.random.default_rng(1).integers(-9999, 9999, ((size - 44) // 4, 2), dtype=np.int16)
    soundfile.write(path, samples, 44_100, format="WAV", subtype="PCM_16")
    return path


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BEATRA_HOME"] = folder
        import beatra_nb as bn

        large, small = wav(Path(folder, "large.wav"), SIZE), wav(Path(folder, "small.wav"), 200_000)
        with drain() as url:
            ours = bn.Client(KEY, base_url=url)
            theirs = httpx.Client()

            def raw() -> None:
                with large.open("rb") as file:
                    theirs.post(f"{url}/uploads", files={"file": ("large.wav", file, "audio/wav")})

            times = in_turn(
                {"ours": lambda: ours.upload(large, fresh=True), "raw": raw}, rounds=ROUNDS, warm_up=1
            )
            grown = float(
                subprocess.run(
                    [sys.executable, "-c", GROWTH, KEY, url, str(small), str(large)],
                    check=True,
                    capture_output=True,
                    text=True,
                    env=os.environ,
                ).stdout
            )
        fast = {name: SIZE / 1e6 / statistics.median(taken) for name, taken in times.items()}
        speed = ratio(times["raw"], times["ours"])
        show(
            f"Uploading {SIZE // 1_000_000} MB",
            ("what", "measured", "bound"),
            [
                ("bn.upload", f"{fast['ours']:.0f} MB/s", ""),
                ("raw httpx, files=", f"{fast['raw']:.0f} MB/s", ""),
                ("throughput against raw httpx", f"{speed:.2f} ×", verdict(speed, 0.8, at_least=True)),
                ("memory grows by", f"{grown:.1f} MiB", verdict(grown, 16)),
            ],
        )


if __name__ == "__main__":
    main()
