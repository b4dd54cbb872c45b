"""``bn.Compare``: one prompt, several models or settings side by side, answered at once.

In blind mode the page is not told who is who until it is revealed: neither names nor settings nor times are in the
document, so that nobody finds them in the page's own state. The answers stand in a shuffled order, under letters.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import BeatraError, Interrupted, InvalidInput
from beatra_nb.core.request import ChatRequest
from beatra_nb.display.clean import Cleaner, one_line, visible
from beatra_nb.display.watching import look_around, surface
from beatra_nb.interact import work
from beatra_nb.interact.choices import chat_models
from beatra_nb.interact.columns import column_of
from beatra_nb.interact.lanes import MOST, Lane, labels_of, lanes_of
from beatra_nb.interact.panel import Panel
from beatra_nb.interact.rounds import LETTERS, Outcome, Round, again

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas

    from beatra_nb.core.client import Client
    from beatra_nb.core.reply import Reply

_LONGEST = 100_000  # characters of a prompt that the page may send


class Compare(Panel):
    """Ask several models, or one with several settings, the same thing, and see the answers side by side.

    Parameters
    ----------
    prompt : str, optional
        What to ask; it can be written in the page as well.
    models : list of str, optional
        The models to compare.
    variants : dict or list of dict, optional
        Settings to compare, by name: ``{"cold": {"temperature": 0}, "warm": {"temperature": 1.2}}``. Each may hold
        ``model``, ``system``, ``temperature`` and whatever else ``bn.chat`` takes; in a list, also ``label``.
        Without models and variants, ``"auto"`` is asked with temperature 0 and 1.
    system : str, optional
        The system text of all lanes.
    client : Client, optional
        Who sends; the default client if left out.
    blind : bool, default False
        Hide who is who until it is revealed: for classes that vote.
    run : bool, default False
        Ask at once.
    **options
        What ``bn.chat`` takes, for all lanes; what a lane says itself goes before it.

    Raises
    ------
    InvalidInput
        If something could not be sent; nothing was.

    Examples
    --------
    >>> compare = bn.Compare("Name a colour.", models=["auto", "another-model"])  # doctest: +SKIP
    >>> compare.run().results  # doctest: +SKIP
    """

    modules = ("pen.js", "compare.js")
    styles = ("compare.css",)

    def __init__(
        self,
        prompt: str = "",
        models: Sequence[str] | None = None,
        *,
        variants: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]] | None = None,
        system: str | None = None,
        client: Client | None = None,
        blind: bool = False,
        run: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> None:
        if "idempotency_key" in options:
            raise InvalidInput(
                "A comparison makes several calls, and one idempotency_key is one call.",
                hint="Leave it out: each lane's call gets a key of its own.",
            )
        model = options.pop("model", "auto")
        self._options = options
        Lane(model=model).request("a prompt", None, options)
        self._lanes = {_key(): lane for lane in lanes_of(models, variants, model)}
        for lane in self._lanes.values():
            lane.request("a prompt", _text("system", system or ""), options)
        self._rounds: list[Round] = []
        self._columns: list[tuple[str, str]] = []  # of the page: its key, and the key of the lane behind it
        self._outcomes: dict[str, Outcome] = {}  # in view, by the key of their lane
        # Of the answers, by the key of their column: done when all of an answer has been told.
        self._ends: dict[str, concurrent.futures.Future[None]] = {}
        self._models: list[str] = ["auto"]
        self._hidden = False
        tree = {
            "prompt": _text("prompt", prompt),
            "system": _text("system", system or ""),
            "sandbox": False,
            "models": [],
            "blind": False,
            "hidden": False,
            "running": False,
            "round": 0,
            "asked": None,
            "score": [],
            "lanes": [],
            "most": MOST,
        }
        super().__init__(tree, client=client)
        self._doc.set("sandbox", value=self._base.mode == "sandbox")
        self._arrange(blind=_flag("blind", blind))
        if _flag("run", run):
            self._start() if surface(look_around()) == "page" else self.run()

    # ── what is asked ──

    @property
    def prompt(self) -> str:
        """What is asked of all lanes."""
        return str(self._doc["prompt"])

    @prompt.setter
    def prompt(self, text: str) -> None:
        self._doc.set("prompt", value=_text("prompt", text))
        self._settle()

    @property
    def system(self) -> str:
        """The system text of all lanes; empty for none."""
        return str(self._doc["system"])

    @system.setter
    def system(self, text: str | None) -> None:
        self._doc.set("system", value=_text("system", text or ""))
        self._settle()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """What is compared, in the order it was given."""
        return tuple(self._lanes.values())

    @property
    def blind(self) -> bool:
        """Whether who is who is hidden until it is revealed. Set it to change it."""
        return bool(self._doc["blind"])

    @blind.setter
    def blind(self, on: bool) -> None:
        with self._lock:
            self._idle("change to or from blind")
            if _flag("blind", on) != self.blind:
                self._uncover()
                self._arrange(blind=on)
                self._settle()

    def add(
        self,
        model: str = "auto",
        *,
        label: str = "",
        temperature: float | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Compare:
        """Add a lane, and return the comparison.

        Parameters
        ----------
        model : str, default "auto"
            The model to ask.
        label : str, optional
            What to call it.
        temperature : float, optional
            From 0 to 2.
        **options
            What ``bn.chat`` takes, for this lane alone.
        """
        lane = Lane(label, model, temperature, options)
        lane.request("a prompt", None, self._options)
        with self._lock:
            self._idle("add a lane")
            self._no_secret("added")
            if len(self._lanes) >= MOST:
                raise InvalidInput(f"A comparison has at most {MOST} lanes.", hint="Remove one first.")
            key = _key()
            self._lanes[key] = lane
            self._set_out([*self._columns, (_key() if self.blind else key, key)])
        self._settle()
        return self

    def remove(self, which: str | int) -> Compare:
        """Remove a lane by its label or its number from 1, as they are shown, and return the comparison."""
        with self._lock:
            self._remove(self._lane_key(which))
        return self

    # ── asking ──

    def run(self, prompt: str | None = None) -> Compare:
        """Ask all lanes, wait for their answers, and return the comparison.

        What goes wrong in a lane stands in ``results`` and in the lane; the others go on.

        Parameters
        ----------
        prompt : str, optional
            What to ask; the prompt as it stands if left out.

        Raises
        ------
        InvalidInput
            If a lane could not be sent; none was.
        Interrupted
            When the kernel was interrupted; what had come stands in ``results``, marked as cut short.
        """
        if prompt is not None:
            self.prompt = prompt
        self._wait(self._start())
        return self

    def retry(self, which: str | int) -> Compare:
        """Ask one lane of the last round again, wait for it, and return the comparison.

        Where the service may have finished the call, it is the same call under the same key, and is not paid twice.

        Parameters
        ----------
        which : str or int
            Its label, its letter in a blind round, or its number from 1.
        """
        with self._lock:
            end = self._again(self._place(which))
        self._wait([end])
        return self

    def stop(self, which: str | int | None = None) -> bool:
        """Stop one lane, or all; return whether any was under way. What had come stays, marked as cut short.

        When it returns the lanes have ended, and may be asked again.
        """
        with self._lock:
            name = None if which is None else self._columns[self._place(which)][0]
            names = [key for key, _ in self._columns] if name is None else [name]
            stopped = [self._stop(each) for each in names].count(True) > 0
            ends = [self._ends[each] for each in names if each in self._ends]
        with suppress(
            InvalidInput
        ):  # from a callback on the loop itself, which cannot wait: it ends right after
            work.wait(_all(ends))
        return stopped

    @property
    def running(self) -> bool:
        """Whether an answer is under way."""
        return bool(self._rounds) and not all(each.over for each in self._rounds[-1].outcomes)

    # ── what came of it ──

    @property
    def replies(self) -> list[Reply | None]:
        """The answers of the last round, in the order they are shown; None where none came."""
        return [each.reply for each in self._rounds[-1].shown().outcomes] if self._rounds else []

    @property
    def results(self) -> pandas.DataFrame:
        """The last round as a DataFrame, a row for each lane; what blind mode hides is missing.

        Raises
        ------
        ConfigurationError
            If pandas is not installed.
        """
        return (self._rounds[-1] if self._rounds else Round(0, "", False, [])).to_frame()

    @property
    def history(self) -> tuple[Round, ...]:
        """All rounds, the oldest first; each has ``prompt``, ``outcomes`` and ``to_frame()``."""
        return tuple(each.shown() for each in self._rounds)

    @property
    def votes(self) -> dict[str, int]:
        """The votes of all rounds by label; while a round is hidden, of that round alone by letter."""
        if self._hidden:
            return {self._letter(at): each.votes for at, each in enumerate(self._now())}
        return {str(each["label"]): int(each["votes"]) for each in self._tally()}

    def vote(self, which: str | int, count: int = 1) -> Compare:
        """Vote for an answer of the last round, and return the comparison.

        Parameters
        ----------
        which : str or int
            Its letter in a blind round, its label, or its number from 1 as it is shown.
        count : int, default 1
            How many voted for it.
        """
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InvalidInput(f"count must be a whole number of at least 1, not {count!r:.40}.")
        with self._lock:
            self._idle("vote")
            self._vote(self._place(which), count)
        return self

    def reveal(self) -> Compare:
        """Show who is who, in this round and in those before it, and return the comparison."""
        with self._lock:
            self._idle("reveal")
            self._uncover()
        self._settle()
        return self

    @property
    def picture(self) -> dict[str, Any]:
        """What a page may know now, as plain values: in blind mode nothing that tells who is who."""
        tree: dict[str, Any] = self._doc.snapshot()["tree"]
        return tree

    def __repr__(self) -> str:
        lanes = "lane" if len(self._lanes) == 1 else "lanes"
        return (
            f"Compare({one_line(self.prompt, 60)!r}, {len(self._lanes)} {lanes}, round {len(self._rounds)})"
        )

    # ── what the page asks ──

    def ask_edit(self, prompt: str | None = None, system: str | None = None) -> None:
        """Take what was written."""
        if prompt is not None:
            self.prompt = prompt
        if system is not None:
            self.system = system

    def ask_run(self, prompt: str | None = None, system: str | None = None) -> None:
        """Ask all lanes; with what was written in the page and not told yet, if anything was."""
        self.ask_edit(prompt, system)
        self._start()

    def ask_retry(self, lane: str) -> None:
        """Ask one lane again."""
        self._again(self._at(lane))

    def ask_stop(self, lane: str | None = None) -> bool:
        """Stop one lane, or all; it may come on a thread that must not wait."""
        with self._lock:
            names = [key for key, _ in self._columns] if lane is None else [lane]
        return [self._stop(each) for each in names].count(True) > 0

    def ask_lane(self, lane: str, label: str, model: str, temperature: float | None) -> None:
        """Take a lane's settings."""
        with self._lock:
            self._idle("change a lane")
            key = self._columns[self._at(lane)][1]
            made = self._lanes[key].having(name=label, model=model, temperature=temperature)
            made.request("a prompt", None, self._options)
            self._lanes[key] = made
            for each in range(len(self._columns)):
                self._tell(each)  # the others' labels may have to tell them apart
        self._settle()

    def ask_add(self) -> None:
        """Add a lane."""
        self.add()

    def ask_remove(self, lane: str) -> None:
        """Remove a lane."""
        with self._lock:
            self._remove(self._columns[self._at(lane)][1])

    def ask_blind(self, on: bool) -> None:
        """Hide who is who, or do not."""
        self.blind = on

    def ask_vote(self, lane: str) -> None:
        """Vote for an answer."""
        with self._lock:
            self._idle("vote")
            self._vote(self._at(lane), 1)

    def ask_reveal(self) -> None:
        """Show who is who."""
        self.reveal()

    # ── inside ──

    def _shown(self) -> None:
        self._begin(self._fetch_models(), "models")

    async def _fetch_models(self) -> None:
        self._models = await chat_models(self._twin)
        with self._lock:
            if not self._hidden:
                self._doc.set("models", value=self._models)

    def _wait(self, ends: Sequence[concurrent.futures.Future[None]]) -> None:
        """Wait for answers; an interrupt stops them, and is told when they have ended."""
        try:
            work.wait(_all(ends))
        except KeyboardInterrupt:
            self.stop()
            raise Interrupted(
                "Interrupted during a comparison.",
                hint="compare.results has what had come; compare.retry(label) asks a lane again.",
            ) from None

    def _start(self) -> list[concurrent.futures.Future[None]]:
        with self._lock:
            self._check_open()
            self._idle("ask again")
            # All are checked before the first is sent.
            calls = {
                key: lane.request(self.prompt, self.system or None, self._options)
                for key, lane in self._lanes.items()
            }
            labels = dict(zip(self._lanes, labels_of(self.lanes), strict=True))
            self._outcomes = {key: Outcome(labels[key], lane) for key, lane in self._lanes.items()}
            blind = self.blind
            self._arrange(blind=blind)
            order = [key for _, key in self._columns]
            outcomes = [self._outcomes[key] for key in order]
            made = Round(len(self._rounds) + 1, self.prompt, blind, outcomes, system=self.system)
            made.revealed, made.requests = not blind, [calls[key] for key in order]
            self._rounds.append(made)
            self._doc.set("round", value=made.number)
            self._doc.set("asked", value={"prompt": made.prompt, "system": made.system})
            self._doc.set("running", value=True)
            return [self._ask(each, at, made.requests[at]) for at, each in enumerate(made.outcomes)]

    def _again(self, at: int) -> concurrent.futures.Future[None]:
        with self._lock:
            self._check_open()
            round_, nth = self._round(), self._nth(at)
            before = round_.outcomes[nth]
            if not before.over:
                raise InvalidInput("This lane is still being answered.", hint="Stop it first.")
            round_.requests[nth] = again(round_.requests[nth], before)
            fresh = Outcome(before.label, before.lane, votes=before.votes)
            round_.outcomes[nth] = self._outcomes[self._columns[at][1]] = fresh
            self._tell(at, text="")
            self._doc.set("running", value=True)
            return self._ask(fresh, at, round_.requests[nth])

    def _ask(self, outcome: Outcome, at: int, request: ChatRequest) -> concurrent.futures.Future[None]:
        """Begin an answer; what is returned is done when all of it has been told, however it ended."""
        end: concurrent.futures.Future[None] = concurrent.futures.Future()
        key = self._columns[at][0]
        self._ends[key] = end
        future = self._begin(self._answer(outcome, at, request, end), key)

        def check(done: object) -> None:
            # One that was stopped before its first step has no other chance to say so.
            work.loop().call_soon_threadsafe(
                lambda: None if end.running() or end.done() else self._over(outcome, at, "stopped", end)
            )

        future.add_done_callback(check)
        return end

    async def _answer(
        self, outcome: Outcome, at: int, request: ChatRequest, end: concurrent.futures.Future[None]
    ) -> None:
        end.set_running_or_notify_cancel()
        cleaner, state, stream = Cleaner(), "failed", None
        try:
            stream = self._twin._stream(request)  # starts the sandbox if need be
            began = time.monotonic()
            async with stream:
                async for piece in stream:
                    if outcome.first is None:
                        outcome.first, outcome.state = time.monotonic() - began, "writing"
                        self._tell(at)
                    self._doc.grow("lanes", at, "text", text=cleaner.clean(piece))
            state = "done"
        except asyncio.CancelledError:
            state = "stopped"
            raise
        except BeatraError as error:
            outcome.error = error.with_traceback(None)
        except Exception as error:  # a defect must not leave the lane waiting for ever
            outcome.error = BeatraError(f"{type(error).__name__}: {one_line(error, 400)}")
        finally:
            reply = None if stream is None else stream.reply
            if reply is not None and (reply.complete or reply.text):
                outcome.reply = reply
            self._over(outcome, at, state, end)

    def _over(self, outcome: Outcome, at: int, state: str, end: concurrent.futures.Future[None]) -> None:
        with self._lock:
            outcome.state = state
            if outcome.reply is not None and outcome.reply.sandbox:
                self._doc.set("sandbox", value=True)
            if at < len(self._columns) and self._outcomes.get(self._columns[at][1]) is outcome:
                self._tell(at)
            self._doc.set("running", value=self.running)
        self._settle()
        end.set_result(None)

    def _arrange(self, *, blind: bool) -> None:
        """Set the columns out: in the order of the lanes, or, blind, anew in an order that tells nothing."""
        keys = list(self._lanes)
        if blind:
            random.SystemRandom().shuffle(keys)
            if not self._hidden and not self.running:
                # What was seen open is not shown blind.
                self._outcomes = {key: each for key, each in self._outcomes.items() if not each.over}
                self._doc.set("asked", value=None)
        self._hidden = blind
        self._ends = {}
        self._doc.set("blind", value=blind)
        self._doc.set("hidden", value=blind)
        self._doc.set("models", value=[] if blind else self._models)
        self._set_out([(_key() if blind else key, key) for key in keys])

    def _set_out(self, columns: list[tuple[str, str]]) -> None:
        self._columns = columns
        self._doc.set("score", value=[] if self._hidden else self._tally())
        self._doc.set("lanes", value=[self._column(at, text=True) for at in range(len(columns))])

    def _uncover(self) -> None:
        for each in self._rounds:
            each.revealed = True
        self._hidden = False
        self._doc.set("hidden", value=False)
        self._doc.set("models", value=self._models)
        self._doc.set("score", value=self._tally())
        for at in range(len(self._columns)):
            self._tell(at)

    def _tell(self, at: int, text: str | None = None) -> None:
        """Tell the page how a column stands; its text is told as it grows."""
        with self._lock:
            for name, value in self._column(at).items():
                self._doc.set("lanes", at, name, value=value)
            if text is not None:
                self._doc.set("lanes", at, "text", value=text)

    def _column(self, at: int, *, text: bool = False) -> dict[str, Any]:
        """Return a column as the page may know it."""
        key, of = self._columns[at]
        outcome, label = self._outcomes.get(of), labels_of(self.lanes)[list(self._lanes).index(of)]
        column = column_of(self._lanes[of], label, outcome, hidden=self._hidden)
        column["key"] = key
        column["letter"] = self._letter(at)
        if text:
            column["text"] = "" if outcome is None or outcome.reply is None else visible(outcome.reply.text)
        return column

    def _letter(self, at: int) -> str:
        """Return the letter of a column: that of its answer, whatever came or went since."""
        outcome, round_ = self._outcomes.get(self._columns[at][1]), self._rounds[-1] if self._rounds else None
        if outcome is not None and round_ is not None and round_.blind and self.blind:
            for nth, each in enumerate(round_.outcomes):
                if each is outcome:
                    return round_.letter(nth)
        return LETTERS[at] if self._hidden else ""

    def _no_secret(self, done: str) -> None:
        """Refuse what would show, by which answer it moves, who is who."""
        if self._hidden and self._outcomes:
            raise InvalidInput(
                f"A lane cannot be {done} while a blind round is hidden: that would tell who is who.",
                hint="compare.reveal() first.",
            )

    def _remove(self, key: str) -> None:
        self._idle("remove a lane")
        self._no_secret("removed")
        if len(self._lanes) == 1:
            raise InvalidInput("The last lane stays.", hint="Change it, or add another one first.")
        del self._lanes[key]
        self._outcomes.pop(key, None)
        self._set_out([column for column in self._columns if column[1] != key])
        self._settle()

    def _tally(self) -> list[dict[str, Any]]:
        """Return the votes of all rounds, most first; none before somebody has voted."""
        votes = dict.fromkeys(labels_of(self.lanes), 0)
        for round_ in self._rounds:
            for each in round_.outcomes:
                votes[each.label] = votes.get(each.label, 0) + each.votes
        if not any(votes.values()):
            return []
        return [{"label": label, "votes": votes[label]} for label in sorted(votes, key=lambda of: -votes[of])]

    def _now(self) -> list[Outcome]:
        return [self._outcomes.get(key) or Outcome("", None) for _, key in self._columns]

    def _round(self) -> Round:
        if not self._rounds:
            raise InvalidInput(
                "Nothing has been asked yet.", hint="compare.run() asks, or the button in the page."
            )
        return self._rounds[-1]

    def _place(self, which: object) -> int:
        """Return the position of the column that shows an answer of the last round."""
        outcome = self._round().outcomes[self._round().find(which)]
        for at, (_, of) in enumerate(self._columns):
            if self._outcomes.get(of) is outcome:
                return at
        raise InvalidInput(
            "This answer is not shown any more: its lane was removed, or the round put away.",
            hint="compare.results still has it.",
        )

    def _nth(self, at: int) -> int:
        """Return the position in the last round of what a column shows."""
        outcome = self._outcomes.get(self._columns[at][1])
        for nth, each in enumerate(self._round().outcomes):
            if each is outcome:
                return nth
        raise InvalidInput("This lane has not been asked in the last round.", hint="Run a new one.")

    def _vote(self, at: int, count: int) -> None:
        round_, nth = self._round(), self._nth(at)
        if round_.blind and round_.revealed:
            raise InvalidInput("This round has been revealed.", hint="Run another one to vote again.")
        round_.outcomes[nth].votes += count
        self._doc.set("lanes", at, "votes", value=round_.outcomes[nth].votes)
        if not self._hidden:
            self._doc.set("score", value=self._tally())
        self._settle()

    def _at(self, column: object) -> int:
        """Return the position of a column by its key in the page."""
        for at, (key, _) in enumerate(self._columns):
            if key == column:
                return at
        raise InvalidInput("This lane is not there any more.")

    def _lane_key(self, which: object) -> str:
        # By number as they are shown, unless what is shown stands in an order that tells nothing.
        named = dict(zip(self._lanes, labels_of(self.lanes), strict=True))
        keys = list(self._lanes) if self._hidden else [key for _, key in self._columns]
        labels = [named[key] for key in keys]
        if isinstance(which, int) and not isinstance(which, bool) and 1 <= which <= len(keys):
            return keys[which - 1]
        if isinstance(which, str) and which in labels:
            return keys[labels.index(which)]
        raise InvalidInput(f"There is no lane {which!r:.60}.", hint=f"There are: {', '.join(labels)}.")

    def _idle(self, what: str) -> None:
        if self.running:
            raise InvalidInput(
                f"Answers are under way: wait for them, or stop them, to {what}.",
                hint="compare.stop() stops them.",
            )


async def _all(ends: Sequence[concurrent.futures.Future[None]]) -> None:
    """Wait for the ends of answers; not to wait any more leaves them as they are."""
    if ends:
        await asyncio.wait([asyncio.wrap_future(end) for end in ends])


def _key() -> str:
    return uuid.uuid4().hex[:12]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text, not {type(value).__name__}.")
    if len(value) > _LONGEST:
        raise InvalidInput(f"{name} has {len(value):,} characters; {_LONGEST:,} are the most.")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} must be True or False, not {value!r:.40}.")
    return value
