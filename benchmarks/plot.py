"""The picture: what this library costs in proportion to each peer, on a logarithmic scale."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness import Outcome

# Of middle lightness, so that they show on white and on black alike.
_TEXT = "#7d8590"
_AHEAD = "#2f9e63"
_BEHIND = "#d9822b"


def draw(outcomes: Sequence[Outcome], path: Path, about: str) -> None:
    """For each peer of each case a bar from 1 (the same cost) to the ratio, and a tick for the ratio to be met."""
    pictured = [outcome for outcome in outcomes if outcome.case.is_pictured]
    figure, axes = _figure(sum(1 + len(outcome.case.peers) for outcome in pictured))
    names: dict[int, str] = {}
    place = 0
    for outcome in pictured:
        axes.text(0, place, outcome.case.name, va="center", transform=axes.get_yaxis_transform(), color=_TEXT, weight="bold")
        for number, peer in enumerate(outcome.case.peers, 1):
            place += 1
            names[place] = peer.name
            ratio = outcome.ratio(number)
            axes.barh(place, ratio - 1, left=1, height=0.7, color=_AHEAD if ratio <= 1 else _BEHIND)
            beyond = min(ratio, 1) * 0.96
            axes.text(beyond, place, f"{ratio:.2g}", va="center", ha="right", color=_TEXT)
            if peer.bar is not None:
                axes.plot([peer.bar, peer.bar], [place - 0.42, place + 0.42], color=_TEXT, linewidth=1.6)
        place += 1
    axes.set_yticks(list(names), list(names.values()))
    axes.set_ylim(place - 0.4, -0.6)
    left, right = axes.get_xlim()
    axes.set_xlim(left * 0.7, right)
    axes.set_title(f"cost of concurrency / cost of the peer, on Python {about}", color=_TEXT, loc="left")
    axes.set_xlabel("left of 1 this library costs less; a tick is the ratio to be reached", color=_TEXT)
    figure.savefig(path, transparent=True, bbox_inches="tight", dpi=110)


def _figure(lines: int) -> tuple[Any, Any]:
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")
    matplotlib.rcParams["font.size"] = 8
    figure, axes = import_module("matplotlib.pyplot").subplots(figsize=(8, 0.19 * lines + 0.8))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color=_TEXT, linewidth=0.8)
    axes.grid(visible=True, axis="x", color=_TEXT, alpha=0.25)
    axes.tick_params(colors=_TEXT, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure, axes
