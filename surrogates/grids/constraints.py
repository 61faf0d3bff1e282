"""Hard constraints on what a surrogate of a grid gives: they hold to round-off, trained or not.

Shape letters: B batch, C channels, D components of a vector; X stands for all sites. States are normalised,
(u - mean) / std, with channels last; leading axes are free.
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

#: A parabola through the three outermost cell centres, at the wall half a cell outside.
_TO_THE_WALL = np.array([15.0, -10.0, 3.0]) / 8


class Constraints(nn.Module):
    """Puts a state where its constraints hold: of all such states, that nearest to what was given, by the sum
    of the squares of the differences in physical units. Normalised, another would be the nearest where the
    standard deviations of a velocity's components differ.

    mean: the mean over the box of each conserved channel is that at the start.
    boundary: the parabola through the three outermost cells along a dirichlet axis has the wall's value at
        the wall, half a cell outside. Where walls of different values meet, nothing is asked of the lines of
        cells along either that start within three cells of the other.
    divergence: the divergence of a velocity is zero, its derivatives being those of the Fourier series
        through the cells: Leray's projection, u - k (k . u) / |k|^2 for each wave number k.

    As the truth keeps them (the walls' to third order in the cells' width), each brings a state nearer to it,
    so measured.

    Args:
        problem: whose grid it is.
        names: of the constraints.
        met: those that the form of the surrogate meets by itself.

    Raises:
        UserError: a constraint of which the problem or the surrogate has no use.
    """

    def __init__(self, problem: Problem, names: Sequence[Constraint], met: Sequence[Constraint] = ()):
        super().__init__()
        if names and problem.spec.has_particles:
            raise UserError(
                f"surrogate.constraints={list(names)} hold on the cells of a grid, and the sites of these "
                f"{problem.spec.name} data are {problem.spec.shape[0]} particles; leave them out"
            )
        for name in set(names).intersection(met):
            raise UserError(
                f"surrogate.constraints: {name} is met by the form of this surrogate already; leave it out"
            )
        kinds = {"mean": ConservedMean, "boundary": WallValues, "divergence": Solenoidal}
        self.parts = nn.ModuleList(kind(problem) for name, kind in kinds.items() if name in names)

    def forward(self, state_BXC: torch.Tensor, start_BXC: torch.Tensor) -> torch.Tensor:
        """The state with all constraints, from a state and the one it started from; never in the coarser
        products of mixed precision.
        """
        with torch.autocast(state_BXC.device.type, enabled=False):
            for part in self.parts:
                state_BXC = part(state_BXC, start_BXC)
        return state_BXC


class ConservedMean(nn.Module):
    """See `Constraints`, mean."""

    conserved: torch.Tensor

    def __init__(self, problem: Problem):
        super().__init__()
        if not problem.spec.conserved_channels:
            raise UserError(
                f"surrogate.constraints: mean is of no use to these {problem.spec.name} data: the means of "
                f"{', '.join(problem.spec.channels)} change, as walls or sources supply them; leave it out"
            )
        self.site_axes = _site_axes(problem)
        conserved = np.array(
            [float(name in problem.spec.conserved_channels) for name in problem.spec.channels]
        )
        set_constants(self, conserved=conserved)

    def forward(self, state_BXC: torch.Tensor, start_BXC: torch.Tensor) -> torch.Tensor:
        """The state, shifted as a whole."""
        gained = (state_BXC - start_BXC).mean(self.site_axes, keepdim=True)
        return state_BXC - self.conserved * gained


class WallValues(nn.Module):
    """See `Constraints`, boundary."""

    def __init__(self, problem: Problem):
        super().__init__()
        axes = [axis for axis, kind in enumerate(problem.spec.boundaries) if kind == "dirichlet"]
        if not axes:
            raise UserError(
                f"surrogate.constraints: boundary is of no use to these {problem.spec.name} data: none of "
                f"the boundaries {', '.join(problem.spec.boundaries)} is dirichlet; leave it out"
            )
        self.axes = {axis: axis - len(problem.spec.shape) - 1 for axis in axes}
        mean, std = np.array(problem.statistics.mean), nonzero_std(problem.statistics.std)
        for axis in axes:
            cells = problem.spec.shape[axis]
            if cells < len(_TO_THE_WALL):
                raise UserError(
                    f"surrogate.constraints: boundary needs {len(_TO_THE_WALL)} cells between the walls of "
                    f"{problem.spec.axis_names[axis]}, which has {cells}; use a finer grid, or leave it out"
                )
            to_walls = np.zeros((2, cells))
            to_walls[0, : len(_TO_THE_WALL)] = _TO_THE_WALL
            to_walls[1, -len(_TO_THE_WALL) :] = _TO_THE_WALL[::-1]
            values = (np.array(problem.spec.boundary_values[axis]) - mean[:, None]) / std[:, None]
            constants = {
                "to_walls": to_walls.T,
                "from_walls": np.linalg.pinv(to_walls).T,
                "values": values,
                "asked": _asked(problem, axis),
            }
            set_constants(self, **{f"{name}_{axis}": array for name, array in constants.items()})

    def forward(self, state_BXC: torch.Tensor, start_BXC: torch.Tensor) -> torch.Tensor:
        """The state, changed in the cells next to the walls."""
        for axis, place in self.axes.items():
            lines = state_BXC.movedim(place, -1)
            wrong = lines @ self.get_buffer(f"to_walls_{axis}") - self.get_buffer(f"values_{axis}")
            wrong = wrong * self.get_buffer(f"asked_{axis}")
            state_BXC = (lines - wrong @ self.get_buffer(f"from_walls_{axis}")).movedim(-1, place)
        return state_BXC


class Solenoidal(nn.Module):
    """See `Constraints`, divergence."""

    directions: torch.Tensor
    channels: torch.Tensor
    scale: torch.Tensor

    def __init__(self, problem: Problem):
        super().__init__()
        if not problem.spec.divergence_free_channels:
            raise UserError(
                f"surrogate.constraints: divergence is of no use to these {problem.spec.name} data: none of "
                f"{', '.join(problem.spec.channels)} is a vector without divergence; leave it out"
            )
        if set(problem.spec.boundaries) != {"periodic"}:
            raise UserError(
                "surrogate.constraints: divergence is projected away by Fourier series, which need periodic "
                f"axes; here they are {', '.join(problem.spec.boundaries)}: leave it out"
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
        """The state without the gradients that its velocities hold."""
        for channels, scale in zip(self.channels, self.scale, strict=True):
            velocity_BXD = state_BXC.index_select(-1, channels) * scale
            modes = torch.fft.rfftn(velocity_BXD, dim=self.site_axes)
            along = (modes * self.directions).sum(-1, keepdim=True) * self.directions
            sizes = [state_BXC.shape[axis] for axis in self.site_axes]
            gradient_BXD = torch.fft.irfftn(along, s=sizes, dim=self.site_axes)
            state_BXC = state_BXC.index_add(-1, channels, -gradient_BXD / scale)
        return state_BXC


def _asked(problem: Problem, axis: int) -> np.ndarray:
    """1 for each line of cells along `axis` that is to meet its walls, else 0; shape (*other sites, 1, 1)."""
    asked = np.ones([1 if other == axis else size for other, size in enumerate(problem.spec.shape)])
    for other, kind in enumerate(problem.spec.boundaries):
        if other == axis or kind != "dirichlet":
            continue
        near = len(_TO_THE_WALL)
        for value, cells in zip(
            problem.spec.boundary_values[other], (slice(None, near), slice(-near, None)), strict=True
        ):
            if any(value != mine for mine in problem.spec.boundary_values[axis]):
                asked[(slice(None),) * other + (cells,)] = 0.0
    return np.squeeze(asked, axis)[..., None, None]


def _directions(problem: Problem) -> np.ndarray:
    """K / |k| of each wave number of a real transform over all axes, (*modes, D), and 0 where k is.

    The derivative of the shortest wave of an even number of cells is not seen at the cells: its k is 0.
    """
    along = []
    for number, (size, length) in enumerate(zip(problem.spec.shape, problem.spec.extent, strict=True)):
        transform = np.fft.rfftfreq if number == len(problem.spec.shape) - 1 else np.fft.fftfreq
        wave_numbers = transform(size, length / size)
        along.append(np.where(np.isclose(2 * np.abs(wave_numbers) * length, size), 0.0, wave_numbers))
    k = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1)
    norm = np.linalg.norm(k, axis=-1, keepdims=True)
    directions: np.ndarray = np.divide(k, norm, out=np.zeros_like(k), where=norm > 0)
    return directions


def _site_axes(problem: Problem) -> tuple[int, ...]:
    """The axes of the sites, counted from the end."""
    return tuple(range(-len(problem.spec.shape) - 1, -1))
