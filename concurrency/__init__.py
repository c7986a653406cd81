from concurrency.core import Concurrent
from concurrency.decorator import AsyncConcurrentFunction, ConcurrentFunction, concurrent
from concurrency.pacing import Rate
from concurrency.recording import Timeline, timeline
from concurrency.streams import AsyncStream, Stream

__all__ = [
    "AsyncConcurrentFunction",
    "AsyncStream",
    "Concurrent",
    "ConcurrentFunction",
    "Rate",
    "Stream",
    "Timeline",
    "concurrent",
    "timeline",
]
