"""The way of a job, as flows (see ``flow``): begun, found again, waited for, fetched, cancelled.

Two promises are kept here. A job is paid once: its key is in the journal before its request leaves, and whatever
happens, only that key is sent. A job is not lost: it stays open in the journal until its result is on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from beatra_nb.core import policy
from beatra_nb.core.download import EXPIRED, download, kept_as
from beatra_nb.core.envelope import unexpected
from beatra_nb.core.errors import (
    APIError,
    BeatraError,
    ConnectionFailed,
    InvalidInput,
    NotFound,
    NotRecorded,
    TaskTimeout,
    Timeout,
    UnexpectedResponse,
)
from beatra_nb.core.flow import NOT_TWICE, Call, Context, Flow, Pause, Sent, send
from beatra_nb.core.ledger import Ledger
from beatra_nb.core.policy import derived_key, new_key
from beatra_nb.core.request import encode
from beatra_nb.core.resources import read_json
from beatra_nb.core.task import TERMINAL
from beatra_nb.core.uploads import UploadRequest, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from beatra_nb.core.media import BaseClip
    from beatra_nb.core.music import MusicRequest
    from beatra_nb.core.task import BaseTask
    from beatra_nb.core.task_list import BaseTaskList, LostJob
    from beatra_nb.store.jobs import Job, Jobs

SLICE = 0.25  # seconds: how soon a press on Cancel is noticed
OUT_OF_TOUCH = 300.0  # seconds without a word from the service until waiting gives up
ODD_ANSWERS = 3  # unreadable answers in a row until waiting gives up
REMEMBERED = 24 * 3600 - 600  # seconds: a little less than the service remembers a key
TAKEN = ("sending", "open", "delivered")  # how a job stands that the service has, or may have
FORGOTTEN = (
    "This job was begun more than a day ago, and nobody knows whether the service took it: it has forgotten the "
    "key, so that sent again it could be paid twice. bn.tasks() shows what the service has."
)
NO_JOURNAL = "rerun='reuse' needs the journal, and this client was made with journal=False."
OWN_KEY = "Pass idempotency_key= instead: a key of your own says that it is the same job."
MAYBE_BEGUN = (
    "The job may have been begun all the same: bn.pending() comes back to it under its key, and it is paid once. "
    "Begun by running the cell again, it would be another job."
)
SAME_JOB = "It may have been done all the same: run again, the cell is the same job, and is paid once."
SILENT = "Nobody could say how it is just now, so it stays as it was: ask bn.pending() again."


class Watch(Protocol):
    """Who watches a job: is told how it goes, and may ask to cancel it."""

    def update(self, task: BaseTask) -> None:
        """Take note of the task's state."""

    def note(self, text: str) -> None:
        """Take note of something in a line."""

    def cancel_asked(self) -> bool:
        """Whether somebody wants the task cancelled."""


class Nobody:
    """Nobody watches."""

    def update(self, task: BaseTask) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def cancel_asked(self) -> bool:
        """Say no."""
        return False


# ── begin ──


def begin(context: Context, request: MusicRequest, task: BaseTask, watch: Watch) -> Flow[None]:
    """Start a job, or attach to the one that this request has already started."""
    attached = "key" if request.chosen else "rerun"
    again = ""
    while (job := _begun_before(context, request, task)) is not None:
        if job.task_id:
            if (yield from _found(context, task, job, attached)):
                watch.update(task)
                return
            if request.chosen or context.jobs is None:
                break
            context.jobs.close(context.place, job.key, "over")  # there is nothing in it to come back to
            continue
        if context.wall() - job.started.timestamp() > REMEMBERED:
            raise InvalidInput(FORGOTTEN, hint="Take another key, or rerun='new', to begin another job.")
        request, again = request.with_key(job.key), attached
        break
    try:
        yield from _create(context, request.path, request.json, task, request, again=again)
    except APIError as error:
        artifact = request.artifact_id
        if artifact is None or not request.blames_reference(error):
            raise
        if context.jobs is not None:
            context.jobs.forget_upload(context.place, artifact)
        if request.uploaded is None or not request.uploaded.reused:
            error.hint = (
                "Is it an artifact's id of this account? bn.upload(…, fresh=True) uploads a file anew."
            )
            raise
        # The service refused and made nothing; with the file sent anew it is another body, so another key.
        anew = yield from upload(context, UploadRequest.of_reference(request, fresh=True), lambda sent: None)
        request = request.with_artifact(anew).with_key(derived_key(request.key, anew.id))
        yield from _create(context, request.path, request.json, task, request)
    watch.update(task)


def _begun_before(context: Context, request: MusicRequest, task: BaseTask) -> Job | None:
    """Return the job that this request means, where there is one; with ``rerun="reuse"``, else claim it."""
    if context.jobs is None:
        if request.rerun == "reuse" and not request.chosen:
            raise InvalidInput(NO_JOURNAL, hint=OWN_KEY)
        return None
    if request.chosen:
        return _of_key(context.jobs, context.place, request)
    if request.rerun != "reuse":
        return None
    while True:
        mine = context.jobs.claim(
            context.place, request.key, started=context.wall(), body=request.json, **_said(task, request)
        )
        if mine is None:
            raise InvalidInput(
                "rerun='reuse' needs the journal, and it cannot be written just now.", hint=OWN_KEY
            )
        job = None if mine else context.jobs.latest(context.place, request.fingerprint)
        if mine or job is not None:
            return job
        # It was there, and has been closed since: the claim is free again.


def _of_key(jobs: Jobs, place: str, request: MusicRequest) -> Job | None:
    """Return the job of a key that the user chose, also where its reference had to be uploaded anew."""
    keys = [request.key]
    if request.uploaded is not None:
        keys.insert(0, derived_key(request.key, request.uploaded.id))
    for key in keys:
        job = jobs.find(place, key)
        if job is not None and job.status in TAKEN:
            if job.fingerprint == request.fingerprint:
                return job
            raise InvalidInput(
                "This idempotency_key was used for another request, and one key is one job.",
                hint="Take a new key for what is asked now, or ask the very same again.",
            )
    return None


def _said(task: BaseTask, job: Job | MusicRequest) -> dict[str, str]:
    """Return what the journal's row says of a job, besides its key and its body."""
    return {
        "verb": "music",
        "path": job.path,
        "fingerprint": job.fingerprint,
        "model": task.model,
        "title": task.title,
    }


def _found(context: Context, task: BaseTask, job: Job, attached: str) -> Flow[bool]:
    """Attach to a job that the service has; False where there is nothing to attach to."""
    task.id, task.idempotency_key = job.task_id or "", job.key
    try:
        yield from look(context, task)
    except NotFound as error:
        if error.code is None:
            raise  # somebody in between said so: a new job now could be a second one
        found = False
    else:
        # Whoever runs a cell again wants music, not the same failure; a chosen key means that one job, whatever came.
        found = attached == "key" or task.status not in ("failed", "canceled")
    if found:
        task.attached = attached
    else:
        task.forget()
    return found


def _create(
    context: Context, path: str, body: bytes, task: BaseTask, job: Job | MusicRequest, *, again: str = ""
) -> Flow[None]:
    """Send a job, the first time, or ``again``: then nobody knows what became of an earlier sending."""
    call = Call("music", "POST", path, body, job.key)
    task.idempotency_key = job.key
    with Ledger(context, call, task.model) as ledger:
        ledger.task = task
        # Again, it is on disk already, and another kernel may have its answer.
        if context.jobs is not None and not again:
            task.unwritten = not context.jobs.begin(
                context.place, job.key, started=context.wall(), body=body, **_said(task, job)
            )
        try:
            sent = yield from send(context, call)
            ledger.sent(sent)
            _take(task, sent)
        except BeatraError as error:
            if context.jobs is not None and (_refused(error) if again else not error.doubtful):
                context.jobs.close(context.place, job.key, "refused")
            elif context.jobs is not None:
                _say_how_to_come_back(error, task, job)
            raise
        if again:
            replayed = sent.answer.headers.get("idempotent-replayed") == "true"
            task.attached = again if replayed else "resent"
        # Of several kernels that send one job under its key, each is told the charge, and it was paid once.
        if context.jobs is None or context.jobs.attach(context.place, job.key, task.id):
            ledger.credits = task.billing.charged
        if context.jobs is not None:
            task.expected = context.jobs.expected(context.place, task.model)


def _say_how_to_come_back(error: BeatraError, task: BaseTask, job: Job | MusicRequest) -> None:
    """Let an error say that a job may have been begun all the same, and what leads back to it."""
    if getattr(job, "chosen", False) or getattr(job, "rerun", "") == "reuse":
        error.retryable, hint = True, SAME_JOB
    elif task.unwritten:
        hint = NOT_TWICE.format(job.key)
    else:
        error.resumable, hint = True, MAYBE_BEGUN
    # What is strange about an answer is worth knowing beside it.
    error.hint = f"{hint} {error.hint}" if isinstance(error, UnexpectedResponse) and error.hint else hint


def _refused(error: BeatraError) -> bool:
    """Whether the service itself said no for good: then an earlier sending has made no job either."""
    return isinstance(error, APIError) and error.code is not None and not (error.retryable or error.doubtful)


def _take(task: BaseTask, sent: Sent) -> None:
    answer = sent.answer
    body = read_json(answer)
    inner = body.get("task")
    wire: dict[str, Any] = inner if isinstance(inner, dict) and "task_id" not in body else body
    if not isinstance(wire.get("task_id"), str) or not wire["task_id"]:
        raise unexpected(answer.status, answer.headers, answer.body, "without a task in its body")
    if task.id and wire["task_id"] != task.id:
        raise unexpected(
            answer.status, answer.headers, answer.body, "with another task than the one asked for"
        )
    task.take(wire, request_id=answer.request_id, sandbox=answer.sandbox, recorded=answer.recorded)


# ── look ──


def look(context: Context, task: BaseTask) -> Flow[None]:
    """Ask once how a task is."""
    call = Call("task", "GET", _path(task))
    with Ledger(context, call) as ledger:
        ledger.task = task
        sent = yield from send(context, call)
        ledger.sent(sent)
        _take(task, sent)
        ledger.credits = _came_back(context, task)
    _close_if_over(context, task)


def _came_back(context: Context, task: BaseTask) -> Decimal | None:
    """Return what a refund adds to the journal: negative credits, told once of a job that was begun here."""
    refunded = task.billing.refunded
    if context.jobs is None or not refunded or not task.id:
        return None
    news = context.jobs.settle(context.place, task.id, refunded)
    return -news if news else None


def page(context: Context, listing: BaseTaskList[Any], make: Callable[[], BaseTask]) -> Flow[None]:
    """Fetch the next page of a list of tasks."""
    filters = {**listing.filters, **({"cursor": listing.cursor} if listing.cursor else {})}
    call = Call("tasks", "GET", f"/tasks?{urlencode(filters)}")
    with Ledger(context, call) as ledger:
        sent = yield from send(context, call)
        ledger.sent(sent)
        answer = sent.answer
        body = read_json(answer)
        if not isinstance(body.get("data"), list):
            raise unexpected(
                answer.status, answer.headers, answer.body, "without the list that was asked for"
            )
    tasks = []
    for wire in body["data"]:
        if isinstance(wire, dict) and isinstance(wire.get("task_id"), str) and wire["task_id"]:
            task = make()
            task.take(wire, request_id=answer.request_id, sandbox=answer.sandbox, recorded=answer.recorded)
            tasks.append(task)
    cursor = body.get("next_cursor")
    cursor = cursor if isinstance(cursor, str) and cursor else None
    listing.request_id, listing.sandbox = answer.request_id, answer.sandbox
    listing.recorded = answer.recorded
    listing.add(
        tasks, cursor, body.get("has_more") is True or (cursor is not None and "has_more" not in body)
    )


# ── wait ──


def wait(context: Context, task: BaseTask, watch: Watch, timeout: float | None) -> Flow[None]:
    """Look again and again until a task is over, then fetch what it made."""
    end = None if timeout is None else context.now() + timeout
    yield from _until_over(context, task, watch, timeout)
    if task.status == "succeeded":
        for clip in task.takes:
            left = None if end is None else max(end - context.now(), 0.0)
            yield from _fetch_quietly(_in_time(context, left), clip, watch)
    _close_if_over(context, task)
    watch.update(task)


def _until_over(context: Context, task: BaseTask, watch: Watch, timeout: float | None) -> Flow[None]:
    if task.done:
        return
    started = heard = context.now()
    call = Call("wait", "GET", _path(task))
    failures = odd = looks = 0
    asked_for: float | None = None
    canceling = False
    with Ledger(context, call, task.model) as ledger:
        ledger.task = task
        while not task.done:
            pause = policy.poll_pause(
                context.now() - started, context.rand(), asked_for=asked_for, failures=failures
            )
            left = None if timeout is None else started + timeout - context.now()
            if left is not None and left <= 0:
                raise _too_long(task, timeout)
            yield from _rest(context, watch, pause if left is None else min(pause, left), canceling)
            if left is not None:
                left = max(started + timeout - context.now(), 0.0)  # type: ignore[operator]
            if watch.cancel_asked() and not canceling:
                canceling = True
                yield from _cancel_quietly(_in_time(context, left), task, watch)
                continue
            if asked_for is not None and left is not None and left <= 0:
                raise _too_long(task, timeout)  # a last look would come sooner than the service asks for
            try:
                looks += 1
                sent = yield from send(_in_time(context, left), call)
                ledger.sent(replace(sent, attempts=looks))
                _take(task, sent)
            except BeatraError as error:
                failures, asked_for = failures + 1, error.retry_after
                odd = 0 if error.retryable else odd + 1
                if isinstance(error, NotRecorded):
                    raise  # a tape does not say more by being asked again
                fatal = isinstance(error, APIError) and error.code is not None and not error.retryable
                # One look may find that hours have passed: where the lid was closed, and the network is not back yet.
                silent = failures > ODD_ANSWERS and context.now() - heard > OUT_OF_TOUCH
                if fatal or odd > ODD_ANSWERS or silent:
                    if not (isinstance(error, NotFound) and error.code):
                        error.hint = f"{error.hint or ''} The task goes on: {_come_back(task)}".strip()
                    raise
                watch.note("No word from the service just now; looking again.")
                continue
            heard, failures, odd, asked_for = context.now(), 0, 0, None
            watch.note("")
            watch.update(task)
        ledger.credits = _came_back(context, task)


def _rest(context: Context, watch: Watch, seconds: float, canceling: bool) -> Flow[None]:
    """Pause in short steps, so that a press on Cancel is noticed at once."""
    end = context.now() + seconds
    while (left := end - context.now()) > 0:
        if watch.cancel_asked() and not canceling:
            return
        yield Pause(min(SLICE, left))


def _in_time(context: Context, left: float | None) -> Context:
    """Let no single look outlast the time that there is for waiting."""
    if left is None or left >= context.timeouts.total:
        return context
    return replace(context, timeouts=replace(context.timeouts, total=max(left, 1.0)))


def _too_long(task: BaseTask, timeout: float | None) -> TaskTimeout:
    percent = task.progress.percent
    far = f"{task.status or 'not begun'}{'' if percent is None else f', {percent:.0f} %'}"
    return TaskTimeout(
        f"The task was not over after {timeout:g} s ({far}); it goes on.",
        task=task,
        request_id=task.request_id,
        idempotency_key=task.idempotency_key,
        hint=_come_back(task),
    )


def _come_back(task: BaseTask) -> str:
    return f"{task.found_by}.wait() comes back to it, .cancel() stops it."


def _cancel_quietly(context: Context, task: BaseTask, watch: Watch) -> Flow[None]:
    """Cancel on a press of the button; a failure is said, and the waiting goes on."""
    watch.note("Cancelling …")
    try:
        yield from cancel(context, task, "cancelled in the notebook")
    except BeatraError as error:
        watch.note(f"It could not be cancelled: {error.message}")
        return
    watch.update(task)


# ── cancel ──


def cancel(context: Context, task: BaseTask, reason: str | None) -> Flow[None]:
    """Ask the service to stop a task; one that is over comes back unchanged."""
    body: Mapping[str, Any] = {} if reason is None else {"reason": reason}
    call = Call("cancel", "POST", f"{_path(task)}/cancel", encode(body), new_key())
    with Ledger(context, call) as ledger:
        ledger.task = task
        sent = yield from send(context, call)
        ledger.sent(sent)
        _take(task, sent)
        ledger.credits = _came_back(context, task)
    _close_if_over(context, task)


# ── fetch ──


def fetch(context: Context, clip: BaseClip, watch: Watch) -> Flow[None]:
    """Fetch the audio of a clip; an address that has expired is renewed once."""
    data = _kept(context, clip)
    if data is None:
        try:
            data = yield from download(context, clip, watch.note)
        except APIError as error:
            if error.status not in EXPIRED or not clip.task_id:
                raise
            before = clip.url
            yield from look(context, clip.task)
            if clip.url == before:
                raise
            data = yield from download(context, clip, watch.note)
    clip.keep(data)


def _fetch_quietly(context: Context, clip: BaseClip, watch: Watch) -> Flow[None]:
    """Fetch for a view: what fails is said there, and the clip can be fetched again."""
    if clip.data is not None:
        return
    watch.note(f"Fetching take {clip.index} of {len(clip.task.takes)} …")
    try:
        yield from fetch(context, clip, watch)
    except BeatraError as error:
        clip.problem = error.message
    watch.note("")


def _kept(context: Context, clip: BaseClip) -> bytes | None:
    if context.files is None or not clip.artifact_id:
        return None  # an address may hold another file by now
    return context.files.get(context.place, kept_as(clip))


def _close_if_over(context: Context, task: BaseTask) -> None:
    """Close a job in the journal: it is over, and what it made is here."""
    if context.jobs is None or task.status not in TERMINAL:
        return
    here = all(clip.data is not None for clip in task.takes)
    told = task.takes or "output" in task.raw  # a summary does not say what was made
    if task.status != "succeeded" or (here and told):
        context.jobs.deliver(context.place, task.id, task.elapsed)


# ── come back ──


@dataclass
class Found:
    """What became of this machine's unfinished jobs."""

    tasks: list[BaseTask] = field(default_factory=list)
    lost: list[LostJob] = field(default_factory=list)
    unheard: list[LostJob] = field(default_factory=list)
    elsewhere: int = 0


def pending(context: Context, make: Callable[[], BaseTask]) -> Flow[Found]:
    """Find this machine's unfinished jobs again: by the task's id, or by sending the same request once more."""
    if context.jobs is None:
        raise InvalidInput(
            "Unfinished jobs are found in the journal, and this client was made with journal=False.",
            hint="bn.tasks() lists the tasks that the service knows.",
        )
    found = Found(elsewhere=context.jobs.elsewhere(context.place))
    trouble: BeatraError | None = None
    for job in context.jobs.unfinished(context.place):
        task = make()
        task.model, task.title, task.idempotency_key = job.model, job.title, job.key
        if isinstance(trouble, ConnectionFailed | Timeout):  # nobody answers: the others need not be asked
            found.unheard.append(_lost(job, SILENT))
            continue
        try:
            reason = yield from _find_again(context, job, task)
        except BeatraError as error:
            trouble = trouble or error
            found.unheard.append(_lost(job, f"{SILENT} ({error.message})"))
            continue
        if reason is None:
            found.tasks.append(task)
        else:
            found.lost.append(_lost(job, reason))
    if trouble is not None and not (found.tasks or found.lost):
        raise trouble  # every job stays as it is
    return found


def _lost(job: Job, reason: str) -> LostJob:
    from beatra_nb.core.task_list import LostJob

    return LostJob(job.key, job.started, job.verb, reason, job.title)


def _find_again(context: Context, job: Job, task: BaseTask) -> Flow[str | None]:
    """Find one job again; return None, or why it cannot be found."""
    assert context.jobs is not None  # noqa: S101 - pending() has looked
    if job.task_id:
        task.id, task.attached = job.task_id, "pending"
        try:
            yield from look(context, task)
        except NotFound as error:
            if error.code is None:
                raise  # somebody in between said so, not the service
            context.jobs.close(context.place, job.key, "lost")
            return "The service does not know this task any more."
        return None
    if job.body is None or context.wall() - job.started.timestamp() > REMEMBERED:
        context.jobs.close(context.place, job.key, "lost")
        return FORGOTTEN
    try:
        yield from _create(context, job.path, job.body, task, job, again="pending")
    except APIError as error:
        if not _refused(error):
            raise
        return f"The service refused it: {error.message}"
    return None


def _path(task: BaseTask) -> str:
    return f"/tasks/{quote(task.id, safe='')}"
