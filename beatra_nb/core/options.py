"""Free options, looked at before they are sent: a misspelt one would be a field nobody knows, and change nothing.

Any field may be passed to the API. So a name is refused only where it is near to one that is known, or belongs to
another call; what a model has of its own travels in ``model_options`` in any case.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from beatra_nb.core.errors import InvalidInput

# What the verbs take by name, and what the API takes beside.
VERBS = frozenset({
    "prompt", "system", "model", "stream", "schema", "temperature", "max_tokens", "tools", "idempotency_key",
    "fallback", "repairs", "budget", "label",
})  # fmt: skip
FIELDS = frozenset({
    "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "messages", "metadata", "model_options",
    "n", "parallel_tool_calls", "presence_penalty", "reasoning_effort", "response_format", "seed", "stop",
    "stream_options", "tool_choice", "top_logprobs", "top_p", "user",
})  # fmt: skip
BATCH = frozenset({
    "max_active", "rate", "checkpoint", "on_error", "executor", "order", "progress", "dedupe", "if_changed",
})  # fmt: skip
CONNECTION = frozenset({"api_key", "base_url", "timeout", "max_attempts", "cassette"})
# Fields of models and services that look like misspelt ones of ours, and are none.
MEANT = frozenset({
    "max_new_tokens", "min_tokens", "mode", "models", "prompt_id", "speed", "temperature_last", "top_a", "top_k",
    "top_n",
})  # fmt: skip
NEAR = 0.8  # how much of two names has to be alike


def check(options: Iterable[str], also: Iterable[str] = ()) -> None:
    """Refuse what can only be a mistake.

    Parameters
    ----------
    options : iterable of str
        The names of what was passed beside the keywords of a verb.
    also : iterable of str
        Keywords that this verb has beside those of all.

    Raises
    ------
    InvalidInput
        If a name is nearly a known one, or that of an argument of something else.

    Examples
    --------
    >>> check(["seed", "top_k"])
    >>> check(["temprature"])
    Traceback (most recent call last):
    ...
    beatra_nb.core.errors.InvalidInput: There is no option 'temprature'. Did you mean 'temperature'? ...
    """
    known = VERBS | FIELDS | frozenset(also)
    for name in options:
        if name in CONNECTION:
            raise InvalidInput(
                f"{name!r} is no option of a call.",
                hint=f"It belongs to the connection: bn.connect({name}=…).",
            )
        if name in known or name in MEANT:
            continue
        if name in BATCH:
            raise InvalidInput(f"{name!r} is no option of a single call.", hint="It belongs to bn.map.")
        if near := get_close_matches(name.lower(), sorted(known), n=1, cutoff=NEAR):
            raise InvalidInput(
                f"There is no option {name[:80]!r}.",
                hint=f"Did you mean {near[0]!r}? A field of the model's own goes in model_options={{…}}.",
            )
