"""The picture: what this library costs in proportion to each peer, on a logarithmic scale."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness import Outcome, Unit

# Of middle lightness, so that they show on white and on black alike.
_TEXT = "#7d8590"
_AHEAD = "#2f9e63"
_BEHIND = "#d9822b"


def draw(outcomes: Sequence[Outcome], path: Path, about: str) -> None:
    """A horizontal bar for each peer of each case, from 1 (the same cost) to the ratio; a tick for the bar to be met."""
    lines = [
        (outcome.case.name, peer.name, outcome.ratio(place), peer.bar)
        for outcome in outcomes
        if outcome.case.unit is not Unit.MEMORY
        for place, peer in enumerate(outcome.case.peers, 1)
    ]
    figure, axes = _figure(len(lines))
    previous = None
    labels: list[str] = []
    for place, (case, peer, ratio, bar) in enumerate(lines):
        axes.barh(place, ratio - 1, left=1, height=0.62, color=_AHEAD if ratio <= 1 else _BEHIND)
        beyond = ratio * 0.96 if ratio < 1 else ratio * 1.04
        axes.text(beyond, place, f"{ratio:.2g}", va="center", ha="right" if ratio < 1 else "left", color=_TEXT, fontsize=8)
        if bar is not None:
            axes.plot([bar, bar], [place - 0.42, place + 0.42], color=_TEXT, linewidth=1.6)
        labels.append(f"{case}\n{peer}" if case != previous else peer)
        previous = case
    axes.set_yticks(range(len(lines)), labels, fontsize=8, color=_TEXT)
    axes.invert_yaxis()
    axes.set_title(f"cost of concurrency / cost of the peer (less is better)\n{about}", fontsize=9, color=_TEXT, loc="left")
    figure.savefig(path, transparent=True, bbox_inches="tight", dpi=150)


def _figure(lines: int) -> tuple[Any, Any]:
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")
    figure, axes = import_module("matplotlib.pyplot").subplots(figsize=(9, 0.36 * lines + 1))
    axes.set_xscale("log")
    axes.axvline(1, color=_TEXT, linewidth=0.8)
    axes.grid(visible=True, axis="x", color=_TEXT, alpha=0.25)
    axes.tick_params(colors=_TEXT)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure, axes
