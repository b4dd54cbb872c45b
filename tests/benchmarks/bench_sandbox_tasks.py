"""What the sandbox's tasks and uploads cost: ``python -m tests.benchmarks.bench_sandbox_tasks`` prints a table.

Lists are timed by a plain HTTP client. Uploads are compared with the same server writing the same bytes to disk
without looking at them: no form, no hash, no row.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from beatra_nb import sandbox
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.state import tasks
from beatra_nb.sandbox.state.desk import Desk
from beatra_nb.sandbox.state.sql import transaction
from beatra_nb.sandbox.state.tasks import NewTask
from tests.benchmarks.table import ratio, show, verdict

MANY = 10_000
LARGE = 100 * 1000 * 1000
BOUNDARY = "0123456789abcdef" * 2  # as long as httpx makes it
HI = {"model": "auto", "messages": [{"role": "user", "content": "Say hi in five words."}]}
COMPOSE = {"prompt": "dream pop", "model_options": {"sandbox": {"seconds": 240}}}


def fill(folder: Path) -> None:
    """Put finished tasks into a state folder, through the store itself."""
    desk = Desk(folder, MANY * 1000)

    def write(db: Any) -> None:
        with transaction(db):
            for number in range(MANY):
                request = {"prompt": "dream pop, warm analog drums " * 5, "lyrics": "la " * 200}
                new = NewTask(
                    id=f"task_{number:05}",
                    capability="music.text-to-music",
                    model="auto",
                    resolved_model="sandbox-composer",
                    title=None,
                    metadata={"number": number},
                    input=request,
                    spec=request,
                    cost=1000,
                    characters=700,
                )
                tasks.create(db, new)
            db.execute("UPDATE tasks SET status = 'succeeded'")

    desk.now(write)
    desk.close()


def client_of(box: Sandbox) -> httpx.Client:
    """Return a plain client."""
    headers = {"Authorization": f"Bearer {box.api_key}"}
    return httpx.Client(base_url=box.base_url, headers=headers, trust_env=False, verify=False, timeout=100)


def timed(call: Callable[[], object]) -> float:
    """Return how long a call took, in milliseconds."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def lists(folder: Path) -> list[tuple[str, str, str]]:
    """Time the first and the last page of ten thousand tasks."""
    fill(folder)
    rows = []
    with sandbox.start(engine="scripted", state=folder) as box, client_of(box) as http:
        for expand in ("", "all"):
            query: dict[str, str | int] = {"limit": 100} | ({"expand": expand} if expand else {})
            cursors: list[str] = []
            while True:
                page = http.get("/tasks", params=query | ({"cursor": cursors[-1]} if cursors else {})).json()
                if not page["has_more"]:
                    break
                cursors.append(page["next_cursor"])
            times: dict[str, list[float]] = {"first": [], "last": []}
            for _ in range(30):
                times["first"].append(timed(lambda query=query: http.get("/tasks", params=query)))  # type: ignore[misc]
                last = query | {"cursor": cursors[-1]}
                times["last"].append(timed(lambda last=last: http.get("/tasks", params=last)))  # type: ignore[misc]
            first = statistics.median(times["first"])
            against = ratio(times["last"], times["first"])
            name = "100 tasks whole" if expand else "100 summaries"
            rows.append(
                (f"first page of 10,000 tasks, {name} (median)", f"{first:.1f} ms", verdict(first, 50))
            )
            rows.append(("… the last page against it", f"{against:.2f} ×", verdict(against, 1.2)))
    return rows


def chats(folder: Path) -> list[tuple[str, str, str]]:
    """Time chat while nothing else happens, and while music is composed, in turn."""
    with sandbox.start(engine="scripted", state=folder) as box, client_of(box) as http:
        http.post("/chat/completions", json=HI)

        def median() -> float:
            return statistics.median(
                timed(lambda: http.post("/chat/completions", json=HI)) for _ in range(200)
            )

        idle, busy = [], []
        for _ in range(5):
            idle.append(median())
            orders = [http.post("/music/text-to-music", json=COMPOSE).json()["task_id"] for _ in range(4)]
            while http.get(f"/tasks/{orders[0]}").json()["progress"]["percent"] < 1:
                time.sleep(0.05)
            busy.append(median())
            for each in orders:
                http.post(f"/tasks/{each}/cancel")
    against = ratio(busy, idle)
    return [
        ("scripted chat, nothing else at work (median)", f"{statistics.median(idle):.2f} ms", ""),
        ("… while music is composed, against it", f"{against:.2f} ×", verdict(against, 2)),
    ]


# --- uploads


async def sink(scope: Any, receive: Any, send: Any) -> None:
    """Write a request's body to disk in blocks and do nothing else: the floor for uploads."""
    with tempfile.TemporaryFile(buffering=0) as file:
        block = bytearray()
        more = True
        while more:
            message = await receive()
            block += message.get("body", b"")
            more = message.get("more_body", False)
            if len(block) >= 1 << 20 or not more:
                full, block = block, bytearray()
                await asyncio.to_thread(file.write, full)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def raw_server() -> Iterator[int]:
    """Run the floor on the same HTTP server."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(sink, http="h11", ws="none", lifespan="off", log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def push(port: int, path: str, headers: list[str], body: bytes) -> float:
    """Send a request by hand, from memory, and return the seconds it took."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Content-Length: {len(body)}",
        *headers,
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", port)) as wire:
        began = time.perf_counter()
        wire.sendall("\r\n".join(lines).encode())
        wire.sendall(body)
        answer = wire.recv(65536)
        took = time.perf_counter() - began
    if b" 20" not in answer[:13]:
        raise RuntimeError(answer[:300])
    return took


def _pusher(tasks_: Any, answers: Any) -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
    data = os.urandom(LARGE)
    form = head + data + f"\r\n--{BOUNDARY}--\r\n".encode()
    while (order := tasks_.get()) is not None:
        answers.put(push(*order, form))


def peak() -> int:
    """Return this process's peak memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def uploads(folder: Path) -> list[tuple[str, str, str]]:
    """Compare uploads with the floor; the client is a process of its own, so that only the server is measured."""
    context = multiprocessing.get_context("spawn")
    orders, answers = context.Queue(), context.Queue()
    pusher = context.Process(target=_pusher, args=(orders, answers))
    pusher.start()
    ours, floor, rest = [], [], []
    with sandbox.start(engine="scripted", state=folder) as box, raw_server() as port, client_of(box) as http:
        http.post("/uploads", files={"file": b"warm"})
        here = httpx.URL(box.base_url).port
        head = [
            f"Authorization: Bearer {box.api_key}",
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        ]
        for _ in range(2):
            orders.put((port, "/", []))
            answers.get()
        before = peak()
        for number in range(10):
            orders.put((here, "/v1/uploads", head))
            ours.append(answers.get())
            if number == 0:
                grown = peak() - before
            orders.put((port, "/", []))
            floor.append(answers.get())
            for file in (folder / "beatra-sandbox-files").glob("*.upload"):
                file.unlink()
            rest.append(json.loads(http.get("/tasks").content))
    orders.put(None)
    pusher.join()
    speed = statistics.median(LARGE / each / 1e6 for each in ours)
    against = ratio(floor, ours)
    return [
        ("upload of 100 MB, server's side", f"{speed:.0f} MB/s", ""),
        (
            "… against bare writing on the same server",
            f"{against:.2f} ×",
            verdict(against, 0.8, at_least=True),
        ),
        ("… memory that it adds", f"{grown} MiB", verdict(grown, 16)),
    ]


def main() -> None:
    """Measure and print."""
    rows: list[tuple[str, str, str]] = []
    for measure in (uploads, lists, chats):  # memory first, before anything else has grown it
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(Path(folder))
    show("The sandbox's tasks and uploads", ("what", "measured", "wanted"), rows)


if __name__ == "__main__":
    main()
