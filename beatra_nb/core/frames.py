"""The door to pandas, which is an extra: opened when somebody asks for a frame."""

from __future__ import annotations

from typing import Any

from beatra_nb.core.errors import ConfigurationError


def load_pandas() -> Any:  # noqa: ANN401 - a module
    """Return pandas.

    Raises
    ------
    ConfigurationError
        If it is not installed; the hint says how to install it.
    """
    try:
        import pandas as pd
    except ImportError as problem:
        raise ConfigurationError(
            "A frame needs pandas, which is not installed.",
            hint="Install it with: pip install 'beatra-nb[frames]'",
        ) from problem
    return pd
