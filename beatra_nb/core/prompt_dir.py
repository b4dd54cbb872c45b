"""A directory of prompts: the files that ``prompt.save`` and the builder write, by their names, as they are now.

A prompt's name is its path below the directory, without the suffix: ``mail/welcome`` for ``mail/welcome.json``. Files
are read when they are asked for, and again when they have changed on disk, which is said once. One that cannot be
read is named with what is wrong in it, and keeps no other from being used. Nothing outside the directory is read:
no name leads out of it, and no symbolic link.
"""

from __future__ import annotations

import difflib
import inspect
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from beatra_nb.core import archive, prompt_file, seams
from beatra_nb.core.errors import InvalidInput, UnknownPrompt

if TYPE_CHECKING:
    from beatra_nb.core.prompt import Prompt

SUFFIX = ".json"
MOST = 2000  # prompts of a directory
LOOKED_AT = 50_000  # files and folders that are looked at for them: "/" is no directory of prompts
DEEPEST = 32  # folders inside folders
_LISTED = 12  # names that an error lists
_METHODS = frozenset({"get", "items", "keys", "values"})  # of every mapping


class _Known(NamedTuple):
    """A file as it was when it was read."""

    stamp: tuple[int, int, int]
    prompt: Prompt | None
    error: InvalidInput | None


class PromptLibrary(seams.Showable, Mapping[str, "Prompt"]):
    """A directory of prompts; ``bn.prompts`` makes one.

    It is a mapping: ``library["mail/welcome"]``, iteration, ``len``; a plain name is an attribute as well, and so is
    a folder: ``library.mail.welcome``. Only prompts that can be read are in it; ``broken`` tells of the others. One
    that is called like something every library has, such as ``keys`` or ``path``, is there as ``library["keys"]``.

    Attributes
    ----------
    path : Path
        The directory.

    Examples
    --------
    >>> library = bn.prompts("prompts/")  # doctest: +SKIP
    >>> library.translate(word="cheese")  # doctest: +SKIP
    >>> bn.map(words, library.translate)  # doctest: +SKIP
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str], *, _inside: str = "") -> None:
        where = archive.checked_path(path)
        try:
            there = where.is_dir()
        except (OSError, ValueError):  # too long, or with a sign that no path has
            there = False
        if not there:
            raise InvalidInput(
                f"There is no directory {str(where)[:300]!r}.",
                hint="bn.prompts() takes the folder that holds prompts; Prompt.load(path) reads a single one."
                if _is_file(where)
                else f"This notebook's folder is {Path.cwd()}.",
            )
        self.path = where
        self._root = os.path.realpath(where)
        self._inside = _inside  # what the names of calls begin with: where it is in a larger directory
        self._lock = threading.RLock()
        self._known: dict[str, _Known] = {}

    # ── a mapping ──

    def __getitem__(self, name: str) -> Prompt:
        if not isinstance(name, str):
            raise UnknownPrompt(f"Prompts are found by name, not by {type(name).__name__}.")
        known = self._read(name)
        if known is None:
            raise self._unknown(name)
        if known.error is not None:
            raise known.error.with_traceback(None)
        assert known.prompt is not None  # noqa: S101 - it is one or the other
        return known.prompt

    def __iter__(self) -> Iterator[str]:
        for name in self._names():
            known = self._read(name)
            if known is not None and known.prompt is not None:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        try:
            known = self._read(name) if isinstance(name, str) else None
        except InvalidInput:
            return False
        return known is not None and known.prompt is not None

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        found = super().__getattribute__(name)
        # A prompt of that name must not take a mapping's methods away; whoever means the prompt is told.
        return _Method(name, found) if name in _METHODS and self._read(name) is not None else found

    def __getattr__(self, name: str) -> Prompt | PromptLibrary:
        # Front ends and copies ask for many names that begin so, and none of them is a prompt.
        if name.startswith("_"):
            raise AttributeError(name)
        known = self._read(name)
        if known is None and os.path.isdir(folder := os.path.join(self._root, name)):
            if os.path.realpath(folder) != folder:
                raise _led_out(folder)
            return PromptLibrary(self.path / name, _inside=f"{self._inside}{name}/")
        return self[name]

    def __dir__(self) -> list[str]:
        first = (name.partition("/")[0] for name in self._names())
        return sorted({*super().__dir__(), *(name for name in first if name.isidentifier())})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._names())

    def __repr__(self) -> str:
        return f"PromptLibrary({os.fspath(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptLibrary) and self._root == other._root

    __hash__ = None  # type: ignore[assignment]  # what it holds changes

    def __reduce__(self) -> tuple[type[PromptLibrary], tuple[str]]:
        return PromptLibrary, (os.fspath(self.path),)

    @property
    def broken(self) -> dict[str, InvalidInput]:
        """What cannot be read: name → what is wrong; the message names file and field."""
        found = ((name, self._read(name)) for name in self._names())
        return {name: known.error for name, known in found if known is not None and known.error is not None}

    # ── the disk ──

    def _names(self) -> list[str]:
        """Return the names of all files that may be prompts, in order."""
        found: list[str] = []
        seen = 0
        for folder, folders, files in os.walk(self._root):
            inside = os.path.relpath(folder, self._root).replace(os.sep, "/")
            deep = 0 if inside == "." else inside.count("/") + 1
            # Hidden folders hold copies that editors and notebooks keep for themselves.
            folders[:] = (
                sorted(each for each in folders if not each.startswith(".")) if deep < DEEPEST else []
            )
            seen += len(folders) + len(files)
            for file in files:
                if file.endswith(SUFFIX) and not file.startswith("."):
                    name = file.removesuffix(SUFFIX)
                    found.append(name if inside == "." else f"{inside}/{name}")
            if len(found) > MOST or seen > LOOKED_AT:
                raise InvalidInput(
                    f"{os.fspath(self.path)!r} holds too many files for a directory of prompts.",
                    hint="Pass the folder that holds nothing but prompts.",
                )
        return sorted(found)

    def _read(self, name: str) -> _Known | None:
        """Return a file as it is now: read anew if it has changed; None if there is none."""
        _check(name)
        path = os.path.join(self._root, *name.split("/")) + SUFFIX
        # Compared with what the links on its way lead to: what lies outside is not read.
        real = os.path.realpath(path)
        if not real.startswith(os.path.join(self._root, "")):
            return _Known((0, 0, 0), None, _led_out(path))
        try:
            facts = os.stat(real)
        except (OSError, ValueError):
            with self._lock:
                self._known.pop(name, None)
            return None
        stamp = facts.st_mtime_ns, facts.st_size, facts.st_ino
        with self._lock:
            before = self._known.get(name)
            if before is not None and before.stamp == stamp:
                return before
            now = self._known[name] = self._load(name, real, stamp)
        if before is not None and before.prompt is not None and now.prompt is not None:
            old, new = before.prompt.version, now.prompt.version
            if old != new:
                called = self._inside + name
                said = f"The prompt {called!r} has changed on disk: version {new} is used from now on, not {old}."
                seams.say_once(f"prompt {real} {old} {new} {stamp[0]}", said)
        return now

    def _load(self, name: str, path: str, stamp: tuple[int, int, int]) -> _Known:
        try:
            return _Known(stamp, prompt_file.load(path).prompt.called(self._inside + name), None)
        except InvalidInput as error:
            return _Known(stamp, None, error)

    def _unknown(self, name: str) -> UnknownPrompt:
        names = self._names()
        near = difflib.get_close_matches(name, names, n=1) or [
            each for each in names if each.rpartition("/")[2].lower() == name.rpartition("/")[2].lower()
        ]
        hint = f"Did you mean {near[0]!r}? " if near else ""
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            hint += f"There are: {', '.join(names[:_LISTED])}{more}."
        else:
            file = os.fspath(self.path / f"{name[:60]}{SUFFIX}")
            hint = f"There is none yet: prompt.save({file!r}) puts one there."
        return UnknownPrompt(f"There is no prompt {name[:80]!r} in {os.fspath(self.path)!r}.", hint=hint)


class _Method:
    """A method of mappings that there is a prompt of the same name of: it does what the method does, or says so."""

    def __init__(self, name: str, method: Callable[..., Any]) -> None:
        self._name = name
        self._method = method

    def __call__(self, *args: Any, **values: Any) -> Any:  # noqa: ANN401
        try:
            inspect.signature(self._method).bind(*args, **values)
        except TypeError:
            self._tell()
        return self._method(*args, **values)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        self._tell()

    def __repr__(self) -> str:
        return repr(self._method)

    def _tell(self) -> NoReturn:
        raise UnknownPrompt(
            f".{self._name} is the method that every mapping has, not the prompt of that name.",
            hint=f"The prompt is library[{self._name!r}].",
        )


def prompts(path: str | os.PathLike[str] = "prompts") -> PromptLibrary:
    """Open a directory of prompts.

    Parameters
    ----------
    path : str or path, default "prompts"
        The directory. Its files are those that ``prompt.save(path)`` and the prompt builder write; folders in it
        are part of their names.

    Returns
    -------
    PromptLibrary
        A mapping of names to prompts, shown as a table. Each prompt can be called, and is known in the journal by
        its name and version.

    Raises
    ------
    InvalidInput
        If there is no such directory.

    Examples
    --------
    >>> library = bn.prompts("prompts/")  # doctest: +SKIP
    >>> library.translate(word="cheese")  # doctest: +SKIP
    >>> bn.journal().search("translate@")  # doctest: +SKIP
    """
    return PromptLibrary(path)


def _check(name: str) -> None:
    """Refuse a name that could lead anywhere but into the directory."""
    parts = name.split("/")
    odd = any(sign in name for sign in ("\\", "\0", ":")) or any(part in ("", ".", "..") for part in parts)
    if odd or len(name) > 1000 or len(parts) > DEEPEST + 1:
        raise _outside(name)


def _outside(name: str) -> UnknownPrompt:
    return UnknownPrompt(
        f"{name[:80]!r} is no name inside a directory of prompts.",
        hint='A name is a path below the directory, without the suffix: "mail/welcome".',
    )


def _led_out(path: str) -> UnknownPrompt:
    return UnknownPrompt(
        f"{path[:300]!r} leads to another folder, and nothing outside a directory of prompts is read.",
        hint="Put a copy of it into the directory, or pass the folder it is in to bn.prompts().",
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
