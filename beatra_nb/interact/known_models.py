"""The models of the account, for completion, the status and the studio: asked seldom, never for long."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from beatra_nb.core.errors import BeatraError
from beatra_nb.core.settings import Secret, Timeouts

if TYPE_CHECKING:
    from beatra_nb.core.client import Client
    from beatra_nb.core.reply import ModelList
    from beatra_nb.sandbox import Sandbox

FRESH = 60.0  # seconds that an answer is good for
AGAIN = 10.0  # seconds until a service that gave none is asked again
LIMIT = 5.0  # seconds that a question may take

_lock = threading.Lock()
_question: _Question | None = None


def running_sandbox() -> Sandbox | None:
    """Return the sandbox of this process if it has been started; starts none."""
    from beatra_nb import sandbox

    box = sandbox._shared
    return box if box is not None and box.running else None


def known_models(client: Client, patience: float) -> tuple[ModelList | None, str]:
    """Return the models of a client's account, and why they are not known if they are not.

    Parameters
    ----------
    client : Client
        Whose account it is; it is not used itself, so that the look leaves no row in the journal.
    patience : float
        Seconds to wait for an answer; a later one is kept for the next look.
    """
    global _question
    settings = client._settings
    url, key = settings.base_url, settings.key
    if url is None or key is None:
        box = running_sandbox()
        if box is None:
            return None, "the sandbox has not been started yet"
        url, key = box.base_url, Secret(box.api_key)
    with _lock:
        question = _question
        if question is None or not question.still_good(url, key):
            question = _question = _Question(url, key)
    return question.answer(patience)


class _Question:
    """One look at the models of an account, on a thread of its own."""

    def __init__(self, url: str, key: Secret) -> None:
        self._of = (url, key)
        self._asked = time.monotonic()
        self._done = threading.Event()
        self._models: ModelList | None = None
        self._problem = "the service has not answered yet"
        threading.Thread(target=self._ask, name="beatra-models", daemon=True).start()

    def still_good(self, url: str, key: Secret) -> bool:
        """Whether this is the question to ask, and its answer not too old."""
        lasts = FRESH if self._models is not None or not self._done.is_set() else AGAIN
        return self._of == (url, key) and time.monotonic() - self._asked < lasts

    def answer(self, patience: float) -> tuple[ModelList | None, str]:
        """Return the answer, waiting so long for it."""
        self._done.wait(patience)
        return self._models, "" if self._models is not None else self._problem

    def _ask(self) -> None:
        from beatra_nb.core.client import Client

        url, key = self._of
        try:
            with Client(
                key,
                base_url=url,
                mode="live",
                timeout=Timeouts(LIMIT, LIMIT, LIMIT),
                max_attempts=1,
                journal=False,
            ) as client:
                self._models = client.models()
        except BeatraError as error:
            self._problem = error.message
        except Exception as error:  # a look must not end in a thread's traceback
            self._problem = f"the look failed ({type(error).__name__})"
        finally:
            self._done.set()
