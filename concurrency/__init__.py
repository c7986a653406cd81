from concurrency.core import Concurrent
from concurrency.decorator import AsyncConcurrentFunction, ConcurrentFunction, concurrent
from concurrency.pacing import Rate
from concurrency.streams import AsyncStream, Stream

__all__ = ["AsyncConcurrentFunction", "AsyncStream", "Concurrent", "ConcurrentFunction", "Rate", "Stream", "concurrent"]
