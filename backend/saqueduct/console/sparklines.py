"""Sparklines: small columns without axes."""

from collections.abc import Sequence
from typing import Final, NamedTuple

WIDTH: Final = 1000.0
HEIGHT: Final = 100.0
"""Of every plot, in units of its drawing."""

GAP: Final = 0.18
"""Share of a step that is left free between two columns."""

LEAST: Final = 8.0
"""Height of the smallest column."""


class Box(NamedTuple):
    """A rectangle of a plot."""

    kind: str
    x: float
    y: float
    width: float
    height: float


def spark(values: Sequence[float], kind: str) -> list[Box]:
    """Columns, the largest as high as the plot; none for zero."""
    top = max(values, default=0)
    width = WIDTH / max(1, len(values))
    heights = [max(LEAST, value / top * HEIGHT) if value else 0.0 for value in values]
    shapes = [
        (number * width, HEIGHT - height, width * (1 - GAP), height) for number, height in enumerate(heights) if height
    ]
    return [Box(kind, *(round(each, 1) for each in shape)) for shape in shapes]
