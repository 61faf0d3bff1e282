"""Fields as small images, one pixel for a cell, with the colours and numbers of their colour bar.

Shape letters: F frames, X and Y cells along the horizontal and the vertical axis.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

from pipeline.plots.labels import rounded_text, unit_words

Colours = Literal["viridis", "RdBu_r"]

#: The share of the larger sign that the smaller sign needs for a symmetric scale.
_SIGNED_SHARE = 0.05
#: The colour of values that are not finite, the last colour of the palette.
_NOT_FINITE = (128, 128, 128)
_NUM_COLOURS = 255
#: The largest ratio of width and height, in both directions.
_MAX_ASPECT = 2.5


@dataclass(frozen=True)
class Scale:
    """The limits and the colours of a map; a symmetric scale has its middle colour at 0."""

    low: float
    high: float
    colours: Colours

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        """Return the scale of values: symmetric and diverging if both signs occur, otherwise sequential."""
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        if low < 0 < high and min(-low, high) > _SIGNED_SHARE * max(-low, high):
            return cls.symmetric(values)
        return cls(low, high if high > low else low + (abs(low) or 1.0), "viridis")

    @classmethod
    def symmetric(cls, values: np.ndarray) -> Scale:
        """Return the symmetric scale up to the largest finite absolute value."""
        largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
        return cls(-largest, largest, "RdBu_r")


@dataclass(frozen=True)
class FieldMap:
    """The frames of a field as one image, below each other, and its colour bar.

    Attributes:
        title: the name of the picture.
        png: the image, one pixel for a cell.
        num_frames: the number of frames.
        aspect: width divided by height of a frame on the page.
        is_coarse: whether cells are so large that they are drawn with sharp edges.
        colours: the CSS colours of the colour bar, from low to high.
        limits: the texts at the lower end, the middle and the upper end of the colour bar.
    """

    title: str
    png: bytes
    num_frames: int
    aspect: float
    is_coarse: bool
    colours: tuple[str, ...]
    limits: tuple[str, str, str]


def draw_map(
    title: str,
    frames: np.ndarray,
    scale: Scale,
    *,
    unit: str,
    extent: tuple[float, float],
    max_pixels: int,
) -> FieldMap:
    """Return frames (F, X, Y) of a field as a map.

    Args:
        title: the name of the picture.
        frames: the values; the first axis of a frame points to the right, the second one upwards.
        scale: the limits and the colours.
        unit: the unit of the values.
        extent: the size of the box along both axes.
        max_pixels: the largest number of pixels of all frames; more cells are averaged.
    """
    coarse = _averaged(frames, max(1, math.ceil(math.sqrt(frames.size / max_pixels))))
    is_finite = np.isfinite(coarse)
    with np.errstate(invalid="ignore", over="ignore"):
        share = np.clip((np.where(is_finite, coarse, 0.0) - scale.low) / (scale.high - scale.low), 0, 1)
    indices = np.where(is_finite, np.rint(share * (_NUM_COLOURS - 1)), _NUM_COLOURS).astype(np.uint8)
    image = Image.fromarray(np.concatenate([frame.T[::-1] for frame in indices]))
    palette = matplotlib.colormaps[scale.colours](np.linspace(0, 1, _NUM_COLOURS), bytes=True)[:, :3]
    image.putpalette([*palette.ravel().tolist(), *_NOT_FINITE])
    png = io.BytesIO()
    image.save(png, format="png", optimize=False)
    colours = matplotlib.colormaps[scale.colours](np.linspace(0, 1, 9))
    middle = (scale.low + scale.high) / 2
    return FieldMap(
        title=title,
        png=png.getvalue(),
        num_frames=len(frames),
        aspect=float(np.clip(extent[0] / extent[1], 1 / _MAX_ASPECT, _MAX_ASPECT)),
        is_coarse=max(coarse.shape[1:]) <= 96,
        colours=tuple(to_hex(colour) for colour in colours),
        limits=(
            rounded_text(scale.low),
            rounded_text(middle),
            f"{rounded_text(scale.high)} {unit_words(unit)}".rstrip(),
        ),
    )


def _averaged(frames: np.ndarray, factor: int) -> np.ndarray:
    """Return the means (F, X / factor, Y / factor) of blocks of cells, in float64."""
    values = np.asarray(frames, dtype=np.float64)
    if factor == 1:
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        for axis in (1, 2):
            starts = np.arange(0, values.shape[axis], factor)
            counts = np.diff(np.append(starts, values.shape[axis]))
            shape = [-1 if other == axis else 1 for other in range(3)]
            values = np.add.reduceat(values, starts, axis=axis) / counts.reshape(shape)
    return values
