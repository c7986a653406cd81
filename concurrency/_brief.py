"""Reprs for messages and notes: short, cheap for huge values, and never raising."""

import reprlib
from typing import Any


def brief(value: Any) -> str:
    """A repr of anything: a broken one must not hide what the message is about."""
    try:
        return _repr.repr(value)
    except Exception as error:  # noqa: BLE001  a repr may raise anything
        return f"<{type(value).__name__} object, whose repr raised {type(error).__name__}>"


class _Repr(reprlib.Repr):
    """`reprlib`'s, with room for an address or a path, and without sorting: that would compare the user's objects."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 200

    def repr_set(self, x: Any, level: int) -> str:
        return self.repr_instance(x, level) if len(x) <= self.maxset else f"<{type(x).__name__} of {len(x)}>"

    repr_frozenset = repr_set

    def repr_dict(self, x: Any, level: int) -> str:
        return self.repr_instance(x, level) if len(x) <= self.maxdict else f"<{type(x).__name__} of {len(x)}>"


_repr = _Repr()
