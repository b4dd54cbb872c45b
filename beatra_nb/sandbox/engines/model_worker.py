"""The program of the model's own process: JSON lines in, JSON lines out; no part of the package is needed.

Run as ``python -P model_worker.py WEIGHTS ALIAS CONTEXT``. In: ``{"job": 1, "body": {…}}`` and
``{"cancel": 1}``. Out: ``{"ready": seconds}`` or ``{"broken": why}``, then for each job its chunks
``{"job": 1, "chunk": {…}}`` and one last line with ``"end"``, ``"refused"`` or ``"failed"``.
It ends when its input does, so it never outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from queue import SimpleQueue
from typing import Any


def main() -> None:
    """Read jobs on the main thread, answer them on another: an answer holds its thread until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the notebook, which then cancels
    weights, alias, context = sys.argv[1], sys.argv[2], int(sys.argv[3])
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace", buffering=1)
    os.dup2(2, 1)  # whatever the library prints must not mix with our lines
    jobs: SimpleQueue[tuple[int, dict[str, Any]]] = SimpleQueue()
    cancelled: set[int] = set()

    def say(**fields: object) -> None:
        try:
            lines.write(json.dumps(fields) + "\n")
        except OSError:  # nobody reads any more
            os._exit(0)

    def work() -> None:
        began = time.perf_counter()
        try:
            server = load(weights, alias, context)
        except Exception as problem:  # whatever it is, the process is of no use without the model
            say(broken=f"{type(problem).__name__}: {problem}")
            os._exit(1)
        say(ready=round(time.perf_counter() - began, 3))
        while True:
            number, body = jobs.get()
            if number not in cancelled:
                answer(server, number, body)
            cancelled.discard(number)

    def answer(server: Any, number: int, body: dict[str, Any]) -> None:  # noqa: ANN401
        def deliver(chunk: dict[str, Any]) -> bool:
            if number in cancelled:
                return True  # xllamacpp's word for: stop
            say(job=number, chunk=chunk)
            return False

        try:
            server.handle_chat_completions(body, deliver)
            say(job=number, end=True)
        except ValueError as problem:  # xllamacpp's way to refuse a schema that it cannot follow
            say(job=number, refused=str(problem))
        except Exception as problem:  # whoever waits for the answer must hear of it
            say(job=number, failed=f"{type(problem).__name__}: {problem}")

    threading.Thread(target=work, daemon=True).start()
    for line in sys.stdin:
        order = json.loads(line)
        if "cancel" in order:
            cancelled.add(order["cancel"])
        else:
            jobs.put((order["job"], order["body"]))
    os._exit(0)  # at once: an answer in progress is of no use to anybody


def load(weights: str, alias: str, context: int) -> Any:  # noqa: ANN401
    """Load the model, its own HTTP listener shut away.

    xllamacpp always opens a keyless listener that answers any origin. Here it listens on a Unix socket in a
    private folder, with a random key, and the socket's name is removed as soon as it exists: nothing can
    connect. Windows has no such sockets; there the random key and a closed origin must do.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {alias}  # else a local path would stand in answers
    params.n_ctx = context
    params.n_parallel = 1
    params.cpuparams.n_threads = 1  # two threads a token starve as soon as anything else runs
    params.cpuparams_batch.n_threads = min(2, os.cpu_count() or 1)  # reading the prompt is short: halve it
    params.cpuparams.poll = params.cpuparams_batch.poll = 0  # no spinning while nothing is asked
    params.cache_ram_mib = 0
    params.verbosity = -1
    params.ui = False
    params.endpoint_slots = False
    params.api_keys = [secrets.token_hex(32)]
    params.cors_origins = "http://127.0.0.1:9"
    if sys.platform == "win32":
        return xllamacpp.Server(params)
    folder = tempfile.mkdtemp(prefix="beatra-")  # mode 0700
    try:
        params.hostnames = [os.path.join(folder, "s.sock")]
        return xllamacpp.Server(params)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
