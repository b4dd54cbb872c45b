"""The notebook's variables, as the magics see them: put into texts, looked up by name, bound when a call is over."""

from __future__ import annotations

import keyword
from collections import ChainMap
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.template import Template


class Names:
    """The variables around a magic.

    Parameters
    ----------
    shell : InteractiveShell
        Whose notebook it is.
    local : mapping, optional
        What is nearer than the notebook's own variables: those of the function that a line magic stands in.
    """

    def __init__(self, shell: Any, local: Mapping[str, Any] | None = None) -> None:  # noqa: ANN401
        self._shell = shell
        near = [dict(local)] if local is not None and local is not shell.user_ns else []
        self._all: Mapping[str, Any] = ChainMap(*near, shell.user_ns)

    def visible(self) -> dict[str, Any]:
        """Return the variables that are the user's own, as ``%who`` understands it, without the underscored."""
        hidden, nothing = self._shell.user_ns_hidden, object()
        return {
            name: value
            for name, value in self._all.items()
            if not name.startswith("_") and hidden.get(name, nothing) is not value
        }

    def fill(self, text: str) -> str:
        """Put variables into a text.

        Raises
        ------
        InvalidInput
            If one is not there, or cannot be written as the text asks for.
        """
        template = Template(text)
        # Any variable can be put in, also `_`; what is offered where one is not there are the user's own.
        asked = {name: self._all[name] for name in template.names if name in self._all}
        return template.render({**self.visible(), **asked})

    def find(self, name: str) -> Any:  # noqa: ANN401
        """Return the variable of a name, or None."""
        return self._all.get(name)

    def get(self, option: str, name: str) -> Any:  # noqa: ANN401
        """Return the variable that an option names.

        Raises
        ------
        InvalidInput
            If there is none.
        """
        if self.checked(option, name) in self._all:
            return self._all[name]
        near = get_close_matches(name, list(self.visible()), n=1)
        hint = f"Did you mean {near[0]}?" if near else "Run the cell that makes it first."
        raise InvalidInput(f"{option}: there is no variable {name}.", hint=hint)

    @staticmethod
    def checked(option: str, name: str) -> str:
        """Return a name that a variable can have.

        Raises
        ------
        InvalidInput
            If none can have it.
        """
        if name.isidentifier() and not keyword.iskeyword(name):
            return name
        raise InvalidInput(
            f"{option} takes the name of a variable, not {name!r:.80}.",
            hint=f"Give it a name first (thing = …), then write {option} thing.",
        )

    def target(self, option: str, name: str | None) -> str | None:
        """Return the name that a result shall be bound to, checked; None for ``_``, which IPython itself binds."""
        return None if name in (None, "_") else self.checked(option, str(name))

    def bind(self, name: str | None, value: object) -> None:
        """Bind a variable of the notebook; nothing for None."""
        if name is not None:
            self._shell.user_ns[name] = value
