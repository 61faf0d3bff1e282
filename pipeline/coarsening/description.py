"""The coarser grid of an output: the check of the options, and the spec of the stored fields."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pipeline.coarsening.means import Mean, conductivity_means
from pipeline.coarsening.symmetries import coarse_symmetries
from simsurrogate.errors import UserError
from simsurrogate.spec import Coarsening, Field, Grid, Spec
from solvers.contract import Solver

#: A conductivity whose largest value is at least this many times its smallest is stored as its logarithm.
LEAST_RATIO_OF_LOGARITHMS = 10.0

#: The largest number of allowed values in an error message.
_MAX_ALLOWED = 16


class StoredCoefficients(NamedTuple):
    """A stored coefficient field, and the channels of the solver's coefficient field that determine it.

    `mean` is None for a field that is stored like the fields of the state.
    """

    field: Field
    channels: slice
    mean: Callable[[np.ndarray], np.ndarray] | None


def is_coarse(output: Mapping[str, Any]) -> bool:
    """Return whether the section `output` asks for coarser cells than the solver's."""
    coarsen = output.get("coarsen", 1)
    return any(count != 1 for count in ([coarsen] if isinstance(coarsen, int) else coarsen))


def coarsening_of(solver: Solver, output: Mapping[str, Any]) -> Coarsening | None:
    """Return the coarsening of the section `output`, or None for fields on the solver's own grid.

    All ranks of the solver's communicator call this function together.

    Raises:
        UserError: the coarsening does not fit the solver's grid or the blocks of its ranks, the sites are
            particles, or the method has no effect.
    """
    coarsen, method = output.get("coarsen", 1), output.get("coarsen_method", "automatic")
    spec = solver.spec
    cells = [coarsen] * len(spec.shape) if isinstance(coarsen, int) else list(coarsen)
    typed = f"output.coarsen={coarsen}".replace(" ", "")
    if not is_coarse(output):
        if method != "automatic":
            raise UserError(
                f"output.coarsen_method={method} has no effect with {typed}. Only its default automatic is "
                "allowed. Type output.coarsen_method=automatic, or a larger output.coarsen"
            )
        return None
    if spec.has_particles:
        raise UserError(
            f"{typed} does not apply to the particles of {spec.name}. Only the cells of a grid can be "
            "averaged, so 1 is allowed. Type output.coarsen=1"
        )
    if len(cells) != len(spec.shape):
        raise UserError(
            f"{typed} has {len(cells)} {'number' if len(cells) == 1 else 'numbers'}, and the grid has "
            f"{len(spec.shape)} {'axis' if len(spec.shape) == 1 else 'axes'}. One number for each axis, or "
            f"one number for all axes, is allowed. Type output.coarsen={cells[0]}"
        )
    _check_cells(typed, cells, spec)
    _check_blocks(typed, cells, solver)
    is_spectral = math.isinf(solver.order_in_space) and set(spec.boundaries) == {"periodic"}
    return Coarsening(
        tuple(cells),
        "spectral_truncation" if is_spectral and method == "automatic" else "cell_averages",
    )


def _check_cells(typed: str, cells: Sequence[int], spec: Spec) -> None:
    for axis, count in zip(spec.axes, cells, strict=True):
        if axis.size % count:
            raise UserError(
                f"{typed} does not divide the {axis.size} cells of the solver's grid along {axis.name}. "
                f"Divisors of {axis.size} are allowed: {_divisors_text(axis.size, count)}. Type one of these "
                "numbers, or another solver.resolution"
            )


def _check_blocks(typed: str, cells: Sequence[int], solver: Solver) -> None:
    """Check that no cell of the coarser grid lies on two ranks."""
    blocks = solver.communicator.allgather(solver.block)
    for axis, count in enumerate(cells):
        bounds = [int(bound) for block in blocks for bound in (block[axis].start, block[axis].stop)]
        common_divisor = math.gcd(*bounds)
        if common_divisor % count:
            name = solver.spec.axis_names[axis]
            sizes = sorted({block[axis].stop - block[axis].start for block in blocks})
            raise UserError(
                f"{typed} does not divide the blocks of {' or '.join(map(str, sizes))} cells along {name} of "
                f"the {len(blocks)} ranks that share a trajectory (group_size). A stored cell may not lie on "
                f"two ranks, so these numbers are allowed: {_divisors_text(common_divisor, count)}. Type one "
                "of these numbers, or another group_size"
            )


def _divisors_text(number: int, near: int) -> str:
    """Return the divisors of a number, or those nearest to `near`, in words."""
    divisors = [candidate for candidate in range(1, number + 1) if number % candidate == 0]
    nearest = sorted(divisors, key=lambda divisor: abs(divisor - near))[:_MAX_ALLOWED]
    return ", ".join(map(str, sorted(nearest))) + (", ..." if len(nearest) < len(divisors) else "")


def coarse_spec(spec: Spec, coarsening: Coarsening) -> Spec:
    """Return the spec of the stored fields.

    The average of a velocity without divergence has a divergence on the coarser grid. Spectral truncation
    keeps the divergence 0.
    """
    axes = (
        dataclasses.replace(axis, size=axis.size // count)
        for axis, count in zip(spec.axes, coarsening.cells, strict=True)
    )
    fields = spec.fields
    if coarsening.method == "cell_averages":
        fields = tuple(dataclasses.replace(field, divergence_free=False) for field in fields)
    return dataclasses.replace(
        spec,
        sites=Grid(tuple(axes)),
        fields=fields,
        coefficient_fields=tuple(stored.field for stored in stored_coefficients(spec, coarsening)),
        coarsening=coarsening,
        symmetries=tuple(coarse_symmetries(spec, coarsening.cells)),
    )


def stored_coefficients(spec: Spec, coarsening: Coarsening) -> Iterator[StoredCoefficients]:
    """Yield each stored coefficient field; `spec` is that of the solver.

    A conductivity is stored as its arithmetic, harmonic and directional means. A conductivity over a decade
    or more is stored as the natural logarithms of these means.
    """
    first = 0
    for field in spec.coefficient_fields:
        channels = slice(first, first + len(spec.components(field)))
        first = channels.stop
        if field.conductivity_range is None or field.tensor_order:
            yield StoredCoefficients(field, channels, None)
            continue
        low, high = field.conductivity_range
        is_logarithm = high >= LEAST_RATIO_OF_LOGARITHMS * low
        for suffix, words, mean in conductivity_means(spec.axis_names):
            direction = suffix.removeprefix("series_") if suffix.startswith("series_") else ""
            yield StoredCoefficients(
                dataclasses.replace(_mean_field(field, suffix, words, is_logarithm), direction=direction),
                channels,
                partial(_mean_or_logarithm, mean=mean, cells=coarsening.cells, is_logarithm=is_logarithm),
            )


def _mean_field(field: Field, suffix: str, words: str, is_logarithm: bool) -> Field:
    name, description = f"{field.name}_{suffix}", f"{field.description}: {words}"
    if is_logarithm:
        return Field(f"log_{name}", "1", f"{description}, natural logarithm of its value in {field.unit}")
    return Field(name, field.unit, description)


def _mean_or_logarithm(
    values: np.ndarray, mean: Mean, cells: Sequence[int], is_logarithm: bool
) -> np.ndarray:
    result = mean(values, cells)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(result) if is_logarithm else result
