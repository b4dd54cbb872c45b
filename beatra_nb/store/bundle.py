"""What to hand to support: the rows of one call, the versions at work, and nothing private.

It is built from a short list of what goes in, not by striking things out: no key, no prompt, no answer, no
environment, no file path, no user or host name. The idempotency key stays, for it is how the service finds a
call whose answer never arrived; it opens nothing.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import ConfigurationError, InvalidInput
from beatra_nb.core.seams import Showable
from beatra_nb.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beatra_nb.store.entry import Entry
    from beatra_nb.store.journal import Journal

PACKAGES = (
    "beatra-nb",
    "httpx",
    "pydantic",
    "ipython",
    "ipykernel",
    "ipywidgets",
    "anywidget",
    "jupyterlab",
    "notebook",
    "starlette",
    "uvicorn",
    "xllamacpp",
    "numpy",
    "soundfile",
)


@dataclass(frozen=True, slots=True)
class SupportBundle(Showable):
    """A redacted record of one call.

    Examples
    --------
    >>> import beatra_nb as bn
    >>> print(bn.journal().support_bundle("req_01J5"))  # doctest: +SKIP
    >>> bn.journal().support_bundle("req_01J5").save("for-support.json")  # doctest: +SKIP
    """

    request_id: str
    entries: tuple[Entry, ...]
    made: datetime
    versions: dict[str, str]
    system: dict[str, str]
    settings: dict[str, Any]

    @classmethod
    def of(cls, journal: Journal, request_id: str) -> SupportBundle:
        """Collect the bundle of a request id (an idempotency key or a task id will do)."""
        if not isinstance(request_id, str) or not request_id.strip():
            raise InvalidInput(
                "support_bundle() needs the request id of a call.",
                hint="Every reply and every error has one as .request_id; bn.journal() lists them.",
            )
        entries = journal.of_request(request_id.strip())
        if not entries:
            raise InvalidInput(
                f"The journal knows no call with the id {request_id.strip()[:80]!r}.",
                hint="Look for it with bn.journal().search(…): a part of the id is enough.",
            )
        return cls(
            request_id.strip(), tuple(entries), datetime.now(UTC), versions(PACKAGES), system(), _settings()
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the bundle as plain data that JSON can hold."""
        return {
            "about": "A support bundle of beatra_nb: no key, no prompt, no answer, no user or host name.",
            "request_id": self.request_id,
            "made": self.made.isoformat(timespec="seconds"),
            # What a prompt is called is its author's affair.
            "calls": [
                {name: value for name, value in plain(entry).items() if name != "prompt"}
                for entry in self.entries
            ],
            "versions": dict(self.versions),
            "system": dict(self.system),
            "settings": dict(self.settings),
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the bundle as JSON and return where; an existing file is kept unless ``overwrite`` is set."""
        target = Path(path).expanduser()
        try:
            with target.open("w" if overwrite else "x", encoding="utf-8") as file:
                file.write(f"{self}\n")
        except FileExistsError as problem:
            raise InvalidInput(
                f"{target} is already there and was left as it is.",
                hint="Choose another name, or pass overwrite=True.",
            ) from problem
        except OSError as problem:
            raise InvalidInput(
                f"{target} cannot be written: {problem.strerror or problem}.",
                hint="Choose a folder that exists and that you may write to.",
            ) from problem
        return target

    def __str__(self) -> str:
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def __repr__(self) -> str:
        return f"SupportBundle({self.request_id!r}, calls={len(self.entries)})"


def plain(entry: Entry) -> dict[str, Any]:
    """Return an entry as plain data that JSON can hold: times as ISO 8601, credits as decimal text."""
    return {
        name: value.isoformat()
        if isinstance(value, datetime)
        else str(value)
        if isinstance(value, Decimal)
        else value
        for name, value in entry.as_dict().items()
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages of these that are installed."""
    from importlib import metadata

    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def system() -> dict[str, str]:
    """Return what runs here, without the machine's name."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "bits": "64" if sys.maxsize > 2**32 else "32",
    }


def _settings() -> dict[str, Any]:
    """Return the settings that matter as they are now; the address of the call itself is in its row."""
    try:
        now = Settings.resolve()
    except ConfigurationError:
        return {"mode": "not usable as set"}
    return {"mode": now.mode, "base_url": now.base_url, "key_is_set": now.key is not None}
