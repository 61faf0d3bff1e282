"""Hard constraints on the states that a surrogate of a grid predicts: exact to round-off, trained or not.

Shape letters: B batch, C channels, D components of a vector; X stands for all sites. States are normalised,
(u - mean) / std, with channels last. Leading axes are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.arguments import nonzero_std, set_constants
from surrogates.contract import Problem

Constraint = Literal["mean", "boundary", "divergence"]

#: Weights of the three outermost cells in the value at the wall of the parabola through their centres.
_WALL_WEIGHTS = np.array([15.0, -10.0, 3.0]) / 8
#: The same of the parabola with these means over the three cells.
_WALL_WEIGHTS_OF_MEANS = np.array([11.0, -7.0, 2.0]) / 6


class Constraints(nn.Module):
    """An orthogonal projection onto the states that satisfy the constraints.

    The projection is the closest state that satisfies the constraints. The distance is the sum of squared
    differences in physical units. Distances of normalised states would differ if the components of a velocity
    have different standard deviations.

    mean: the mean over the box of each conserved channel equals its mean in the initial state.
    boundary: the parabola through the three outermost cells along a dirichlet axis (with their means, on a
        coarser grid than the solver's) has the wall's value at the wall, half a cell outside. If walls with
        different values meet, lines of cells that start within three cells of the other wall are not
        constrained.
    divergence: the divergence of a velocity is zero, with derivatives of the Fourier series through the
        cells. The projection is Leray's, u - k (k · u) / |k|² for each wave number k.

    The true solution satisfies the constraints (the walls to third order in the cell width). The projection
    therefore never increases the distance to the true solution.

    Args:
        problem: the problem, for its grid and statistics.
        names: the names of the constraints.
        built_in: the constraints that the form of the surrogate satisfies.

    Raises:
        UserError: a constraint that cannot hold on the problem, is built in, or is named twice.
    """

    def __init__(self, problem: Problem, names: Sequence[Constraint], built_in: Sequence[Constraint] = ()):
        super().__init__()
        if names and problem.spec.has_particles:
            raise UserError(
                f"surrogate.constraints={list(names)} hold on the cells of a grid, but the sites of the "
                f"{problem.spec.name} data are {problem.spec.shape[0]} particles. Type "
                "surrogate.constraints=[]."
            )
        if len(set(names)) < len(names):
            raise UserError(
                f"surrogate.constraints={list(names)} names a constraint twice. Each constraint is "
                "allowed once. Remove the repetition."
            )
        for name in names:
            if name in built_in:
                raise UserError(
                    f"surrogate.constraints: {name} is built into the form of this surrogate. "
                    f"Remove {name} from the list."
                )
        classes = {"mean": ConservedMean, "boundary": WallValues, "divergence": DivergenceFree}
        self.projections = nn.ModuleList(
            projection(problem) for name, projection in classes.items() if name in names
        )

    def forward(self, state_BXC: torch.Tensor, start_BXC: torch.Tensor) -> torch.Tensor:
        """Return the projection of a state that was predicted from the state `start_BXC`.

        Mixed precision does not apply to the projection.
        """
        with torch.autocast(state_BXC.device.type, enabled=False):
            for projection in self.projections:
                state_BXC = projection(state_BXC, start_BXC)
        return state_BXC


class ConservedMean(nn.Module):
    """The constraint `mean`, see `Constraints`."""

    is_conserved: torch.Tensor

    def __init__(self, problem: Problem):
        super().__init__()
        if not problem.spec.conserved_channels:
            raise UserError(
                f"surrogate.constraints: mean cannot hold on the {problem.spec.name} data. The means of "
                f"{', '.join(problem.spec.channels)} change, because of walls or sources. Remove "
                "mean from the list."
            )
        self.site_axes = _site_axes(problem)
        is_conserved = np.array(
            [float(name in problem.spec.conserved_channels) for name in problem.spec.channels]
        )
        set_constants(self, is_conserved=is_conserved)

    def forward(self, state_BXC: torch.Tensor, start_BXC: torch.Tensor) -> torch.Tensor:
        """Return the state minus the change of its mean."""
        change = (state_BXC - start_BXC).mean(self.site_axes, keepdim=True)
        return state_BXC - self.is_conserved * change


class WallValues(nn.Module):
    """The constraint `boundary`, see `Constraints`."""

    def __init__(self, problem: Problem):
        super().__init__()
        axes = [axis for axis, boundary in enumerate(problem.spec.boundaries) if boundary == "dirichlet"]
        if not axes:
            raise UserError(
                f"surrogate.constraints: boundary cannot hold on the {problem.spec.name} data. None of the "
                f"boundaries {', '.join(problem.spec.boundaries)} is dirichlet. Remove boundary "
                "from the list."
            )
        self.axes = {axis: axis - len(problem.spec.shape) - 1 for axis in axes}
        mean, std = np.array(problem.statistics.mean), nonzero_std(problem.statistics.std)
        weights = _WALL_WEIGHTS_OF_MEANS if problem.spec.coarsening else _WALL_WEIGHTS
        num_cells = len(weights)
        for axis in axes:
            size = problem.spec.shape[axis]
            if size < num_cells:
                raise UserError(
                    f"surrogate.constraints: boundary needs {num_cells} cells between the walls of "
                    f"{problem.spec.axis_names[axis]}, which has {size}. Use a finer grid, or remove "
                    "boundary from the list."
                )
            to_walls = np.zeros((2, size))
            to_walls[0, :num_cells] = weights
            to_walls[1, -num_cells:] = weights[::-1]
            values = (np.array(problem.spec.boundary_values[axis]) - mean[:, None]) / std[:, None]
            constants = {
                "to_walls": to_walls.T,
                "from_walls": np.linalg.pinv(to_walls).T,
                "values": values,
                "constrained": _constrained_lines(problem, axis),
            }
            set_constants(self, **{f"{name}_{axis}": array for name, array in constants.items()})

    def forward(self, state_BXC: torch.Tensor, start_BXC: torch.Tensor) -> torch.Tensor:
        """Return the state with corrected cells next to the walls."""
        for axis, axis_from_end in self.axes.items():
            lines = state_BXC.movedim(axis_from_end, -1)
            errors = lines @ self.get_buffer(f"to_walls_{axis}") - self.get_buffer(f"values_{axis}")
            errors = errors * self.get_buffer(f"constrained_{axis}")
            corrected_lines = lines - errors @ self.get_buffer(f"from_walls_{axis}")
            state_BXC = corrected_lines.movedim(-1, axis_from_end)
        return state_BXC


class DivergenceFree(nn.Module):
    """The constraint `divergence`, see `Constraints`."""

    directions: torch.Tensor
    channels: torch.Tensor
    scale: torch.Tensor

    def __init__(self, problem: Problem):
        super().__init__()
        if not problem.spec.divergence_free_channels:
            raise UserError(
                f"surrogate.constraints: divergence cannot hold on the {problem.spec.name} data. None of "
                f"{', '.join(problem.spec.channels)} belongs to a divergence-free vector. Remove "
                "divergence from the list."
            )
        if set(problem.spec.boundaries) != {"periodic"}:
            raise UserError(
                "surrogate.constraints: divergence uses Fourier series, which need periodic axes, but the "
                f"boundaries are {', '.join(problem.spec.boundaries)}. Remove divergence from the list."
            )
        self.site_axes = _site_axes(problem)
        vectors = [
            [problem.spec.channels.index(name) for name in vector]
            for vector in problem.spec.divergence_free_channels
        ]
        self.register_buffer("channels", torch.tensor(vectors), persistent=False)
        set_constants(
            self,
            scale=nonzero_std(problem.statistics.std)[np.array(vectors)],
            directions=_directions(problem),
        )

    def forward(self, state_BXC: torch.Tensor, start_BXC: torch.Tensor) -> torch.Tensor:
        """Return the state without the gradient part of its velocities."""
        for channels, scale in zip(self.channels, self.scale, strict=True):
            velocity_BXD = state_BXC.index_select(-1, channels) * scale
            modes = torch.fft.rfftn(velocity_BXD, dim=self.site_axes)
            parallel_modes = (modes * self.directions).sum(-1, keepdim=True) * self.directions
            sizes = [state_BXC.shape[axis] for axis in self.site_axes]
            gradient_BXD = torch.fft.irfftn(parallel_modes, s=sizes, dim=self.site_axes)
            state_BXC = state_BXC.index_add(-1, channels, -gradient_BXD / scale)
        return state_BXC


def _constrained_lines(problem: Problem, axis: int) -> np.ndarray:
    """Return 1 for each constrained line of cells along `axis`, 0 for the others; (*other sites, 1, 1)."""
    is_constrained = np.ones(
        [1 if other_axis == axis else size for other_axis, size in enumerate(problem.spec.shape)]
    )
    num_cells = len(_WALL_WEIGHTS)
    for other_axis, boundary in enumerate(problem.spec.boundaries):
        if other_axis == axis or boundary != "dirichlet":
            continue
        ends = (slice(None, num_cells), slice(-num_cells, None))
        for value, cells in zip(problem.spec.boundary_values[other_axis], ends, strict=True):
            if any(value != own_value for own_value in problem.spec.boundary_values[axis]):
                is_constrained[(slice(None),) * other_axis + (cells,)] = 0.0
    return np.squeeze(is_constrained, axis)[..., None, None]


def _directions(problem: Problem) -> np.ndarray:
    """Return k / |k| of each wave number of a real transform over all axes, (*modes, D), and 0 for k = 0.

    The k of the shortest wave of an even number of cells is set to 0, because this wave has no derivative at
    the cell centres.
    """
    wave_numbers_by_axis = []
    for axis, (size, length) in enumerate(zip(problem.spec.shape, problem.spec.extent, strict=True)):
        transform = np.fft.rfftfreq if axis == len(problem.spec.shape) - 1 else np.fft.fftfreq
        wave_numbers = transform(size, length / size)
        is_shortest = np.isclose(2 * np.abs(wave_numbers) * length, size)
        wave_numbers_by_axis.append(np.where(is_shortest, 0.0, wave_numbers))
    k = np.stack(np.meshgrid(*wave_numbers_by_axis, indexing="ij"), axis=-1)
    norm = np.linalg.norm(k, axis=-1, keepdims=True)
    directions: np.ndarray = np.divide(k, norm, out=np.zeros_like(k), where=norm > 0)
    return directions


def _site_axes(problem: Problem) -> tuple[int, ...]:
    """Return the axes of the sites, counted from the end."""
    return tuple(range(-len(problem.spec.shape) - 1, -1))
