"""In which order results go out. Each class keeps what has ended until it is taken; none of them locks or waits.

`drain` moves the next results to where consumers take them, as many as are ready; `poll` gives one.

`put_all` is `put` for calls that go together. Where `slots` is not None, `slots[index] = value` is `put`, at a fraction of what
a call costs, and results are taken after a failure as well: one may stand before it in order.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from concurrency._calls import END, Inputs


class AtTheEnd:
    """All results in one list, each in the slot that was made when its input was read: `map`."""

    __slots__ = ("slots",)

    def __init__(self) -> None:
        self.slots: list[Any] = []

    def put(self, index: int, inputs: Inputs, value: Any) -> None:
        self.slots[index] = value

    def expect_all(self, count: int) -> None:
        self.slots.extend([None] * count)

    def put_all(self, start: int, inputs: Sequence[Any], values: list[Any]) -> None:
        self.slots[start : start + len(values)] = values

    def ready(self) -> bool:
        return False

    def drain(self, ready: deque[Any], most: int) -> int:
        return 0  # pragma: no cover  nothing is ever ready before the end


class InOrder:
    """One result after the other, in the order of the inputs: `stream`."""

    __slots__ = ("_head", "slots")

    def __init__(self) -> None:
        self.slots: dict[int, Any] = {}
        self._head = 0

    def put(self, index: int, inputs: Inputs, value: Any) -> None:
        self.slots[index] = value

    def expect_all(self, count: int) -> None:
        pass

    def put_all(self, start: int, inputs: Sequence[Any], values: list[Any]) -> None:
        self.slots.update(enumerate(values, start))

    def ready(self) -> bool:
        return self._head in self.slots

    def drain(self, ready: deque[Any], most: int) -> int:
        pop, append, first = self.slots.pop, ready.append, self._head
        while self._head < first + most:
            value = pop(self._head, END)
            if value is END:
                break
            append(value)
            self._head += 1
        return self._head - first

    def poll(self) -> Any:
        """The next result, or `END` if none is ready."""
        value = self.slots.pop(self._head, END)
        if value is not END:
            self._head += 1
        return value


class AsCompleted:
    """Each input with its result, as soon as it is there: `as_completed`."""

    __slots__ = ("_pairs",)

    slots: None = None  # what ends after a failure stands behind it

    def __init__(self) -> None:
        self._pairs: deque[tuple[Any, Any]] = deque()

    def put(self, index: int, inputs: Inputs, value: Any) -> None:
        self._pairs.append((inputs, value))

    def expect_all(self, count: int) -> None:
        pass

    def put_all(self, start: int, inputs: Sequence[Any], values: list[Any]) -> None:
        self._pairs.extend(zip(inputs, values, strict=False))  # a run that has been stopped leaves off within a chunk

    def ready(self) -> bool:
        return bool(self._pairs)

    def drain(self, ready: deque[Any], most: int) -> int:
        count = min(most, len(self._pairs))
        for _ in range(count):
            ready.append(self._pairs.popleft())
        return count

    def poll(self) -> Any:
        """The next result, or `END` if none is ready."""
        return self._pairs.popleft() if self._pairs else END


Delivery = AtTheEnd | InOrder | AsCompleted
