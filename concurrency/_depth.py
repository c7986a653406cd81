"""The recursion limit. It may be reached anywhere, but where it would leave something half done."""

FRAMES = 20
"""How deep the calls of ours go where something is being begun, or given up because it could not be."""


def check_depth(frames: int = FRAMES) -> None:
    """Raise `RecursionError` now, if it would be raised that much deeper. Takes less than a microsecond."""
    if frames:
        check_depth(frames - 1)
