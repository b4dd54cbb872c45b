"""``bn.record`` and ``bn.replay``: the verbs at the top of the package, on a cassette."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beatra_nb import verbs
from beatra_nb.core.client import Client
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.settings import MAX_ATTEMPTS, READ_TIMEOUT, Timeouts, hide_key

if TYPE_CHECKING:
    import os
    from pathlib import Path
    from types import TracebackType

    from beatra_nb.verbs import Clients


class Taping:
    """All verbs of the package record to, or replay from, a cassette: from the call on, and until a ``with`` ends.

    Attributes
    ----------
    client : Client
        The default client meanwhile.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._before: Clients = verbs.exchange((client, None))

    @property
    def mode(self) -> str:
        """``"record"`` or ``"replay"``."""
        return self.client.mode

    @property
    def path(self) -> Path:
        """The cassette's folder."""
        path = self.client.cassette
        assert path is not None  # noqa: S101 - it was made with one
        return path

    def stop(self) -> None:
        """Bring back the client that was the default before."""
        now, twin = verbs.exchange((None, None))
        # Where another was made the default meanwhile, that one stays.
        verbs.exchange(self._before if now is self.client else (now, twin))

    def __enter__(self) -> Taping:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{self.mode} {self.path.name}>"


def record(
    path: str | os.PathLike[str] | None = None,
    *,
    refresh: bool = False,
    once: bool = False,
    speed: float | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    timeout: float | Timeouts = READ_TIMEOUT,
    max_attempts: int = MAX_ATTEMPTS,
    journal: bool = True,
) -> Taping:
    """Record each exchange of this notebook to a cassette, a folder that ``bn.replay`` answers from.

    Holds from the call on; as a context manager, until its end. What is recorded is answered live with a key, and by
    the sandbox without one. The prompts and the answers are in the folder as they are; no key is.

    Parameters
    ----------
    path : path, optional
        The folder; else ``BEATRA_CASSETTE``, else ``beatra.cassette`` in the working directory. What is asked again
        replaces what was recorded of it before; the rest stays.
    refresh : bool, default False
        Begin anew: the first exchange takes the place of all that was recorded before.
    once : bool, default False
        Replay where the cassette is there already, and record otherwise.
    speed : float, optional
        As in ``bn.replay``, where it comes to that.
    api_key, base_url, timeout, max_attempts, journal
        As in ``bn.connect``.

    Returns
    -------
    Taping
        A context manager; ``.stop()`` ends it too.

    Notes
    -----
    Rows of a batch that come from a checkpoint are not asked, and so not recorded; the batch says so.

    Raises
    ------
    ConfigurationError
        If the folder cannot be used, or holds other things.

    Examples
    --------
    >>> with bn.record("lesson.cassette"):  # doctest: +SKIP
    ...     bn.chat("Say hi in five words.")
    """
    hidden, api_key = hide_key(api_key), None
    if refresh and once:
        raise InvalidInput(
            "A recording is made once or anew, not both.",
            hint="once=True keeps what is there; refresh=True replaces it.",
        )
    return Taping(
        Client(
            hidden,
            base_url=base_url,
            mode="once" if once else "refresh" if refresh else "record",
            timeout=timeout,
            max_attempts=max_attempts,
            journal=journal,
            cassette=path,
            speed=speed,
        )
    )


def replay(
    path: str | os.PathLike[str] | None = None, *, speed: float | None = None, journal: bool = True
) -> Taping:
    """Answer all calls of this notebook from a cassette: no key, no network, nothing to pay.

    Holds from the call on; as a context manager, until its end. A request gets the answers that were recorded for
    the very same request, in their order; whatever is asked beyond them begins anew, but for a look at a task, which
    stays as it was last. Keys and headers play no part.

    Parameters
    ----------
    path : path, optional
        The folder; else ``BEATRA_CASSETTE``, else ``beatra.cassette`` in the working directory.
    speed : float, optional
        1 (default) is as it was recorded, 2 twice as fast, 0 without waiting; else ``BEATRA_SPEED``.
    journal : bool, default True
        Whether each call leaves a row in the journal; it says which cassette answered, and costs nothing.

    Returns
    -------
    Taping
        A context manager; ``.stop()`` ends it too.

    Raises
    ------
    NotRecorded
        If there is no cassette; tells how to record one.
    ConfigurationError
        If the cassette is damaged; names the file and the line.

    Notes
    -----
    A request that was not recorded raises ``NotRecorded`` as well, which tells what differs, and how to record it.

    Examples
    --------
    >>> with bn.replay("lesson.cassette", speed=0):  # doctest: +SKIP
    ...     bn.chat("Say hi in five words.")
    """
    client = Client(mode="replay", cassette=path, speed=speed, journal=journal)
    client._check_tape()
    return Taping(client)
