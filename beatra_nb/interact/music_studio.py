"""``MusicStudio``: make music by hand and by eye. The page's half is ``assets/music_studio.js``.

The form and the cards of the jobs are one document that the page mirrors. A job is an ordinary ``bn.Task``, begun,
waited for and cancelled by the same flows as ``bn.music`` (``takes``), beside the kernel: so other cells run
meanwhile, *Cancel* is heard while one does, and the journal finds every job again.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from beatra_nb.core.base_client import interrupted_task
from beatra_nb.core.errors import BeatraError, InvalidInput, TaskTimeout
from beatra_nb.core.music import MusicRequest
from beatra_nb.core.task_verbs import checked_embed, checked_timeout
from beatra_nb.display.pieces import credits_of, short_path
from beatra_nb.interact import studio_form, work
from beatra_nb.interact.known_models import LIMIT, known_models, running_sandbox
from beatra_nb.interact.reference import Reference
from beatra_nb.interact.studio_fields import StudioFields
from beatra_nb.interact.takes import Production, difference

if TYPE_CHECKING:
    from beatra_nb.core.client import Client
    from beatra_nb.core.media import Artifact, Clip, Embed
    from beatra_nb.core.music import Reference as Given
    from beatra_nb.core.task import Task

# What a take may weigh for the still to follow each change of the form: it is sent whole each time.
LIGHT = 200_000
_OVERRIDES = frozenset(
    {"prompt", "lyrics", "instrumental", "title", "model", "model_options", "reference", "metadata"}
)


class MusicStudio(StudioFields):
    r"""Make music by hand and by eye: describe it, press *Create*, listen, compare.

    What the panel does, this object does: its properties are the form's fields, ``create`` is the button, and what
    was made are ordinary tasks and clips. Nothing is sent or spent before *Create*, which names the price.

    Parameters
    ----------
    prompt : str
        How it shall sound.
    lyrics : str, optional
        The words, with section tags such as ``[Verse]`` and ``[Chorus]``.
    instrumental : bool, optional
        Whether nobody shall sing; the lyrics are kept then, and not sent.
    title : str, optional
        Its title.
    model : str, default "auto"
        A music model's id, or ``"auto"`` to let the service choose.
    reference : path, Artifact, Clip, str, bytes or file, optional
        Audio to follow, as ``bn.music`` takes it; uploaded when music is created with it.
    model_options : dict, optional
        Options of families of models, as ``bn.music`` takes them.
    embed : "auto" or bool, default "auto"
        Whether the notebook's saved output holds the audio.
    client : Client, optional
        Who sends; else the default client.

    Raises
    ------
    InvalidInput
        If an argument could never be sent.

    Examples
    --------
    >>> studio = bn.MusicStudio("dream pop, warm analog drums", model="suno-5.5")  # doctest: +SKIP
    >>> studio.create(title="City Lights").clips[0]  # doctest: +SKIP
    """

    modules = ("studio_words.js", "studio_player.js", "studio_cards.js", "music_studio.js")
    styles = ("music_studio.css",)
    # Music can be listened to, and cancelled, while a cell runs.
    urgent = frozenset({"cancel", "audio"})

    def __init__(
        self,
        prompt: str = "",
        *,
        lyrics: str | None = None,
        instrumental: bool | None = None,
        title: str | None = None,
        model: str = "auto",
        reference: Given | Reference | None = None,
        model_options: Mapping[str, Any] | None = None,
        embed: Embed = "auto",
        client: Client | None = None,
    ) -> None:
        # By the same rules as bn.music; an empty form is no mistake, and lyrics may wait for a singer.
        MusicRequest.of("check", lyrics=lyrics, title=title, model=model, model_options=model_options)
        texts = {"prompt": prompt, "lyrics": lyrics or "", "title": title or "", "model": model.strip()}
        form = studio_form.filled(studio_form.empty_form(), {**texts, "instrumental": instrumental})
        form["options"], rest = studio_form.split_options(model_options)
        self._embed = checked_embed(embed)
        self._productions: dict[int, Production] = {}
        self._running: set[int] = set()  # those whose task has been told of
        self._pressed: set[str] = set()
        self._artifacts: weakref.WeakKeyDictionary[Reference, Artifact] = weakref.WeakKeyDictionary()
        self._uploading: asyncio.Lock | None = None
        tree = {"balance": "", "sandbox": False, "sending": False, "cards": {}, "diff": None}
        super().__init__(form, rest, {**tree, "marks": {"a": "", "b": ""}}, client=client)
        self._doc.set("sandbox", value=self._base.mode == "sandbox")
        self._follow_form()
        self.reference = reference

    # ── what was made ──

    def _heavy(self) -> bool:
        return sum(clip.size or 0 for clip in self.takes) > LIGHT

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that were begun here, newest last."""
        return tuple(each.task for each in self._productions.values() if each.task.id)

    @property
    def takes(self) -> tuple[Clip, ...]:
        """What they made, newest last."""
        return tuple(clip for task in self.tasks for clip in task.clips)

    @property
    def jobs(self) -> dict[int, Task]:
        """The same tasks, by the numbers that the names of their takes begin with."""
        return {number: each.task for number, each in list(self._productions.items()) if each.task.id}

    @property
    def marks(self) -> dict[str, str]:
        """Which takes are marked: ``{"A": "1.1", "B": "2.1"}``, each where there is one."""
        return {side.upper(): take for side, take in self._doc["marks"].items() if take}

    def take(self, name: str) -> Clip:
        """Return a take by the name that it has in the page.

        Parameters
        ----------
        name : str
            Such as ``"2.1"``: of the second job, the first take.

        Returns
        -------
        Clip
            The take.

        Raises
        ------
        InvalidInput
            If there is none of this name.
        """
        return self._clip(name)

    @property
    def unsent(self) -> tuple[BeatraError, ...]:
        """Why requests that became no task did not, as far as anybody knows; oldest first."""
        found = (each.error for each in self._productions.values() if not each.task.id)
        return tuple(error for error in found if error is not None)

    @property
    def request(self) -> dict[str, Any]:
        """The body that *Create* would send, a reference that has still to be uploaded left out.

        Raises
        ------
        InvalidInput
            If nothing could be sent as it stands.
        """
        given = self._given()
        request = self._base._music(self._base._new_task(), given.pop("prompt"), given)
        return (self._reference.join(request) if self._reference is not None else request).body

    def create(self, *, wait: bool = True, timeout: float | None = None, **overrides: Any) -> Task:  # noqa: ANN401
        """Create music from what the form says, as the button does, and return the task.

        Parameters
        ----------
        wait : bool, default True
            Wait until it is over and its audio is here.
        timeout : float, optional
            Seconds to wait; by default as long as it takes.
        **overrides
            What shall differ from the form this once: ``prompt``, ``lyrics``, ``instrumental``, ``title``, ``model``,
            ``model_options``, ``reference``, ``metadata``.

        Returns
        -------
        Task
            The task, as ``bn.music`` returns it.

        Raises
        ------
        InvalidInput
            If it could not be sent; nothing was spent.
        TaskFailed
            If the task failed; the error says why, and what was refunded.
        Interrupted
            If the kernel is interrupted: the waiting stops, the task goes on.
        APIError, ConnectionFailed, Timeout
            If the service refuses or does not answer.
        """
        seconds = checked_timeout(timeout)
        if unknown := sorted(set(overrides) - _OVERRIDES):
            raise InvalidInput(
                f"create() does not know {', '.join(unknown)}.",
                hint=f"What may differ from the form: {', '.join(sorted(_OVERRIDES))}.",
            )
        given = self._given()
        reference = self._reference
        if "reference" in overrides:
            other = overrides.pop("reference")
            reference = None if other is None else Reference.of(other)
        production, future = self._start({**given, **overrides}, reference)
        try:
            work.wait(_until(production, future, wait, seconds))
        except (KeyboardInterrupt, concurrent.futures.CancelledError):  # the latter: the studio was closed
            raise interrupted_task(production.task) from None
        if (error := production.failure()) is not None:
            raise error
        return production.task

    def _start(
        self, given: dict[str, Any], reference: Reference | None
    ) -> tuple[Production, concurrent.futures.Future[None]]:
        """Begin a job; one that was asked the very same, and may have been begun, is gone on with instead."""
        with self._lock:
            self._check_open()
            for each in self._productions.values():
                if each.doubtful and not each.moving and each.given == given and each.reference is reference:
                    return each, self._drive(each)
            task = self._base._new_task(self._embed)
            options = {name: value for name, value in given.items() if name != "prompt"}
            request = self._base._music(task, given["prompt"], options)
            if reference is not None:
                request = reference.join(request)
            number = max(self._productions, default=0) + 1
            production = Production(
                number, task, request, given, reference, lambda card: self._tell_card(number, card)
            )
            self._productions[number] = production
            self._doc.set("cards", str(number), value=production.card())
            return production, self._drive(production)

    def _drive(self, production: Production) -> concurrent.futures.Future[None]:
        production.ready()
        self._doc.set("sending", value=True)
        return self._begin(self._go(production), f"take {production.number}")

    async def _go(self, production: Production) -> None:
        try:
            await production.run(self._twin, lambda: self._artifact(production))
        finally:
            self._follow_sending()
            self._settle()
        error = production.error
        if error is not None and production.phase == "refused":
            for field, words in studio_form.refused_fields(error).items():
                self._blame(field, words)
        await self._ask_balance()

    async def _artifact(self, production: Production) -> Artifact:
        """Upload the reference of a job, unless it has been: two jobs at once share one upload."""
        from beatra_nb.core.uploads import UploadRequest, upload

        self._uploading = self._uploading or asyncio.Lock()
        async with self._uploading:
            reference = production.reference
            if reference is not None and reference in self._artifacts and not self._base.journal_on:
                # As what the journal would know: should the service have forgotten it, it is sent anew.
                return replace(self._artifacts[reference], reused=True)
            asked = UploadRequest.of_reference(production.request)
            artifact = await self._twin._run(lambda context: upload(context, asked, production.sent))
            if reference is not None:
                self._artifacts[reference] = artifact
            return artifact

    def _tell_card(self, number: int, card: dict[str, Any]) -> None:
        with self._lock:
            known = self._doc["cards"].get(str(number))
            if known is None:
                return  # it was taken away
            for name, value in card.items():
                self._doc.set("cards", str(number), name, value=value)
            if card["sandbox"]:  # a sandbox under an address of its own is known by its first answer
                self._doc.set("sandbox", value=True)
            begun = card["phase"] == "running" and number not in self._running
            if begun:
                self._running.add(number)
        self._follow_sending()
        if begun:
            self._settle()

    def _follow_sending(self) -> None:
        busy = any(each.phase in ("uploading", "sending") for each in self._productions.values())
        self._doc.set("sending", value=busy)

    # ── what the page asks ──

    def ask_create(self, press: str) -> None:
        """Begin a job; one press is one job, however often it is told."""
        with self._lock:
            if not isinstance(press, str) or press in self._pressed or self._doc["sending"]:
                return
            if self._arrival is not None:
                raise InvalidInput("The reference is still on its way.", hint="Press Create when it is here.")
            sandbox = self._sandbox_options
            missing = studio_form.problems(self._doc["form"], sandbox=sandbox, whole=True)
            if missing:
                self._doc.set("problems", value={**self._doc["problems"], **missing})
                raise InvalidInput(next(iter(missing.values())))
            self._start(self._given(), self._reference)
            self._pressed.add(press)

    def ask_cancel(self, card: int) -> None:
        """Cancel a job."""
        production = self._production(card)
        production.cancel()
        if not production.moving and production.task.id and not production.task.done:
            self._drive(production)

    def ask_again(self, card: int) -> None:
        """Go on with a job that got stuck, under its own key; or send anew what was refused for the moment."""
        production = self._production(card)
        with self._lock:
            if not production.moving and production.error is not None:
                self._drive(production)

    def ask_dismiss(self, card: int) -> None:
        """Take a job's card away; a job that goes on at the service is not stopped by it."""
        production = self._production(card)
        if production.moving:
            raise InvalidInput("This job is under way.", hint="Cancel it first.")
        with self._lock:
            marks = self._doc["marks"]
            for side in ("a", "b"):
                if marks[side].split(".")[0] == str(card):
                    self._doc.set("marks", side, value="")
            del self._productions[card]
            self._doc.drop("cards", str(card))
        self._compare()
        self._settle()

    def ask_use(self, card: int) -> None:
        """Fill in the form with what a job was asked with."""
        production = self._production(card)
        given = production.given
        fields, rest = studio_form.split_options(given["model_options"])
        values = {name: given[name] or "" for name in studio_form.TEXTS}
        if given["instrumental"] and not given["lyrics"]:
            values.pop("lyrics")  # they were not asked with: what stands there stays
        self._rest = rest
        self._doc.set("form", "options", value=fields)
        self._fill({**values, "model": given["model"], "instrumental": given["instrumental"]})
        if self._reference is not production.reference:
            self._follow_reference(production.reference)

    def ask_mark(self, take: str, side: str) -> None:
        """Mark a take as A or B, or unmark it."""
        self._clip(take)
        if side not in ("a", "b"):
            raise InvalidInput("A take is marked as A or as B.")
        with self._lock:
            marks = self._doc["marks"]
            other = "b" if side == "a" else "a"
            self._doc.set("marks", side, value="" if marks[side] == take else take)
            if marks[other] == take:
                self._doc.set("marks", other, value="")
        self._compare()
        self._settle()

    def ask_audio(self, take: str, to: str) -> None:
        """Send the bytes of a take, or of the reference, to one page."""
        if take == "reference":
            if self._reference is None or self._reference.source is None:
                raise InvalidInput("There is no reference that could be played.")
            data, kind = self._reference.audio(), self._reference.source.media_type
        else:
            clip = self._clip(take)
            data, kind = clip.data or b"", clip.media_type
        if not data:
            raise InvalidInput("The audio is not here yet.", hint="Fetch it first.")
        page = self._page
        if page is not None and isinstance(to, str):
            page.answer({"audio": take, "to": to, "kind": kind}, [data])

    async def ask_fetch(self, take: str) -> None:
        """Fetch the audio of a take that could not be fetched before."""
        from beatra_nb.core import jobs

        clip = self._clip(take)
        await self._twin._run(lambda context: jobs.fetch(context, clip, jobs.Nobody()))
        await asyncio.to_thread(self._production(int(take.partition(".")[0])).redraw)
        self._settle()

    async def ask_save(self, take: str) -> str:
        """Write a take to a file beside the notebook, and return its name."""
        clip = self._clip(take)
        if clip.data is None:
            raise InvalidInput("The audio is not here yet.", hint="Fetch it first.")
        path = await asyncio.to_thread(clip.save)
        await asyncio.to_thread(self._production(int(take.partition(".")[0])).redraw)
        return short_path(path)

    def _production(self, number: object) -> Production:
        found = self._productions.get(number) if isinstance(number, int) else None
        if found is None:
            raise InvalidInput("There is no such job in this studio.")
        return found

    def _clip(self, take: object) -> Clip:
        number, _, index = take.partition(".") if isinstance(take, str) else ("", "", "")
        if number.isdecimal() and index.isdecimal():
            for clip in self._production(int(number)).task.clips:
                if clip.index == int(index):
                    return clip
        raise InvalidInput("There is no such take in this studio.")

    def _compare(self) -> None:
        marks = self._doc["marks"]
        told = None
        if marks["a"] and marks["b"]:
            clips = self._clip(marks["a"]), self._clip(marks["b"])
            one, other = (self._production(int(marks[side].split(".")[0])) for side in ("a", "b"))
            told = difference(one, other, clips)
        self._doc.set("diff", value=told)

    # ── coming and going ──

    def _shown(self) -> None:
        self._begin(self._look_around(), "models")

    async def _look_around(self) -> None:
        models, _ = await asyncio.to_thread(known_models, self._base, LIMIT)
        self._doc.set("models", value=studio_form.music_models(models))
        if models is not None and models.sandbox:
            self._doc.set("sandbox", value=True)
        await self._ask_balance()

    async def _ask_balance(self) -> None:
        """Say what is left, where that can be known: the API does not tell it, the sandbox of this process does."""
        box = running_sandbox() if self._base.mode == "sandbox" else None
        if box is not None:
            with contextlib.suppress(BeatraError):
                self._doc.set("balance", value=credits_of(await asyncio.to_thread(lambda: box.balance)))

    def __repr__(self) -> str:
        count = len(self.tasks)
        return f"MusicStudio(model={self.model!r}, {count} {'task' if count == 1 else 'tasks'})"


async def _until(
    production: Production, future: concurrent.futures.Future[None], wait: bool, seconds: float | None
) -> None:
    """Wait for a job's beginning or its end; the job itself goes on, however the waiting ends."""
    whole = asyncio.shield(asyncio.wrap_future(future))
    if wait:
        try:
            await asyncio.wait_for(whole, seconds)
        except TimeoutError:
            raise TaskTimeout(
                f"The task was not over after {seconds:g} s; it goes on in the studio.",
                task=production.task,
                hint="studio.tasks holds it; its .wait() waits for its end.",
                idempotency_key=production.task.idempotency_key,
            ) from None
        return
    await asyncio.to_thread(production.begun.wait)
