"""Batches on a real cluster of two worker processes, against a real sandbox."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import types
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import dask
import pydantic
import pytest
from distributed import Client, LocalCluster

import beatra_nb as bn
from beatra_nb.batch.engine import Job
from beatra_nb.batch.outcome import Outcome
from beatra_nb.batch.pace import Pace
from beatra_nb.batch.stop import Stop
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.request import ChatRequest
from beatra_nb.sandbox import Sandbox
from beatra_nb.store.checkpoint import Checkpoint
from beatra_nb.store.journal import Journal
from tests.batch.cluster_worker import spread
from tests.batch.driving import Seldom, jobs, ran
from tests.batch.worker import FINGERPRINT

PIECE = 10  # characters of a key that are a trace of it


class City(pydantic.BaseModel):
    name: str
    size: int


@pytest.fixture(scope="module")
def main() -> Iterator[None]:
    """A main module that processes can be spawned from: a shell of another test may have left a stand-in."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="module")
def cluster(main: None) -> Iterator[LocalCluster]:
    with (
        # A worker that is killed on purpose is no news.
        dask.config.set({"distributed.logging": {"distributed": "critical"}}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=30)
        yield client


def spent_by(box: Sandbox) -> Counter[str | None]:
    """Count how often each key was paid."""
    return Counter(each.idempotency_key for each in box.seen if each.effect)


@pytest.fixture
def own() -> Iterator[Sandbox]:
    """A sandbox that has seen nothing else."""
    with bn.sandbox.start(engine="scripted", faults=True) as box:
        yield box


def told(outcome: Outcome) -> tuple[object, ...]:
    """What an outcome says, whoever asked."""
    return outcome.position, outcome.text, outcome.data, outcome.model, outcome.credits, outcome.error


# The same as one process


@pytest.mark.parametrize("schema", [None, City, Literal["good", "bad"]])
async def test_a_cluster_gives_what_one_process_gives(own: Sandbox, client: Client, schema: Any) -> None:
    rows = list(jobs(60, schema=schema))
    tally, alone = await ran(own.base_url, own.api_key, rows)
    before = len(spent_by(own))
    there, outcomes = await spread(own.base_url, own.api_key, rows, client)
    assert [told(each) for each in outcomes] == [told(each) for each in alone]
    assert (there.done, there.ok, there.credits, there.stopped) == (60, 60, tally.credits, None)
    assert len(spent_by(own)) == before + 60
    assert set(spent_by(own).values()) == {1}


async def test_classes_of_a_notebook_come_home_as_themselves(own: Sandbox, client: Client) -> None:
    notebook: dict[str, Any] = {"__name__": "__main__"}
    exec("import pydantic\nclass Here(pydantic.BaseModel):\n    name: str", notebook)
    _, outcomes = await spread(own.base_url, own.api_key, jobs(20, schema=notebook["Here"]), client)
    assert all(type(each.data) is notebook["Here"] for each in outcomes)


async def test_a_schema_that_cannot_travel_says_so(own: Sandbox, client: Client) -> None:
    class Here(pydantic.BaseModel):  # it holds on to what stands around it, and the sandbox is not pickled
        name: str

    with pytest.raises(InvalidInput, match=r"cannot be sent to the cluster's workers.*in a module"):
        await spread(own.base_url, own.api_key, jobs(20, schema=Here), client)
    assert not own.seen


async def test_rows_that_are_refused_and_the_same_rows(own: Sandbox, client: Client) -> None:
    def rows() -> Iterator[Job]:
        for at in range(40):
            yield Job(at, InvalidInput("no such row") if at == 7 else ChatRequest.of(f"Hello {at % 10}"))

    tally, outcomes = await spread(own.base_url, own.api_key, rows(), client, dedupe=True)
    assert tally.failed == {"InvalidInput": 1}
    assert (tally.deduped, len(spent_by(own))) == (29, 10)
    assert [each.position for each in outcomes] == list(range(40))


async def test_every_call_is_in_this_journal(own: Sandbox, client: Client) -> None:
    journal = Journal.open()
    _, outcomes = await spread(own.base_url, own.api_key, jobs(30), client, context={"journal": journal})
    assert {each.request_id for each in outcomes} == {each.request_id for each in journal.view()}


async def test_faults_are_tried_again_there(own: Sandbox, client: Client) -> None:
    for fault in ["429;retry_after=0.05", "503", "reset:after", "empty:504"]:
        own.inject(f"{fault};share=0.05")
    tally, _ = await spread(own.base_url, own.api_key, jobs(100), client, context={"max_attempts": 10})
    assert tally.ok == 100
    assert set(spent_by(own).values()) == {1}
    assert tally.sent > 100


async def test_what_the_service_asks_one_worker_is_asked_of_all(own: Sandbox, client: Client) -> None:
    own.inject("429;retry_after=0.6")
    own.inject("slow:0.01;share=1")
    pace = Pace(16)
    began = time.monotonic()
    tally, _ = await spread(own.base_url, own.api_key, jobs(100), client, pace=pace)
    assert tally.ok == 100
    assert pace.held_until > began  # it was heard of here, too
    told = [topic for topic in client.get_events() if str(topic).startswith("beatra-batch-")]
    assert told
    assert all("until" in message for topic in told for _, message in client.get_events(topic))


def test_the_front_door(own: Sandbox, client: Client, tmp_path: Path) -> None:
    with bn.Client(own.api_key, base_url=own.base_url) as talk:
        words = ["cheese", "bread", "wine"] * 10
        path = tmp_path / "words.beatra"
        result = talk.map(words, "Say {word}.", executor=client, checkpoint=path, progress=False)
        again = talk.map(words, "Say {word}.", executor=client, checkpoint=path, progress=False)
        assert result.texts == again.texts == talk.map(words, "Say {word}.", progress=False).texts
    assert len(spent_by(own)) == 60


def test_a_recorded_batch_is_asked_here_and_replayed_without_a_service(
    own: Sandbox, client: Client, tmp_path: Path
) -> None:
    tape, rows = tmp_path / "rows.cassette", [f"row {at}" for at in range(30)]
    with bn.Client(own.api_key, base_url=own.base_url, mode="record", cassette=tape) as talk:
        live = talk.map(rows, "Say {value}.", executor=client, progress=False)
    assert len(spent_by(own)) == 30
    own.stop()
    with bn.Client(mode="replay", cassette=tape, speed=0) as talk:
        told = talk.map(rows, "Say {value}.", executor=client, progress=False)
    assert list(told) == list(live)
    assert told.totals == live.totals
    assert all(each.recorded is not None for each in told)


# What is lost


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
async def test_a_worker_that_is_killed_takes_nothing_along(own: Sandbox, client: Client) -> None:
    own.inject("slow:0.03;share=1")
    pids = [*client.run(os.getpid).values()]
    seen = 0

    def tell(_: Outcome) -> None:
        nonlocal seen
        seen += 1
        if seen in (30, 90):
            os.kill(pids.pop(), signal.SIGKILL)

    tally, outcomes = await spread(own.base_url, own.api_key, jobs(200), client, told=tell)
    assert not pids
    assert (tally.ok, tally.stopped) == (200, None)
    assert [each.position for each in outcomes] == list(range(200))
    assert len(spent_by(own)) == 200
    assert set(spent_by(own).values()) == {1}


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
async def test_a_driver_that_is_killed_goes_on_where_it_was(
    own: Sandbox, cluster: LocalCluster, client: Client, tmp_path: Path
) -> None:
    own.inject("slow:0.03;share=1")
    path = tmp_path / "rows.beatra"
    command = [sys.executable, "-m", "tests.batch.cluster_worker", own.base_url, str(path), "200"]

    def run(kill_after: int | None) -> str:
        environment = {**os.environ, "BEATRA_API_KEY": own.api_key}
        with subprocess.Popen(
            [*command, cluster.scheduler_address], stdout=subprocess.PIPE, text=True, env=environment
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if kill_after is not None and line.startswith(f"told {kill_after}"):
                    child.kill()
                if line.startswith("done"):
                    return line.strip()
        return "killed"

    assert await asyncio.to_thread(run, 60) == "killed"
    assert await asyncio.to_thread(run, None) == "done 200 failed 0 stopped None"
    assert len(spent_by(own)) == 200
    assert set(spent_by(own).values()) == {1}
    with Checkpoint.open(path, FINGERPRINT) as kept:
        assert kept.finished == 200


async def test_a_worker_that_comes_later_gets_the_key(own: Sandbox, cluster: LocalCluster) -> None:
    own.inject("slow:0.05;share=1")
    with Client(cluster) as client:
        known = set(client.run(os.getpid).values())

        def tell(outcome: Outcome) -> None:
            if cluster.scheduler.workers and len(cluster.worker_spec) == 2:
                cluster.scale(3)

        try:
            tally, _ = await spread(own.base_url, own.api_key, jobs(400), client, told=tell)
            assert tally.ok == 400
            assert len(known) == 2
        finally:
            cluster.scale(2)


# The end before the end


async def test_a_stop_keeps_what_is_finished(own: Sandbox, client: Client, tmp_path: Path) -> None:
    own.inject("slow:0.03;share=1")
    stop = Stop()
    seen = 0

    def tell(_: Outcome) -> None:
        nonlocal seen
        seen += 1
        if seen == 50:
            stop.stop()

    with Checkpoint.open(tmp_path / "rows.beatra", FINGERPRINT) as kept:
        tally, first = await spread(
            own.base_url, own.api_key, jobs(300), client, told=tell, stop=stop, checkpoint=kept
        )
        assert tally.stopped == "interrupted"
        assert 50 <= len(first) < 300
        assert all(each.ok for each in first)
    with Checkpoint.open(tmp_path / "rows.beatra", FINGERPRINT) as kept:
        tally, _ = await spread(own.base_url, own.api_key, jobs(300), client, checkpoint=kept)
    assert (tally.stopped, tally.ok, tally.stored) == (None, 300, len(first))
    assert len(spent_by(own)) == 300
    assert set(spent_by(own).values()) == {1}


async def test_a_second_word_drops_what_is_under_way(own: Sandbox, client: Client) -> None:
    own.inject("slow:3;share=1")
    stop = Stop()
    asyncio.get_running_loop().call_later(0.5, lambda: (stop.stop(), stop.stop()))
    tally, outcomes = await spread(own.base_url, own.api_key, jobs(100), client, stop=stop)
    assert (tally.stopped, outcomes) == ("interrupted", [])


async def test_an_account_that_can_do_no_more_ends_it(own: Sandbox, client: Client) -> None:
    tally, outcomes = await spread(own.base_url, "sk-" + "w" * 32, jobs(500), client)
    assert tally.stopped == "account"
    assert tally.trouble is not None
    assert tally.trouble.code == "invalid_api_key"
    assert len(outcomes) < 500


async def test_nobody_there_ends_it(client: Client) -> None:
    tally, _ = await spread(
        "http://127.0.0.1:9/v1", "sk-" + "w" * 32, jobs(500), client, context={"max_attempts": 1}
    )
    assert tally.stopped == "unreachable"
    assert tally.done < 500


async def test_one_budget_holds_for_all_workers(own: Sandbox, client: Client, tmp_path: Path) -> None:
    price = Decimal("0.011")
    with Checkpoint.open(tmp_path / "rows.beatra", FINGERPRINT) as kept:
        with bn.budget(credits=2) as budget:
            tally, some = await spread(own.base_url, own.api_key, jobs(400), client, checkpoint=kept)
        assert tally.stopped == "budget"
        assert budget.spent.credits == tally.credits == sum(each.credits or 0 for each in some)
        assert Decimal(2) - 5 * price < budget.spent.credits <= Decimal(2) + 16 * price
        assert budget.reserved.credits == 0
    with Checkpoint.open(tmp_path / "rows.beatra", FINGERPRINT) as kept, bn.budget(credits=10) as more:
        tally, whole = await spread(own.base_url, own.api_key, jobs(400), client, checkpoint=kept)
    assert (tally.stopped, tally.ok) == (None, 400)
    assert more.spent.credits + budget.spent.credits == sum(each.credits or 0 for each in whole)
    assert len(spent_by(own)) == 400
    assert set(spent_by(own).values()) == {1}


async def test_a_guess_that_is_too_low_does_not_break_the_budget(own: Sandbox, client: Client) -> None:
    """A price is learned as answers come; partitions stop by themselves and come again with what is known by then."""
    with bn.budget(tokens=1000) as budget:
        tally, _ = await spread(own.base_url, own.api_key, jobs(400, max_tokens=2), client)
    assert tally.stopped == "budget"
    assert 900 < budget.spent.tokens <= 1000 + 16 * 20


# The key


class Noted(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


_NOTED = Noted()


def note(on: bool) -> list[str]:
    """Write down everything that this process logs at the finest level."""
    log = logging.getLogger("distributed")
    for each in [
        log,
        *(logging.getLogger(f"distributed.{name}") for name in ("core", "worker", "scheduler")),
    ]:
        each.setLevel(logging.DEBUG if on else logging.CRITICAL)
    (log.addHandler if on else log.removeHandler)(_NOTED)
    lines, _NOTED.lines = _NOTED.lines, []
    return lines


def held(backwards: str) -> list[str]:
    """Return what in this process holds a key; it is told backwards, or it would find the question."""
    found = []
    key = backwards[::-1]
    for each in gc.get_objects():
        for thing in (
            each.values() if type(each) is dict else each if type(each) in (list, tuple, set) else ()
        ):
            if isinstance(thing, str) and key in thing:
                found.append(repr(type(each)))
            if isinstance(thing, bytes | bytearray) and key.encode() in thing:
                found.append(repr(type(each)))
    return found


def fragments(key: str) -> list[str]:
    return [key[at : at + PIECE] for at in range(3, len(key) - PIECE + 1)]


async def test_the_key_is_nowhere_but_in_memory(
    own: Sandbox, cluster: LocalCluster, client: Client, tmp_path: Path
) -> None:
    key = own.api_key
    texts: list[str] = []
    seen = 0

    def look() -> None:
        """See all that a cluster shows of a batch under way."""
        scheduler = cluster.scheduler
        for name, task in [*scheduler.tasks.items()]:
            texts.extend([str(name), repr(task), repr(task.run_spec)])
            texts.append(repr(pickle.dumps(task.run_spec)))
            texts.append(page(f"/info/task/{urllib.request.quote(str(name), safe='')}.html"))  # type: ignore[attr-defined]
        assert any(name.startswith("beatra-batch-partition-") for name in map(str, scheduler.tasks))
        for path in ("/info/main/workers.html", "/info/logs.html", "/info/main/logs.html", "/json/counts.json",
                     "/json/identity.json", "/sitemap.json", "/metrics"):  # fmt: skip
            texts.append(page(path))
        for address in scheduler.workers:
            for what in ("worker", "logs", "call-stacks", "worker-call-stacks"):
                quoted = urllib.request.quote(address, safe="")  # type: ignore[attr-defined]
                texts.append(page(f"/info/{what}/{quoted}.html"))
        texts.extend(repr(event) for events in scheduler.get_events().values() for event in events)

    def page(path: str) -> str:
        try:
            with urllib.request.urlopen(cluster.dashboard_link.replace("/status", path), timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""

    def tell(_: Outcome) -> None:
        nonlocal seen
        seen += 1
        if seen == 20:
            look()

    client.run(note, True)
    note(True)
    try:
        own.inject("slow:0.03;share=1")
        with Checkpoint.open(tmp_path / "rows.beatra", FINGERPRINT) as kept:
            await spread(own.base_url, key, jobs(80), client, told=tell, checkpoint=kept)
    finally:
        texts.extend(note(False))
        texts.extend(line for lines in client.run(note, False).values() for line in lines)
    texts.append(json.dumps(client.get_task_stream(), default=repr))
    texts.append(repr(await asyncio.to_thread(client.get_scheduler_logs)))
    texts.append(repr(await asyncio.to_thread(client.get_worker_logs)))
    await asyncio.to_thread(client.dump_cluster_state, str(tmp_path / "dump"), format="yaml")
    texts.extend(each.read_text() for each in tmp_path.glob("dump*.yaml"))
    texts.extend(repr(each.read_bytes()) for each in tmp_path.glob("*.beatra*"))
    assert sum(len(text) for text in texts) > 50_000
    assert any("Run out-of-band function 'equip'" in text for text in texts), "the logs say nothing"
    everything = "\n".join(texts)
    assert not [piece for piece in fragments(key) if piece in everything]
    # When the batch is over, workers have forgotten it.
    assert client.run(held, key[::-1]) == {address: [] for address in client.nthreads()}


async def test_an_error_that_comes_back_holds_no_key(own: Sandbox, client: Client) -> None:
    own.inject("html:502;share=1")
    tally, outcomes = await spread(own.base_url, own.api_key, jobs(400), client, context={"max_attempts": 1})
    assert tally.stopped == "unreachable"
    assert outcomes
    assert not [piece for piece in fragments(own.api_key) if piece in repr(outcomes)]


# What is no cluster


def test_what_is_no_dask_client_is_refused() -> None:
    with bn.Client("sk-test-test", base_url="http://127.0.0.1:9/v1") as talk:
        for thing in (ThreadPoolExecutor(1), "tcp://127.0.0.1:8786", 4):
            with pytest.raises(bn.InvalidInput, match=r"must be a Dask client.*distributed\.Client"):
                talk.map(["a"], "Say {word}.", executor=thing, progress=False)


def test_a_closed_client_is_refused(cluster: LocalCluster) -> None:
    client = Client(cluster)
    client.close()
    with (
        bn.Client("sk-test-test", base_url="http://127.0.0.1:9/v1") as talk,
        pytest.raises(bn.InvalidInput, match="closed"),
    ):
        talk.map(["a"], "Say {word}.", executor=client, progress=False)


def test_without_dask_it_says_what_to_install() -> None:
    code = """
        import sys

        class Blind:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("distributed", "dask"):
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Blind())
        import importlib.util
        found, importlib.util.find_spec = importlib.util.find_spec, lambda name: None
        import beatra_nb as bn
        with bn.Client("sk-test-test", base_url="http://127.0.0.1:9/v1") as client:
            try:
                client.map(["a"], "Say {word}.", executor=object(), progress=False)
            except bn.ConfigurationError as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "pip install 'beatra-nb[dask]'" in done.stdout, done.stderr


async def test_an_awaited_client_will_do(own: Sandbox, cluster: LocalCluster) -> None:
    async with Client(cluster.scheduler_address, asynchronous=True) as client:
        tally, _ = await spread(own.base_url, own.api_key, jobs(40), client, pace=Pace(8))
    assert (tally.ok, tally.stopped) == (40, None)


def test_a_budget_is_used_to_its_end_also_by_rows_that_are_asked_again(client: Client, own: Sandbox) -> None:
    budget = bn.budget(credits="0.6")
    rows = [f"d{number}" for number in range(300)]
    with bn.Client(own.api_key, base_url=own.base_url) as talk:
        asking: dict[str, Any] = {"schema": Seldom, "progress": False}
        talk.map(["one", "two"], "City {x} and something", **asking)  # prices are known now
        paid_before = spent_by(own)
        result = talk.map(rows, "City {x} and something", budget=budget, executor=client, **asking)
    assert result.stopped is not None
    assert Decimal("0.5") < budget.spent.credits <= Decimal("0.6")
    assert result.credits == budget.spent.credits
    paid = spent_by(own) - paid_before
    assert max(paid.values()) == 1
