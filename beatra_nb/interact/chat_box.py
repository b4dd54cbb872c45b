"""``ChatBox``: a conversation in a cell, driven by hand and by code at once.

The box holds no conversation of its own. It is bound to a ``Chat``, listens to it, and talks by it, so that a turn is
recorded by the Chat's own rules: when it is whole, and under the same key when the same words are sent again. What is
being answered, was stopped or has failed stands beside the turns, in ``live``, and is marked as not recorded.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from beatra_nb.core import seams
from beatra_nb.core.conversation import Chat, Turn, end_unknown
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.reply import Reply
from beatra_nb.core.streams import interrupted
from beatra_nb.display.clean import Cleaner, one_line, visible
from beatra_nb.interact import choices, work
from beatra_nb.interact.chat_given import check_given, model_id, new_chat, words
from beatra_nb.interact.chat_hearing import Kept, follow
from beatra_nb.interact.chat_turns import branch_name, told
from beatra_nb.interact.panel import Panel
from beatra_nb.interact.trouble import trouble

if TYPE_CHECKING:
    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.client import Client

_BUSY = "This conversation is still waiting for an answer."
_MANY = 50  # turns that differ, from which on the whole list is told anew
_SAFE = "Yes: it is sent under the same key, so that nothing is paid twice."


class ChatBox(Panel):
    """Chat in a cell: type, read the answer as it comes, stop, edit, fork; or drive the same conversation by code.

    Parameters
    ----------
    chat : Chat, optional
        The conversation; a new one is made if left out.
    system : str, optional
        How the model shall behave, for a new conversation.
    model : str, default "auto"
        Which model answers, for a new conversation.
    client : Client, optional
        Who sends in a new conversation; one that is given sends by its own client, or by the default one.
    title : str, optional
        What stands above it; else the conversation's title.
    **defaults
        What every turn of a new conversation is sent with (``temperature``, ``max_tokens``, …).

    Raises
    ------
    InvalidInput
        For what cannot be sent; nothing is sent before somebody says something.

    Examples
    --------
    >>> box = bn.ChatBox(system="You answer in one short sentence.")  # doctest: +SKIP
    >>> box  # doctest: +SKIP
    >>> box.send("What is a notebook?")  # doctest: +SKIP
    >>> box.chat.turns[-1].reply.text  # doctest: +SKIP
    """

    modules: ClassVar[tuple[str, ...]] = ("pen.js", "chat_box.js")
    styles: ClassVar[tuple[str, ...]] = ("chat_box.css",)

    def __init__(
        self,
        chat: Chat | None = None,
        *,
        system: str | None = None,
        model: str = "auto",
        client: Client | None = None,
        title: str | None = None,
        **defaults: Any,  # noqa: ANN401
    ) -> None:
        if title is not None and not isinstance(title, str):
            raise InvalidInput(f"title must be text, not {type(title).__name__}.")
        if chat is None:
            chat = new_chat(system, model, client, title, defaults)
        else:
            check_given(chat, system, model, client, defaults)
        self._branches = [chat]
        self._chat = chat
        self._title = title
        self._shown_turns: list[tuple[int, Turn]] = []
        self._number = 0  # of the last turn, whole or not, that a page was told of
        self._mine = 0  # the number of the turn that this box has under way; 0 for none
        self._inside = False  # whether the box holds the conversation, perhaps to let go of it in a moment
        self._retry: tuple[str, str, int | None] | None = None  # how, the words, and which turn
        self._one: asyncio.Lock = asyncio.Lock()
        self._kept: Kept | None = None  # the answer that this box asked for last
        self._sandboxes: weakref.WeakSet[Client] = weakref.WeakSet()  # those whose answers said so
        self._unwatch: Callable[[], object] = lambda: None
        super().__init__(
            {
                "title": one_line(title or chat.title or "Chat", 200),
                "turns": [],
                "live": None,
                "branches": [],
                "branch": 0,
                "system": chat.system or "",
                "model": one_line(chat.model, 120),
                "models": ["auto"],
            },
            client=chat._client,
        )
        # Who sends for the conversations that have no client: always the same, whatever bn.connect() is told later.
        self._default = None if chat._client is not None else self._base
        self._bind(chat)

    # ── looking ──

    @property
    def chat(self) -> Chat:
        """The conversation that is shown and talked in; set it to go on in another one."""
        return self._chat

    @chat.setter
    def chat(self, chat: Chat) -> None:
        check_given(chat)
        self._go_to(chat)

    @property
    def forks(self) -> tuple[Chat, ...]:
        """Every branch of the box, the first conversation at the head."""
        return tuple(self._branches)

    @property
    def attempt(self) -> dict[str, Any] | None:
        """What was said and is not part of the conversation, with what became of it; None where all is recorded.

        A dict of ``you`` (the words), ``text`` (what had come), ``state`` (``"asking"``, ``"stopped"``, ``"failed"``)
        and, after a failure, ``trouble``.
        """
        live = self._doc["live"]
        return None if live is None else dict(live)

    @property
    def title(self) -> str:
        """What stands above the conversation."""
        return self._title or self._chat.title or "Chat"

    @property
    def model(self) -> str:
        """Which model is asked from the next turn on."""
        return self._chat.model

    @model.setter
    def model(self, model: str) -> None:
        self.ask_model(model)

    @property
    def system(self) -> str | None:
        """How the model shall behave from the next turn on."""
        return self._chat.system

    @system.setter
    def system(self, text: str | None) -> None:
        if text is not None and not isinstance(text, str):
            raise InvalidInput(f"system must be text or None, not {type(text).__name__}.")
        self.ask_system(text or "")

    def __repr__(self) -> str:
        count = len(self._chat)
        return f"ChatBox({self.title!r}, {count} {'turn' if count == 1 else 'turns'}, model={self.model!r})"

    # ── talking ──

    def send(self, text: str) -> Reply:
        """Say something in the conversation, as if it had been typed, and return the answer.

        Raises
        ------
        Interrupted
            When it was stopped, in the box or by interrupting the kernel; what had arrived is in its ``reply``.
        BeatraError
            What ``Chat.send`` raises; the conversation stays as it was.
        """
        future, number = self._say("send", words(text), None)
        try:
            return work.wait(_result(future))
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            self._leave(number, "stopped")
        reply = self._partial(number)
        raise interrupted(reply, reply.idempotency_key or None)

    def stop(self) -> bool:
        """Stop the answer that this box is waiting for; return whether there was one."""
        with self._lock:
            if not self._mine:
                return False
            # Told at once; the work behind it ends a moment later, and the next turn waits for that.
            self._leave(self._mine, "stopped")
            return self._stop("answer")

    def fork(self, turn: int | None = None) -> Chat:
        """Begin a branch that shares the turns so far, go on in it, and return it.

        Parameters
        ----------
        turn : int, optional
            The last turn to share, by its position in ``chat.turns``; all of them if left out.
        """
        made = self._chat.fork(turn)
        self._go_to(made)
        return made

    # ── what a page asks ──

    def ask_send(self, text: str) -> None:
        """Say something."""
        self._say("send", words(text), None)

    def ask_edit(self, turn: int, text: str) -> None:
        """Say a turn differently, and go on from there."""
        at = self._place(turn)
        before = self._chat.turns[at].prompt
        # What was not changed is sent as it was, with what a page shows as a mark.
        self._say("edit", before if text == visible(before) else words(text), at)

    def ask_regenerate(self) -> None:
        """Ask for another answer to the last turn."""
        if not self._chat.turns:
            raise InvalidInput("There is no answer yet.", hint="Say something first.")
        self._say("regenerate", self._chat.turns[-1].prompt, len(self._chat) - 1)

    def ask_retry(self) -> None:
        """Try again what was stopped or has failed."""
        if self._retry is None:
            raise InvalidInput("There is nothing to try again.")
        how, text, at = self._retry
        if at is not None and at >= len(self._chat):
            how, at = "send", None  # the turn that was to be replaced is gone
        self._say(how, text, at)

    def ask_dismiss(self) -> None:
        """Take away what was stopped or has failed."""
        with self._lock:
            live = self._doc["live"]
            if live is not None and live["state"] != "asking":
                self._retry = None
                self._doc.set("live", value=None)

    def ask_stop(self) -> bool:
        """Stop the answer."""
        return self.stop()

    def ask_fork(self, turn: int) -> None:
        """Go on in a branch that ends with a turn."""
        self.fork(self._place(turn))

    def ask_switch(self, branch: int) -> None:
        """Go on in another branch."""
        if type(branch) is not int or not 0 <= branch < len(self._branches):
            raise InvalidInput("There is no such branch.")
        self._go_to(self._branches[branch])

    def ask_system(self, text: str) -> None:
        """Set how the model shall behave, from the next turn on."""
        if not isinstance(text, str):
            raise InvalidInput("The system text must be text.")
        self._chat.system = text if text.strip() else None

    def ask_model(self, name: str) -> None:
        """Choose the model, from the next turn on."""
        self._chat.model = model_id(name)

    # ── how a turn is made ──

    def _say(self, how: str, text: str, at: int | None) -> tuple[concurrent.futures.Future[Reply], int]:
        with self._lock:
            self._check_open()
            if self._mine or (self._chat.asking is not None and not self._inside):
                raise InvalidInput(_BUSY, hint="Wait for it, or stop it.")
            self._number += 1
            number = self._mine = self._number
            self._retry = (how, text, at)
            live: dict[str, Any] = {"id": number, "you": visible(text), "text": "", "state": "asking"}
            self._doc.set("live", value=live if at is None else {**live, "at": at})
            return self._begin(self._answer(number, how, text, at), "answer"), number

    async def _answer(self, number: int, how: str, text: str, at: int | None) -> Reply:
        chat, cleaner = self._chat, Cleaner()
        kept = self._kept = Kept(number, self._twin)
        client = cast("AsyncClient", kept)

        def heard(piece: str) -> None:
            with self._lock:
                if self._mine == number:
                    self._doc.grow("live", "text", text=cleaner.clean(piece))

        try:
            async with self._one:  # a turn that was stopped may still be letting go of the conversation
                self._inside = True
                try:
                    if how == "send":
                        reply = await chat.asend(text, on_text=heard, client=client)
                    elif how == "edit" and at is not None:
                        reply = await chat.aedit(at, text, on_text=heard, client=client)
                    else:
                        reply = await chat.aregenerate(on_text=heard, client=client)
                finally:
                    self._inside = False
            if reply.sandbox:  # as it may be said by the answers alone
                self._sandboxes.add(self._base)
                self._tell_sandbox()
            return reply
        except asyncio.CancelledError:
            self._leave(number, "stopped")
            raise
        except Exception as error:
            self._leave(number, "failed", error)
            raise

    def _leave(self, number: int, state: str, error: Exception | None = None) -> None:
        """Leave a turn that was not recorded in sight, and say what became of it."""
        with self._lock:
            if self._mine != number:
                return
            self._mine = 0
            live = {**self._doc["live"], "state": state}
            if error is not None:
                live["trouble"] = trouble(error)
                if end_unknown(error):  # the Chat sends the same words under the same key
                    live["trouble"]["again"] = _SAFE
                    live["trouble"].pop("todo", None)
            self._doc.set("live", value=live)
        self._settle()

    def _partial(self, number: int) -> Reply:
        """Return what had come of a turn that was stopped, with all that is known of it."""
        if self._kept is None or self._kept.number != number or self._kept.growing is None:
            return Reply("", complete=False, cut_by="it was stopped", asked_model=self.model)
        reply = self._kept.growing.reply
        return reply if reply.complete else reply.with_(complete=False, cut_by="it was stopped")

    # ── how the conversation is followed ──

    def _bind(self, chat: Chat) -> None:
        self._unwatch()
        self._chat = chat
        if chat._client is None and self._default is None:
            self._default = seams.default_client()
        self._base = cast("Client", chat._client or self._default)
        self._tell_sandbox()
        self._unwatch = follow(chat, self._follow_chat)
        self._doc.set("title", value=one_line(self.title, 200))
        self._follow_chat()

    def _tell_sandbox(self) -> None:
        self._doc.set("sandbox", value=self._base.mode == "sandbox" or self._base in self._sandboxes)

    def _go_to(self, chat: Chat) -> None:
        with self._lock:
            if self._mine:
                raise InvalidInput(_BUSY, hint="Wait for it or stop it, then go to another branch.")
            if not any(chat is each for each in self._branches):
                self._branches.append(chat)
            self._retry = None
            self._doc.set("live", value=None)
            self._bind(chat)
        self._settle()

    def _follow_chat(self) -> None:
        """Match the document to the conversation; called by whichever thread changed it."""
        with self._lock:
            chat = self._chat
            changed = self._match(chat.turns)
            other = self._match_settings()
            self._name_branches()
            live = self._doc["live"]
            if changed and live is not None and (self._inside or not self._mine):
                # Whole, and its number with it; or something else was said, and what had failed is past.
                self._mine, self._retry = 0, None
                self._doc.set("live", value=None)
                live = None
            if not self._mine and chat.asking is not None and not self._inside:
                self._number += 1
                asked = {"id": self._number, "you": visible(chat.asking), "text": "", "state": "asking"}
                self._doc.set("live", value={**asked, "cell": True})
            elif not self._mine and chat.asking is None and live is not None and live.get("cell"):
                self._doc.set("live", value=None)
        if changed or other:
            self._settle()

    def _match_settings(self) -> bool:
        """Tell model and system text, by whichever hand they were changed; return whether they were."""
        now = {"system": self._chat.system or "", "model": one_line(self._chat.model, 120)}
        other = {name: value for name, value in now.items() if value != self._doc[name]}
        for name, value in other.items():
            self._doc.set(name, value=value)
        return bool(other)

    def _match(self, turns: tuple[Turn, ...]) -> bool:
        """Tell the turns that differ; return whether any did."""
        before = self._shown_turns
        same = 0
        while same < min(len(before), len(turns)) and before[same][1] is turns[same]:
            same += 1
        if same == len(before) == len(turns):
            return False
        new = turns[same:]
        numbers = list(range(self._number + 1, self._number + 1 + len(new)))
        if self._mine and self._inside and len(new) == 1:
            numbers = [self._mine]  # it keeps its number, and in the page its place
        else:
            self._number += len(new)
        self._shown_turns = [*before[:same], *zip(numbers, new, strict=True)]
        if len(before) - same + len(new) > _MANY:
            self._doc.set("turns", value=[told(turn, number) for number, turn in self._shown_turns])
            return True
        for at in range(len(before) - 1, same - 1, -1):
            self._doc.drop("turns", at)
        for number, turn in self._shown_turns[same:]:
            self._doc.push("turns", value=told(turn, number))
        return True

    def _name_branches(self) -> None:
        if len(self._branches) > 1:
            names = [branch_name(at, each) for at, each in enumerate(self._branches)]
            self._doc.set("branches", value=names)
            at = next(at for at, each in enumerate(self._branches) if each is self._chat)
            self._doc.set("branch", value=at)

    def _place(self, number: int) -> int:
        for at, (each, _) in enumerate(self._shown_turns):
            if each == number and type(number) is int:
                return at
        raise InvalidInput("This turn is no longer in the conversation.", hint="It was changed meanwhile.")

    # ── the panel ──

    def _shown(self) -> None:
        self._begin(self._fetch_models(), "models")

    async def _fetch_models(self) -> None:
        self._doc.set("models", value=await choices.chat_models(self._twin))

    def _closing(self) -> None:
        self._unwatch()
        with self._lock:
            if self._mine:
                self._leave(self._mine, "stopped")


async def _result(future: concurrent.futures.Future[Reply]) -> Reply:
    return await asyncio.wrap_future(future)
