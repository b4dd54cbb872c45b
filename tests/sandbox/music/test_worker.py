"""The composer's process, as the server drives it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

STAGES = ["planning", "composing", "rendering", "mixing", "encoding"]


class Worker:
    """A worker and its lines."""

    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "beatra_nb.sandbox.music.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **environment},
        )
        self.lines: Queue[str] = Queue()
        self.complaints: list[str] = []
        assert self.process.stdout
        assert self.process.stderr
        out, err = self.process.stdout, self.process.stderr
        self.readers = [
            threading.Thread(target=lambda: [self.lines.put(line) for line in out], daemon=True),
            threading.Thread(target=lambda: self.complaints.extend(err), daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def send(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def line(self) -> dict[str, Any]:
        return json.loads(self.lines.get(timeout=60))

    def answer(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the last line of an order, and its progress."""
        progress = []
        while True:
            line = self.line()
            if "progress" not in line:
                return line, progress
            progress.append(line["progress"])

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(20)
        for reader in self.readers:
            reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    each = Worker()
    yield each
    each.close()


def order(where: Path, **fields: object) -> str:
    where.mkdir(exist_ok=True)
    return json.dumps(
        {"task_id": "t", "prompt": "funk", "lyrics": "", "instrumental": False, "title": "", "seed": 7, "clips": 1,
         "format": "ogg", "seconds": 3, "style_weight": None, "weirdness": None, "reference": None,
         "folder": str(where), **fields}
    )  # fmt: skip


def test_an_order_is_answered_with_progress_and_a_clip(worker: Worker, tmp_path: Path) -> None:
    worker.send(order(tmp_path / "a", clips=2, prompt="funk 🎷"))
    answer, progress = worker.answer()
    clip = answer["done"]["clips"][0]
    assert set(clip) == {
        "file", "media_type", "title", "duration_seconds", "seed", "tempo_bpm", "key", "genre", "lyrics", "sections",
    }  # fmt: skip
    assert (clip["media_type"], clip["duration_seconds"], clip["genre"]) == ("audio/ogg", 3.0, "funk")
    assert answer["done"]["heard"] is None
    assert (tmp_path / "a" / "2.ogg").stat().st_size > 10_000
    percents = [each["percent"] for each in progress]
    assert percents == sorted(percents)
    assert 0 <= percents[0] <= percents[-1] <= 100
    stages = [each["stage"] for each in progress]
    assert list(dict.fromkeys(stages)) == STAGES
    assert any(each["message"].startswith("Take 2: ") for each in progress)


def test_failures_are_answered_and_the_worker_lives_on(worker: Worker, tmp_path: Path) -> None:
    text = tmp_path / "song.mp3"
    text.write_text("no music")
    for line, code, retryable in (
        ("not json", "internal_error", False),
        ("[1, 2]", "internal_error", False),
        ("{}", "internal_error", False),
        ("[" * 100_000, "internal_error", False),
        (order(tmp_path / "a", reference=str(text)), "invalid_request", False),
        (order(tmp_path / "a", format="wav"), "invalid_request", False),
        (order(tmp_path / "a", folder=str(text)), "internal_error", True),
    ):
        worker.send(line)
        answer, _ = worker.answer()
        assert (answer["error"]["code"], answer["error"]["retryable"]) == (code, retryable), line[:80]
        assert answer["error"]["message"].endswith(".")
    worker.send(order(tmp_path / "a"))
    assert "done" in worker.answer()[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device to write to")
def test_a_full_disk_is_said_and_the_worker_lives_on(worker: Worker, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for form in ("mp3", "ogg"):
        (folder / f"1.{form}.part").symlink_to("/dev/full")
        worker.send(order(folder, format=form))
        error = worker.answer()[0]["error"]
        assert error["message"].startswith("The disk is full")
        assert (error["code"], error["retryable"]) == ("internal_error", True)
    worker.send(order(folder))
    assert "done" in worker.answer()[0]


def test_the_same_order_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    seen = set()
    for number, form in ((1, "mp3"), (2, "mp3"), (1, "ogg"), (2, "ogg")):
        worker = Worker(PYTHONHASHSEED=str(number))
        try:
            folder = tmp_path / f"{number}{form}"
            if number == 2:  # whatever came before it leaves no trace
                worker.send(order(folder, prompt="reggae", seed=1, format=form))
                worker.answer()
            worker.send(order(folder, clips=2, format=form, task_id=str(number)))
            answer, _ = worker.answer()
            clips = tuple(hashlib.sha256((folder / f"{n}.{form}").read_bytes()).hexdigest() for n in (1, 2))
            seen.add((form, clips, json.dumps(answer)))
        finally:
            worker.close()
    assert len(seen) == 2


def test_it_ends_with_its_input_in_the_middle_of_a_piece(tmp_path: Path) -> None:
    worker = Worker()
    worker.send(order(tmp_path / "a", seconds=240))
    assert "progress" in worker.line()
    worker.close()  # waits for the end: a piece of four minutes would take far longer than it may
    assert worker.process.returncode == 0
    assert not (tmp_path / "a" / "1.ogg").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_an_interrupt_is_none_of_its_business(worker: Worker, tmp_path: Path) -> None:
    worker.send(order(tmp_path / "a"))
    assert "progress" in worker.line()
    worker.process.send_signal(signal.SIGINT)
    assert "done" in worker.answer()[0]


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="no priorities here")
def test_it_steps_back_for_the_notebook(worker: Worker, tmp_path: Path) -> None:
    worker.send(order(tmp_path / "a"))
    worker.line()
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, worker.process.pid) == min(19, ours + 10)
