"""A kernel that is killed in the middle of a job: the job is found again, finished, and paid once."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

import beatra_nb as bn
from beatra_nb import sandbox
from tests.gate import Gate

PRICE = Decimal(50)
CODE = """
import beatra_nb as bn
task = bn.music("slow blues", model="minimax-music-2.6", model_options={{"sandbox": {{"seconds": {seconds}}}}})
"""
# Method, part of the path, which of them, and the moment.
MOMENTS = [
    ("POST", "/v1/music", 1, "before"),
    ("POST", "/v1/music", 1, "after"),
    ("POST", "/v1/music", 1, "amid"),
    ("GET", "/v1/tasks/", 1, "before"),
    ("GET", "/v1/tasks/", 1, "after"),
    ("GET", "/v1/tasks/", 1, "amid"),
    ("GET", "/v1/tasks/", 2, "before"),
    ("GET", "/v1/tasks/", 2, "amid"),
    ("GET", "/cdn/", 1, "before"),
    ("GET", "/cdn/", 1, "after"),
    ("GET", "/cdn/", 1, "amid"),
]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sandbox.Sandbox]:
    with sandbox.start(engine="scripted", state=tmp_path_factory.mktemp("state")) as box:
        yield box


@pytest.fixture
def kernel() -> Iterator[KernelManager]:
    # Files rather than ports: those are chosen before they are bound, and another kernel may be quicker.
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{folder}/k")
        yield manager
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


@pytest.mark.parametrize(("method", "path", "nth", "moment"), MOMENTS)
def test_a_job_outlives_its_kernel(
    box: sandbox.Sandbox, kernel: KernelManager, method: str, path: str, nth: int, moment: str
) -> None:
    tasks, balance = count(box), box.balance

    def kill() -> None:
        kernel.provisioner.process.kill()

    with Gate(port_of(box), method, path, nth, moment, kill) as gate:
        base_url = f"http://127.0.0.1:{gate.port}/v1"
        kernel.start_kernel(env={**os.environ, "BEATRA_BASE_URL": base_url, "BEATRA_API_KEY": box.api_key})
        client = kernel.blocking_client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=30)
            # What is looked at twice has to take a while.
            client.execute(CODE.format(seconds=2 if nth == 1 else 60))
            assert gate.struck.wait(30), gate.seen
        finally:
            client.stop_channels()
        kernel.provisioner.process.wait(10)

        with bn.Client(box.api_key, base_url=base_url) as again:  # the same home, as after a restart
            pending = again.pending()
            assert len(pending) == 1, gate.seen
            assert not pending.lost
            [task] = pending.wait(60)
            assert task.status == "succeeded"
            # What had never arrived was sent again; all else is found where it was.
            assert task.attached == ("resent" if (method, moment) == ("POST", "before") else "pending")
            assert [clip.size is not None and clip.size > 1000 for clip in task.clips] == [True]
            assert not again.pending()
            paid = [entry.credits for entry in bn.journal().search(task.id) if entry.credits is not None]
        assert paid in ([PRICE], [])  # nobody could write a row for what was paid after the kernel's death
    assert count(box) == tasks + 1
    assert box.balance == balance - PRICE


def test_a_job_whose_key_is_forgotten_is_told_and_not_paid_again(
    box: sandbox.Sandbox, isolated: Path
) -> None:
    import sqlite3

    with Gate(port_of(box), "POST", "/v1/music", 1, "before") as gate:
        base_url = f"http://127.0.0.1:{gate.port}/v1"
        with bn.Client(box.api_key, base_url=base_url, max_attempts=1) as client:
            with pytest.raises(bn.ConnectionFailed) as caught:
                client.music("slow blues", wait=False)
            assert caught.value.idempotency_key
            bn.journal()
            yesterday = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - 25 * 3600))
            with sqlite3.connect(isolated / "journal.sqlite3") as connection:
                connection.execute("UPDATE jobs SET started = ?", (yesterday,))
            tasks = count(box)
            pending = client.pending()
            assert (len(pending), len(pending.lost)) == (0, 1)
            assert pending.lost[0].idempotency_key == caught.value.idempotency_key
            assert "more than a day" in pending.lost[0].reason
            assert not client.pending().lost  # told once
    assert count(box) == tasks


def count(box: sandbox.Sandbox) -> int:
    with bn.Client(box.api_key, base_url=box.base_url, journal=False) as client:
        return sum(1 for _ in client.tasks(limit=100))


def port_of(box: sandbox.Sandbox) -> int:
    return int(box.base_url.split(":")[2].split("/")[0])
