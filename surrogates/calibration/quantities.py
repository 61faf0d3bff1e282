"""The quantities of interest of predicted states.

Shape letters: B cases, T frames, C channels, Q quantities.
"""

from __future__ import annotations

import math

import torch

from simsurrogate.regions import region_cells
from simsurrogate.spec import QuantityOfInterest, Spec


def frame_quantities(spec: Spec) -> list[QuantityOfInterest]:
    """Return the quantities that reduce a channel of a single frame: a largest, smallest or mean value."""
    return [quantity for quantity in spec.quantities if quantity.reduce in ("max", "min", "mean")]


def reduced_states(spec: Spec, states: torch.Tensor) -> torch.Tensor:
    """Return the `frame_quantities` (B, T, Q) of states (B, T, C, *sites)."""
    values = []
    for quantity in frame_quantities(spec):
        field = states[:, :, spec.channels.index(quantity.of)]
        for axis, cells in enumerate(region_cells(spec, quantity), start=2):
            field = field.index_select(axis, torch.from_numpy(cells.nonzero()[0]).to(field.device))
        field = field.reshape(*field.shape[:2], math.prod(field.shape[2:]))
        match quantity.reduce:
            case "max":
                values.append(field.amax(-1))
            case "min":
                values.append(field.amin(-1))
            case _:
                values.append(field.mean(-1))
    return torch.stack(values, dim=-1)
