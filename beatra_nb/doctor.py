"""``beatra-nb doctor``: looks at everything a notebook needs here, and says what to mend.

Each check is a function that returns findings. A finding is ``ok``, a ``note`` (works, with less), or ``mend``
(something will not work). No finding ever holds a key or a part of one.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from beatra_nb import __version__
from beatra_nb.core import settings
from beatra_nb.core.errors import APIError, AuthenticationError, BeatraError, ConfigurationError
from beatra_nb.store.bundle import versions
from beatra_nb.store.database import short

PATIENCE = 5.0  # seconds for the service to answer
FRONT_ENDS = ("jupyterlab", "notebook", "ipykernel", "ipywidgets", "anywidget")
EXTENSIONS = {"ipywidgets": "@jupyter-widgets/jupyterlab-manager", "anywidget": "anywidget"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    name : str
        What was looked at.
    status : {"ok", "note", "mend"}
        How it is.
    found : str
        What is there.
    mend : str or None
        What to do, where something is to be done.
    """

    name: str
    status: Literal["ok", "note", "mend"]
    found: str
    mend: str | None = None


def examine() -> list[Finding]:
    """Run every check; one that fails is a finding too, never a crash."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check()
        except BeatraError as problem:
            findings.append(Finding(_label(check), "mend", problem.message, problem.hint))
        except Exception as problem:  # a doctor goes on to the next bed
            findings.append(
                Finding(_label(check), "mend", f"the check failed: {type(problem).__name__}: {problem}")
            )
    return findings


def as_dict(findings: list[Finding]) -> dict[str, Any]:
    """Return the findings as plain data that JSON can hold."""
    return {"ok": all(one.status != "mend" for one in findings), "checks": [asdict(one) for one in findings]}


def as_text(findings: list[Finding]) -> str:
    """Return the findings as aligned lines."""
    room = max(len(one.name) for one in findings)
    lines = []
    for one in findings:
        status = "MEND" if one.status == "mend" else one.status
        lines.append(f"  {status:4}  {one.name:{room}}  {one.found}")
        if one.mend:
            lines.append(f"  {'':4}  {'':{room}}  → {one.mend}")
    count = sum(one.status == "mend" for one in findings)
    lines += ["", "Nothing needs mending." if not count else f"{count} thing{'s' * (count > 1)} to mend."]
    return "\n".join(lines)


def _versions() -> Iterator[Finding]:
    yield Finding("beatra_nb", "ok", __version__)
    python = f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    yield Finding("python", "ok", python)
    found = versions(("ipython", "httpx", "pydantic"))
    yield Finding("packages", "ok", ", ".join(f"{name} {number}" for name, number in found.items()))


def _mode() -> Iterator[Finding]:
    now = settings.Settings.resolve()
    if now.mode == "replay":
        yield Finding("mode", "ok", "replay: answers come from a cassette, without a key or a network")
        yield _cassette(now)
        return
    if now.mode == "record":
        yield Finding("mode", "ok", "record: each exchange is written to a cassette")
        yield _cassette(now)
    if now.key is not None:
        yield Finding("mode", "ok", "live")
        yield Finding("key", "ok", "set (it is not shown)")
        return
    why = "as BEATRA_MODE says" if now.told else "because no key is set"
    yield Finding("mode", "ok", f"sandbox, {why}: answers are made on this machine")
    try:
        settings.Settings.resolve(mode="live")
    except ConfigurationError:
        yield Finding("key", "ok", "not set", "Set BEATRA_API_KEY to reach the live service.")
    else:
        yield Finding("key", "note", "set (it is not shown), and not used in sandbox mode")


def _cassette(now: settings.Settings) -> Finding:
    """Look whether what is recorded to, or replayed from, can be read."""
    from beatra_nb.store.cassettes.cassette import Cassette

    try:
        cassette = Cassette(now.cassette or settings.CASSETTE)
    except ConfigurationError as problem:
        return Finding("cassette", "mend", problem.message, problem.hint or "")
    if not cassette.exists and now.mode == "replay":
        hint = "Set BEATRA_CASSETTE, or record it with BEATRA_MODE=record."
        return Finding("cassette", "mend", f"{cassette.name} is not there", hint)
    return Finding("cassette", "ok", f"{cassette.name}, {len(cassette)} exchanges")


def _service() -> Iterator[Finding]:
    """Ask whoever would answer a notebook how it is."""
    from beatra_nb.core.client import Client

    now = settings.Settings.resolve()
    if now.mode == "replay":
        return  # nobody is asked
    if now.key is None:
        import tempfile

        from beatra_nb import sandbox

        # Its own, with scripted answers and an empty state: this is about the server; the model has a check of
        # its own, and the user's tasks are not the doctor's to go on with.
        with (
            tempfile.TemporaryDirectory() as folder,
            sandbox.start(engine="scripted", state=folder) as box,
            Client(
                box.api_key, base_url=box.base_url, mode="live", timeout=PATIENCE, journal=False
            ) as client,
        ):
            health = client.health()
        where = "sandbox"
    else:
        # Live, also where a notebook would record: a look of the doctor's does not belong on its tape.
        with Client(mode="live", timeout=PATIENCE, max_attempts=1, journal=False) as client:
            where = client.base_url
            try:
                health = client.health()
            except BeatraError as problem:
                mend = "Check the network, BEATRA_BASE_URL and the proxies."
                yield Finding("service", "mend", f"{where}: {problem.message}", mend)
                return
            if health.ok:
                yield from _key_accepted(client)
    if health.ok:
        yield Finding("service", "ok", f"{where} answered in {health.elapsed * 1000:.0f} ms")
    else:
        yield Finding(
            "service", "mend", f"{where} says {health.status!r:.80}", "Wait a little and look again."
        )


def _key_accepted(client: Any) -> Iterator[Finding]:  # noqa: ANN401 - a Client; loaded late
    try:
        client.models()
    except AuthenticationError as problem:
        yield Finding("key accepted", "mend", str(problem.message), problem.hint)
    except APIError as problem:
        yield Finding(
            "key accepted", "note", f"the list of models cannot be had: {problem.message}", problem.hint
        )
    else:
        yield Finding("key accepted", "ok", "yes")


def _model() -> Iterator[Finding]:
    """Look for the sandbox's real model."""
    from beatra_nb.sandbox.engines import smollm2

    missing = smollm2.missing()
    if missing is None:
        yield Finding("sandbox model", "ok", f"weights in {short(settings.weights_home())}")
        return
    wanted = settings.sandbox_engine() == "smollm2"
    less = "" if wanted else "; the sandbox gives scripted answers"
    yield Finding("sandbox model", "mend" if wanted else "note", f"{missing.what}{less}", missing.mend)


def _music() -> Iterator[Finding]:
    """Look for what the sandbox's composer needs, and for a place to keep its tasks."""
    from importlib.util import find_spec

    missing = [name for name in ("numpy", "soundfile", "python_multipart") if find_spec(name) is None]
    if missing:
        less = f"{' and '.join(missing)} not installed; the sandbox makes no music"
        yield Finding("sandbox music", "note", less, "pip install 'beatra-nb[sandbox]'")
        return
    folder = settings.sandbox_home()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        mend = "Make the folder writable, or set BEATRA_HOME to one that is."
        yield Finding("sandbox music", "mend", f"{short(folder)} cannot be written", mend)
        return
    kept = "tasks in" if folder.exists() else "tasks will be kept in"
    yield Finding("sandbox music", "ok", f"composer ready, {kept} {short(folder)}")


def _journal() -> Iterator[Finding]:
    from beatra_nb.store.journal import Journal

    journal = Journal.open()
    trouble = journal.trouble()
    if trouble is not None:
        yield Finding("journal", "mend", *trouble)
        return
    count = journal.view(limit=1).total
    yield Finding("journal", "ok", f"{short(journal.path)}, {count:,} call{'s' * (count != 1)}")


def _front_ends() -> Iterator[Finding]:
    found = versions(FRONT_ENDS)
    for name in FRONT_ENDS:
        if name in found:
            yield Finding(name, "ok", found[name])
        elif name in EXTENSIONS:
            yield Finding(name, "mend", "not installed", f"pip install {name}")
        else:
            extra = "demo" if name == "ipykernel" else "lab"
            yield Finding(name, "note", "not installed", f"pip install 'beatra-nb[{extra}]'")
    if "jupyterlab" not in found and "notebook" not in found:
        return
    from jupyter_core.paths import jupyter_path

    folders = [Path(folder) for folder in jupyter_path("labextensions")]
    for package, extension in EXTENSIONS.items():
        if any((folder / extension / "package.json").is_file() for folder in folders):
            yield Finding(f"{package} in lab", "ok", f"extension {extension}")
        else:
            mend = f"pip install --force-reinstall {package}, in the environment that JupyterLab runs in"
            yield Finding(f"{package} in lab", "mend", "JupyterLab would not find its extension", mend)


def _proxies() -> Iterator[Finding]:
    from urllib.request import getproxies

    proxies = {name: url for name, url in getproxies().items() if name in ("http", "https", "all", "no")}
    if not proxies:
        yield Finding("proxies", "ok", "none")
    for name, url in sorted(proxies.items()):
        yield Finding(f"proxy ({name})" if name != "no" else "no proxy for", "ok", _without_password(url))


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "not an address"
    if "@" not in parts.netloc:
        return url if "@" not in url else "an address with a user (not shown)"
    return parts._replace(netloc="…@" + parts.netloc.rpartition("@")[2]).geturl()


def _label(check: Callable[[], Iterator[Finding]]) -> str:
    return check.__name__.strip("_").replace("_", " ")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _versions,
    _mode,
    _service,
    _model,
    _music,
    _journal,
    _front_ends,
    _proxies,
)
