"""Settings of a client, and the only reader of the environment.

==========================  =========================================================================
``BEATRA_API_KEY``          the key; without one, ``mode="auto"`` goes to the sandbox
``BEATRA_BASE_URL``         where the service is, if not at its usual address
``BEATRA_MODE``             ``auto`` (default), ``live``, ``sandbox``, ``record``, ``replay``, ``once`` or ``refresh``
``BEATRA_CASSETTE``         where exchanges are recorded to or replayed from (default ``beatra.cassette``)
``BEATRA_SPEED``            how fast a replay goes: 1 (default) as recorded, 0 without waiting
``BEATRA_HOME``             where the journal and the sandbox's weights live, instead of the user's data dir
``BEATRA_WEIGHTS``          where the sandbox's weights live, alone (a folder that a whole class may share)
``BEATRA_DISPLAY``          ``auto`` (default), ``live`` or ``static``: overrides the guess whether anybody watches
``BEATRA_EMBED_MB``         up to how many megabytes of audio one output may hold (default 8)
``BEATRA_SANDBOX_ENGINE``   ``auto`` (default), ``smollm2`` or ``scripted``
==========================  =========================================================================

An argument beats the environment. Proxies and CA bundles come from the environment as httpx users expect
(``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``, …).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from beatra_nb.core.errors import ConfigurationError

BASE_URL = "https://api.beatra.ai/v1"
MAX_ATTEMPTS = 4
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
TOTAL_TIMEOUT = 600.0
EMBED_LIMIT = 8_000_000  # bytes of audio: two songs of some four minutes
LONGEST_TIMEOUT = 86_400.0  # a socket takes no number without bounds

CASSETTE = "beatra.cassette"  # in the working directory: beside the notebook
FASTEST = 1000.0

Mode = Literal["live", "sandbox", "record", "replay"]
MODES = ("auto", "live", "sandbox", "record", "replay", "once", "refresh")
TAPED = ("record", "replay", "once", "refresh")  # what there is a cassette for


class Secret:
    """A string that shows itself nowhere: not in repr, str, format, pickle or a debugger's locals."""

    __slots__ = ("_reveal",)

    _reveal: Callable[[], str]

    def __init__(self, value: str) -> None:
        # A closure rather than an attribute: even an inspector of slots sees only a function.
        self._reveal = lambda: value

    def reveal(self) -> str:
        """Return the string itself; call it only where it is written to the wire."""
        return self._reveal()

    def __repr__(self) -> str:
        return "Secret(•••)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key is never pickled. Read it from the environment where it is needed.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds.

    Attributes
    ----------
    connect : float
        For a connection.
    read : float
        For the next sign of life: headers, or the next piece of a body.
    total : float
        For one logical call, its attempts and pauses included.
    """

    connect: float = CONNECT_TIMEOUT
    read: float = READ_TIMEOUT
    total: float = TOTAL_TIMEOUT

    def __post_init__(self) -> None:
        for name in ("connect", "read", "total"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not 0 < value <= LONGEST_TIMEOUT
            ):
                raise ConfigurationError(
                    f"timeout: {name} must be a number of seconds above 0 (and at most a day), not {_short(value)}.",
                    hint="Pass seconds (timeout=60.0) or bn.Timeouts(connect=…, read=…, total=…).",
                )

    @classmethod
    def of(cls, value: float | Timeouts | None) -> Timeouts:
        """Make timeouts from what a user passes: a number is the read time-out, and ten of it the total."""
        if isinstance(value, Timeouts):
            return value
        if value is None:
            return cls()
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(
                f"timeout must be a number of seconds, not {_short(value)}.",
                hint="Pass seconds (timeout=60.0) or bn.Timeouts(connect=…, read=…, total=…).",
            )
        return cls(
            connect=min(CONNECT_TIMEOUT, value),
            read=value,
            total=min(value * 10, max(value, LONGEST_TIMEOUT)),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client is made with, resolved and checked.

    Attributes
    ----------
    mode : {"live", "sandbox", "record", "replay"}
        Who answers; what is recorded is answered live with a key, else by the sandbox.
    base_url : str or None
        Where; None for the process's own sandbox, which is started at the first call, and for a replay.
    key : Secret or None
        The key; None for the process's own sandbox, and for a replay.
    cassette : Path or None
        Where exchanges are recorded to or replayed from.
    speed : float
        How fast a replay goes.
    refresh : bool
        Whether the first exchange takes the place of all that the cassette has.
    """

    mode: Mode
    base_url: str | None
    key: Secret | None = field(repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_attempts: int = MAX_ATTEMPTS
    journal: bool = True
    told: bool = True  # False when the sandbox was chosen for want of a key, and the user should hear of it
    cassette: Path | None = None
    speed: float = 1.0
    refresh: bool = False

    @classmethod
    def resolve(
        cls,
        api_key: str | Secret | None = None,
        *,
        base_url: str | None = None,
        mode: str | None = None,
        timeout: float | Timeouts | None = None,
        max_attempts: int | None = None,
        journal: bool = True,
        cassette: str | os.PathLike[str] | None = None,
        speed: float | None = None,
    ) -> Settings:
        """Merge arguments over the environment and check them.

        Raises
        ------
        ConfigurationError
            For anything that could not work, before a connection is made.
        """
        api_key = hide_key(api_key)
        wanted = mode or _env("BEATRA_MODE") or "auto"
        if wanted not in MODES:
            raise ConfigurationError(
                f"mode must be {', '.join(map(repr, MODES[:-1]))} or {MODES[-1]!r}, not {_short(wanted)}.",
                hint="Pass mode= to bn.connect(), or set BEATRA_MODE.",
            )
        taped = _cassette(cassette) if wanted in TAPED else None
        pace = _speed(speed)
        refresh = wanted == "refresh"
        if wanted == "once":
            wanted = "replay" if taped is not None and (taped / "tape.jsonl").is_file() else "record"
        key = clean_key(api_key if api_key is not None else hide_key(_env("BEATRA_API_KEY")))
        url = base_url if base_url is not None else _env("BEATRA_BASE_URL")
        if max_attempts is None:
            max_attempts = MAX_ATTEMPTS
        if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or not 1 <= max_attempts <= 20:
            raise ConfigurationError(
                f"max_attempts must be a whole number from 1 to 20, not {_short(max_attempts)}."
            )
        told = True
        if wanted == "replay":
            # Neither a key nor an address: nothing is sent.
            return cls("replay", None, None, Timeouts.of(timeout), max_attempts, journal, told, taped, pace)
        if wanted in ("record", "refresh"):
            where = clean_url(url or BASE_URL) if key else None
            times = Timeouts.of(timeout)
            return cls("record", where, key, times, max_attempts, journal, told, taped, pace, refresh)
        if wanted == "auto":
            wanted = "live" if key else "sandbox"
            told = wanted == "live"
        if wanted == "sandbox":
            # The package's own sandbox: nothing of the live settings is sent there.
            return cls("sandbox", None, None, Timeouts.of(timeout), max_attempts, journal, told)
        if key is None:
            raise ConfigurationError(
                "mode 'live' needs an API key, and there is none.",
                hint="Set BEATRA_API_KEY, pass api_key=, or use mode='sandbox' to work without one.",
            )
        return cls("live", clean_url(url or BASE_URL), key, Timeouts.of(timeout), max_attempts, journal, told)


def _cassette(given: str | os.PathLike[str] | None) -> Path:
    """Return a cassette's folder: the given one, else the environment's, else the usual one."""
    chosen = given if given is not None else _env("BEATRA_CASSETTE") or CASSETTE
    if not isinstance(chosen, str | os.PathLike) or not str(chosen).strip() or "\0" in str(chosen):
        raise ConfigurationError(
            f"cassette must be the path of a folder, not {_short(chosen)}.",
            hint="Pass cassette= to bn.connect(), or set BEATRA_CASSETTE.",
        )
    return Path(chosen).expanduser()


def _speed(given: float | None) -> float:
    """Return how fast a replay goes."""
    value: object = given
    if value is None:
        text = _env("BEATRA_SPEED") or "1"
        try:
            value = float(text)
        except ValueError:
            value = text
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FASTEST:
        raise ConfigurationError(
            f"speed must be a number from 0 (no waiting) to {FASTEST:g}, not {_short(value)}.",
            hint="Pass speed= to bn.replay(), or set BEATRA_SPEED; 1 is as it was recorded.",
        )
    return float(value)


def hide_key(key: object) -> Secret | None:
    """Wrap a key unchecked, before anything can fail: then no traceback with locals has it to show."""
    if key is None or isinstance(key, Secret):
        return key
    return Secret(key if isinstance(key, str) else "not text")  # the space in it is refused below


def clean_key(key: str | Secret | None) -> Secret | None:
    """Strip what copying leaves around a key; refuse what no header can carry, without echoing it."""
    key = _stripped(hide_key(key))
    if key is None or _is_word(key):
        return key
    raise ConfigurationError(
        "The API key is not text, or holds a space, a line break or a character that no key has "
        "(it is not shown here).",
        hint="Copy the key again; it is one word of plain letters, digits and signs.",
    )


# Two functions that hold the bare key and cannot fail, so that the one that can never holds it.


def _stripped(key: Secret | None) -> Secret | None:
    bare = "" if key is None else key.reveal().strip().strip("\"'").strip()
    return Secret(bare) if bare else None


def _is_word(key: Secret) -> bool:
    return re.fullmatch(r"[\x21-\x7e]+", key.reveal()) is not None


def clean_url(url: str) -> str:
    """Check a base URL: https, or http on this machine alone; no credentials, query or fragment."""
    given, url = url, url.strip().rstrip("/") if isinstance(url, str) else ""
    if any(sign in url for sign in "@?#"):
        # Asked first: what stands before an @ is not echoed, whatever else is wrong.
        raise ConfigurationError("base_url must not hold a user, a password, a query or a fragment.")
    try:
        parts = urlsplit(url if url.isprintable() and " " not in url else "")
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if host is not None and any(len(label) > 63 for label in host.split(".")):
        host = None  # no name of a machine is as long
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(
            f"base_url must be a full address such as {BASE_URL!r}, not {_short(given)}.",
            hint="Pass base_url= to bn.connect(), or set BEATRA_BASE_URL.",
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            "base_url must begin with https: over plain http the key could be read on the way.",
            hint="Plain http is for a server on this machine (127.0.0.1, localhost) alone.",
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether a host name is this machine's loopback."""
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}", host))


def home() -> Path:
    """Return the folder where the journal lives (``BEATRA_HOME``, else the user's data dir)."""
    if given := _env("BEATRA_HOME"):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("beatra_nb", appauthor=False))


def weights_home() -> Path:
    """Return the folder of the sandbox's weights (``BEATRA_WEIGHTS``, ``BEATRA_HOME``, else the user's cache dir)."""
    if given := _env("BEATRA_WEIGHTS"):
        return Path(given).expanduser()
    if given := _env("BEATRA_HOME"):
        return Path(given).expanduser() / "weights"
    import platformdirs

    return Path(platformdirs.user_cache_dir("beatra_nb", appauthor=False)) / "weights"


def sandbox_home() -> Path:
    """Return the folder where the sandbox keeps its tasks, files and wallet."""
    return home() / "sandbox"


def sandbox_engine() -> str:
    """Return which engine the sandbox shall use: ``auto``, ``smollm2`` or ``scripted``."""
    return _choice("BEATRA_SANDBOX_ENGINE", "auto", "smollm2", "scripted")


def display_choice() -> str:
    """Return whether answers are shown live: ``auto``, ``live`` or ``static``."""
    return _choice("BEATRA_DISPLAY", "auto", "live", "static")


def embed_limit() -> int:
    """Return up to how many bytes of audio one output may hold."""
    value = _env("BEATRA_EMBED_MB")
    if value is None:
        return EMBED_LIMIT
    try:
        megabytes = float(value)
    except ValueError:
        megabytes = -1.0
    if not 0 <= megabytes <= 1000:
        raise ConfigurationError(f"BEATRA_EMBED_MB must be a number from 0 to 1000, not {_short(value)}.")
    return int(megabytes * 1_000_000)


def bare_environment() -> dict[str, str]:
    """Return the environment for a child process that needs none of these settings, and no key."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BEATRA_")}


def notebook_session() -> str | None:
    """Return the mark that a notebook server leaves in the environment of kernels somebody may watch."""
    return _env("JPY_SESSION_NAME")


def environment_marks() -> set[str]:
    """Return which front ends' own marks stand in the environment: ``vscode``, ``colab``, ``voila``."""
    marks = {
        "VSCODE_PID": "vscode",
        "VSCODE_CWD": "vscode",
        "COLAB_RELEASE_TAG": "colab",
        "VOILA_KERNEL_ID": "voila",
    }
    return {mark for name, mark in marks.items() if name in os.environ}


def _env(name: str) -> str | None:
    value = os.environ.get(name, "").strip()
    return value or None


def _choice(name: str, *allowed: str) -> str:
    value = (_env(name) or allowed[0]).lower()
    if value not in allowed:
        raise ConfigurationError(f"{name} must be one of {', '.join(allowed)}, not {_short(value)}.")
    return value


def _short(value: Any) -> str:  # noqa: ANN401
    # A key that was passed in the wrong place is not echoed either.
    text = re.sub(r"sk-[\w-]+", "sk-•••", repr(value))
    return text if len(text) <= 60 else text[:57] + "…"
