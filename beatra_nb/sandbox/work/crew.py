"""The crew: takes tasks from the queue as workers are free, sees that cancelled work stops, and clears up.

A foreman thread claims tasks and looks after everybody; each task that runs has a thread that listens to its worker.
None of them touches the server's event loop, which goes on answering chat. Everything that is decided is decided
in the database (``state.tasks``): the crew may be killed at any moment and loses nothing but time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from beatra_nb.sandbox.contract import new_id
from beatra_nb.sandbox.state import instances, tasks
from beatra_nb.sandbox.state.desk import Desk, StateTrouble
from beatra_nb.sandbox.state.tasks import Job
from beatra_nb.sandbox.work import results, troubled
from beatra_nb.sandbox.work.worker import Worker, WorkerDied

BEAT = 3.0  # seconds between two signs of life while there is work
LOOK = 1.0  # … between two looks at the queue: another process may have put something in
LOOK_BUSY = 0.3  # … and at whether what is being worked on is still wanted
IDLE = 60.0  # after which a worker that has nothing to do is let go
SILENCE = 120.0  # after which a worker that tells nothing counts as dead
PROGRESS_PAUSE = 0.25  # seconds between two notes of progress
STOP_TIMEOUT = 3.0

log = logging.getLogger("beatra_nb.sandbox")


def usual_size() -> int:
    """Return how many workers a machine gets: a core stays free for whoever waits."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return max(1, min(4, cores - 1))


@dataclass
class _Active:
    """A task in work."""

    job: Job
    dropped: threading.Event = field(default_factory=threading.Event)
    worker: Worker | None = None
    thread: threading.Thread | None = None

    def drop(self) -> None:
        """Stop the work; what it made so far is thrown away."""
        self.dropped.set()
        if (worker := self.worker) is not None:
            worker.kill()


class Crew:
    """The workers of one sandbox."""

    def __init__(self, desk: Desk, size: int | None = None, *, idle: float = IDLE) -> None:
        self.size = usual_size() if size is None else size
        self._desk, self._patience = desk, idle
        self._me = new_id("box_")
        self._watch = instances.Watch(self._me)
        self._lock = threading.Lock()
        self._active: dict[str, _Active] = {}
        self._idle: list[tuple[Worker, float]] = []
        self._call = threading.Event()
        self._stopping = False
        self._lost = False  # whether a task's end could not be written; set with the lock held
        self._foreman: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work; calling it again does nothing."""
        with self._lock:
            if self._foreman is None and not self._stopping:
                foreman = threading.Thread(target=self._run, name="beatra-sandbox-crew", daemon=True)
                try:
                    foreman.start()
                except RuntimeError as problem:  # no more threads; the next request tries again
                    log.warning("The sandbox's crew cannot begin yet: %s", problem)
                    return
                self._foreman = foreman

    def call(self) -> None:
        """Tell the crew that there is something new in the queue."""
        self._call.set()

    def drop(self, task_id: str) -> None:
        """Stop work on a task that is over."""
        with self._lock:
            active = self._active.get(task_id)
        if active is not None:
            active.drop()

    @property
    def pids(self) -> list[int]:
        """The ids of the worker processes."""
        with self._lock:
            busy = [each.worker for each in self._active.values() if each.worker is not None]
            return [worker.pid for worker in [*busy, *(worker for worker, _ in self._idle)] if worker.alive]

    def stop(self) -> None:
        """Stop all work and put it back into the queue; end every process and thread."""
        with self._lock:
            self._stopping = True
            foreman = self._foreman
        self._call.set()
        deadline = time.monotonic() + STOP_TIMEOUT
        if foreman is not None:
            foreman.join(STOP_TIMEOUT)  # after it nobody begins anything
        with self._lock:
            active = list(self._active.values())
            idle, self._idle = self._idle, []
        for each in active:
            each.drop()
        for worker, _ in idle:
            worker.kill()
            worker.close()
        for each in active:
            if each.thread is not None:
                each.thread.join(max(0.0, deadline - time.monotonic()))
        if foreman is not None:
            with suppress(StateTrouble):
                self._desk.now(instances.leave, self._me)

    # --- the foreman

    def _run(self) -> None:
        next_beat, next_watch = 0.0, 0.0
        while not self._stopping:
            try:
                now = time.monotonic()
                if self._active and now >= next_beat:
                    self._desk.now(instances.beat, self._me)
                    next_beat = now + BEAT
                if now >= next_watch:
                    self._desk.now(self._watch.look)
                    next_watch = now + LOOK
                self._dismiss_idle(now)
                if self._active or self._lost:
                    self._check_active(now)
                self._take_work()
            except StateTrouble as trouble:
                log.debug("The sandbox's crew waits: %s", trouble)
            except Exception:
                log.exception("The sandbox's crew stumbled.")
            self._call.wait(LOOK_BUSY if self._active else LOOK)
            self._call.clear()

    def _take_work(self) -> None:
        while not self._stopping and len(self._active) < self.size:
            job = self._desk.now(instances.claim, self._me)
            if job is None:
                return
            active = _Active(job)
            thread = threading.Thread(target=self._do, args=(active,), name="beatra-sandbox-job", daemon=True)
            with self._lock:
                self._active[job.id] = active
            try:
                thread.start()
            except (
                RuntimeError
            ) as problem:  # no more threads: the task goes back, and the next look tries again
                log.warning("Work on a task cannot begin yet: %s", problem)
                with self._lock:
                    del self._active[job.id]
                    self._lost = True
                self._desk.now(tasks.release, job.id, self._me)
                return
            active.thread = thread

    def _check_active(self, now: float) -> None:
        with self._lock:
            # From here on a task that is lost is seen below, or sets this anew for the next look.
            lost_before, self._lost = self._lost, False
            active = dict(self._active)
        try:
            self._compare(active, now)
        except BaseException:
            with self._lock:
                self._lost = self._lost or lost_before
            raise

    def _compare(self, active: dict[str, _Active], now: float) -> None:
        mine = self._desk.now(tasks.working, self._me)
        for task_id, each in active.items():
            if task_id not in mine:  # cancelled through another sandbox, or taken for gone
                each.drop()
            elif each.worker is not None and now - each.worker.heard > SILENCE:
                each.worker.kill()
        for task_id in mine - active.keys():
            with self._lock:
                lost = task_id not in self._active  # its end could not be written: it has to be done again
            if lost:
                self._desk.now(
                    tasks.crash, task_id, self._me, results.failure("What was made could not be kept.")
                )

    def _dismiss_idle(self, now: float) -> None:
        with self._lock:
            old = [worker for worker, since in self._idle if now - since > self._patience or not worker.alive]
            self._idle = [item for item in self._idle if item[0] not in old]
        for worker in old:
            worker.close()

    # --- one task, in a thread of its own

    def _do(self, active: _Active) -> None:
        job, lost = active.job, False
        try:
            if job.fault is not None:
                troubled.work(job, self._note(active), active.dropped, self._end_badly)
            else:
                self._compose(active)
        except StateTrouble as trouble:
            log.debug("A task's end could not be written: %s", trouble)
            lost = True
        except Exception as problem:
            log.exception("Work on a task failed.")
            lost = True  # unless the next line can tell it
            with suppress(StateTrouble):
                self._end_badly(job, results.failure(f"The sandbox failed: {type(problem).__name__}."))
        finally:
            if self._stopping:
                with suppress(StateTrouble):
                    self._desk.now(tasks.release, job.id, self._me)
            with self._lock:
                self._active.pop(job.id, None)
                self._lost = self._lost or lost  # in one step: see _check_active
            self._call.set()

    def _compose(self, active: _Active) -> None:
        job = active.job
        folder = results.folder(self._desk.files, job.id)
        kept = False
        try:
            order = {
                **job.spec,
                "task_id": job.id,
                "folder": str(folder),
                "reference": None if job.reference is None else str(self._desk.files / job.reference),
            }
            worker = active.worker = self._worker()
            try:
                if active.dropped.is_set():  # between the claim and here
                    raise WorkerDied("it was not wanted any more")
                kept = self._listen(active, worker, order, folder)
            except WorkerDied as death:
                worker.close()
                if not active.dropped.is_set():
                    log.debug("A composer's process died: %s", death)
                    died = results.failure("The composer's process ended unexpectedly, twice.")
                    self._desk.now(tasks.crash, job.id, self._me, died)
            except BaseException:
                worker.kill()
                worker.close()
                raise
            else:
                self._rest(worker)
            finally:
                active.worker = None
        finally:
            if not kept:
                results.remove(folder)

    def _listen(self, active: _Active, worker: Worker, order: dict[str, object], folder: Path) -> bool:
        """Follow one order to its end; True when what was made is kept."""
        job, note, kept = active.job, self._note(active), False
        for told in worker.work(order):
            if "progress" in told:
                note(told["progress"])
            elif "error" in told:
                self._end_badly(job, results.error(told["error"]))
            elif "done" in told:
                made = results.clips(self._desk.files, folder, job, told["done"])
                kept = self._desk.now(
                    tasks.succeed,
                    job.id,
                    self._me,
                    output=made.output,
                    warnings=made.warnings,
                    audio_seconds=made.audio_seconds,
                    made=made.artifacts,
                )
        return kept

    def _worker(self) -> Worker:
        with self._lock:
            while self._idle:
                worker, _ = self._idle.pop()
                if worker.alive:
                    return worker
                worker.close()  # it ended while nobody looked, such as by a cancel that came a moment too late
        return Worker()

    def _rest(self, worker: Worker) -> None:
        with self._lock:
            if not self._stopping:
                self._idle.append((worker, time.monotonic()))
                return
        worker.kill()
        worker.close()

    def _end_badly(self, job: Job, error: dict[str, object]) -> None:
        self._desk.now(tasks.fail, job.id, self._me, error)

    def _note(self, active: _Active) -> Callable[[dict[str, object]], None]:
        """Return what notes progress, a few times a second, and stops work that nobody wants any more."""
        last = 0.0

        def note(progress: dict[str, object]) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < PROGRESS_PAUSE:
                return
            last = now
            percent, stage, message = results.progress(progress)
            try:
                mine = self._desk.now(tasks.advance, active.job.id, self._me, percent, stage, message)
            except StateTrouble:
                return  # the end is what has to be written
            if not mine:
                active.drop()

        return note
