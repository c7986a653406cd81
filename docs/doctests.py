"""For mkdocstrings: examples in docstrings become blocks of code.

As they stand, Markdown would take `>>>` for quotations.
"""

import re
from typing import Any

from griffe import Extension, Object

# From the first prompt to the next empty line.
_EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class Doctests(Extension):
    """Fences doctests."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for each object that has been read."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(
                lambda match: f"```pycon\n{match[0]}\n```", obj.docstring.value
            )
