"""A convolutional U-Net: a map over one time step or to all frames, on 1-D, 2-D and 3-D grids.

Shape letters: B batch, I inputs, S static inputs, C channels, O outputs, Q conditions; X stands for all
sites.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.arguments import check_minimum
from surrogates.autoregressive import AutoregressiveSurrogate, Predicts
from surrogates.contract import Problem
from surrogates.grids.constraints import Constraint
from surrogates.networks.film import Coefficients, FiLM, modulate

_CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLINGS: tuple[type[nn.Module], ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


class UNet(AutoregressiveSurrogate):
    """Convolutions on coarser and coarser grids and back, with skip connections between equal grids.

    Each convolution is padded across a periodic axis with the cells at the other end, and at a wall with the
    outermost cell. A level halves the grid, rounded up, and works with any number of cells.

    Options:
        width: channels on the finest grid; each level doubles them.
        levels: the number of times that the grid is halved.
        constraints: constraints that hold exactly, see `Constraints`.
        predicts: `next_frame`, or `all_frames` in one pass, see `AutoregressiveSurrogate`.

    Raises:
        UserError: a width below 1; more levels than the grid allows; a constraint that cannot hold.

    Source: Ronneberger et al. 2015 (arXiv 1505.04597); for PDEs: Gupta & Brandstetter 2022
    (arXiv 2209.15616).
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int,
        levels: int,
        constraints: Sequence[Constraint] = (),
        predicts: Predicts = "next_frame",
    ):
        super().__init__(problem, constraints, predicts)
        max_levels = min(problem.spec.shape).bit_length() - 1
        check_minimum(1, width=width)
        if not 0 <= levels <= max_levels:
            raise UserError(
                f"surrogate.levels={levels} is out of range. The grid {problem.spec.shape} can be halved "
                f"0 to {max_levels} times. Type surrogate.levels={max_levels}."
            )
        periodic = tuple(boundary == "periodic" for boundary in problem.spec.boundaries)
        widths = [width * 2**level for level in range(levels + 1)]

        def convolution_block(num_in: int, num_out: int) -> ConvolutionBlock:
            return ConvolutionBlock(num_in, num_out, self.inputs.num_conditions, periodic)

        self.down = nn.ModuleList(
            convolution_block(num_in, num_out)
            for num_in, num_out in zip([self.inputs.num_fields, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            convolution_block(3 * finer_width, finer_width) for finer_width in reversed(widths[:-1])
        )
        self.pooling = _POOLINGS[len(periodic) - 1](2, ceil_mode=True, count_include_pad=False)
        self.projection = nn.Linear(width, self.num_frames * len(problem.spec.channels))

    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Return the normalised changes of the frames of a pass, (B, *sites, O)."""
        return self._changes(inputs_BXI, self._coefficients(conditions_BQ))

    def prepare(
        self, static_BXS: torch.Tensor, conditions_BQ: torch.Tensor
    ) -> tuple[torch.Tensor, list[Coefficients]]:
        """Return the static inputs and the coefficients of FiLM, see `AutoregressiveSurrogate.prepare`."""
        return static_BXS, self._coefficients(conditions_BQ)

    def prepared_increment(
        self, state_BXC: torch.Tensor, prepared: tuple[torch.Tensor, list[Coefficients]]
    ) -> torch.Tensor:
        """Return the normalised changes as `increment`."""
        static_BXS, coefficients = prepared
        return self._changes(torch.cat([state_BXC, static_BXS], dim=-1), coefficients)

    def _coefficients(self, conditions_BQ: torch.Tensor) -> list[Coefficients]:
        """Return the coefficients of FiLM in each block, on the way down and up."""
        return [block.film.coefficients(conditions_BQ) for block in (*self.down, *self.up)]

    def _changes(self, inputs_BXI: torch.Tensor, coefficients: list[Coefficients]) -> torch.Tensor:
        hidden = inputs_BXI.movedim(-1, 1)
        skip_fields: list[torch.Tensor] = []
        num_down = len(self.down)
        for level, block in enumerate(self.down):
            hidden = block(self.pooling(hidden) if level else hidden, coefficients[level])
            skip_fields.append(hidden)
        skip_fields.pop()
        for block, block_coefficients in zip(self.up, coefficients[num_down:], strict=True):
            finer_field = skip_fields.pop()
            hidden = nn.functional.interpolate(hidden, size=finer_field.shape[2:], mode="nearest")
            hidden = block(torch.cat([finer_field, hidden], dim=1), block_coefficients)
        changes_BXO: torch.Tensor = self.projection(hidden.movedim(1, -1))
        return changes_BXO


class ConvolutionBlock(nn.Module):
    """Two convolutions over 3 cells per axis, each followed by a GELU; conditions modulate the first one."""

    def __init__(self, num_in: int, num_out: int, num_conditions: int, periodic: tuple[bool, ...]):
        super().__init__()
        convolution = _CONVOLUTIONS[len(periodic) - 1]
        self.periodic = periodic
        self.first = convolution(num_in, num_out, 3)
        self.film = FiLM(num_conditions, num_out)
        self.second = convolution(num_out, num_out, 3)

    def forward(self, hidden: torch.Tensor, coefficients: Coefficients) -> torch.Tensor:
        """Return fields (B, num_out, *sites) of fields (B, num_in, *sites), with the coefficients of FiLM."""
        hidden = self.first(_pad(hidden, self.periodic))
        conditioned = modulate(hidden.movedim((0, 1), (-2, -1)), coefficients)
        hidden = nn.functional.gelu(conditioned).movedim((-2, -1), (0, 1))
        out: torch.Tensor = nn.functional.gelu(self.second(_pad(hidden, self.periodic)))
        return out


def _pad(field: torch.Tensor, periodic: tuple[bool, ...]) -> torch.Tensor:
    """Return the field with a further cell at both ends of each axis: periodic, or the outermost cell."""
    if not torch.is_grad_enabled():
        return _padded_copy(field, periodic)
    for axis, is_periodic in enumerate(periodic, start=2):
        lower_cells, upper_cells = field.narrow(axis, 0, 1), field.narrow(axis, field.shape[axis] - 1, 1)
        field = torch.cat(
            [upper_cells, field, lower_cells] if is_periodic else [lower_cells, field, upper_cells], dim=axis
        )
    return field


def _padded_copy(field: torch.Tensor, periodic: tuple[bool, ...]) -> torch.Tensor:
    """Return the result of `_pad` by one copy of the field, in the fastest memory format of a convolution."""
    sizes = field.shape[2:]
    channels_last = field.new_empty(len(field), *(size + 2 for size in sizes), field.shape[1])
    padded = channels_last.movedim(-1, 1)
    inner = padded
    for axis, size in enumerate(sizes, start=2):
        inner = inner.narrow(axis, 1, size)
    inner.copy_(field)
    for axis, (size, is_periodic) in enumerate(zip(sizes, periodic, strict=True), start=2):
        lower_source, upper_source = (size, 1) if is_periodic else (1, size)
        padded.narrow(axis, 0, 1).copy_(padded.narrow(axis, lower_source, 1))
        padded.narrow(axis, size + 1, 1).copy_(padded.narrow(axis, upper_source, 1))
    return padded
