"""A solver whose trajectories are stored on a coarser grid than its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NoReturn

import numpy as np

from pipeline.coarsening.description import coarse_spec, coarsening_of, stored_coefficients
from pipeline.coarsening.means import arithmetic_mean
from pipeline.coarsening.spectral_map import SpectralMap
from pipeline.coarsening.trajectory import CoarseSteppedTrajectory, CoarseTrajectory, Map, Maps
from simsurrogate.errors import UserError
from simsurrogate.spec import Coarsening
from solvers.contract import DiscretisationError, Parameters, Setting, Solver, SteppedTrajectory
from solvers.numerics.resample import AffineMap, mean_matrix
from solvers.returned_values import check_trajectory


def coarsened(solver: Solver, output: Mapping[str, Any]) -> Solver:
    """Return the solver with frames on the grid of `output`, or the solver itself without coarsening.

    All ranks of the solver's communicator call this function together.

    Raises:
        UserError: the coarsening does not fit the solver, see `coarsening_of`.
    """
    coarsening = coarsening_of(solver, output)
    return CoarseSolver(solver, coarsening) if coarsening else solver


class CoarseSolver(Solver):
    """A solver of a grid with frames and coefficient fields on a coarser grid.

    `sample` draws the parameters of the solver. The solver computes each trajectory on its own grid.
    """

    def __init__(self, fine: Solver, coarsening: Coarsening):
        self.fine, self._coarsening = fine, coarsening
        self.communicator, self.method = fine.communicator, fine.method
        self.spec = coarse_spec(fine.spec, coarsening)
        blocks = fine.communicator.allgather(fine.block)
        coarse_blocks = [
            tuple(
                slice(cells.start // count, cells.stop // count)
                for cells, count in zip(block, coarsening.cells, strict=True)
            )
            for block in blocks
        ]
        self.block = coarse_blocks[fine.communicator.rank]
        to_coarse: Map = partial(arithmetic_mean, cells=coarsening.cells)
        to_fine = None
        if coarsening.method == "spectral_truncation":
            own_cells, cells = fine.spec.shape, self.spec.shape
            to_coarse = SpectralMap(fine.communicator, own_cells, cells, fine.block, coarse_blocks)
            to_fine = SpectralMap(fine.communicator, cells, own_cells, self.block, blocks)
        self._maps = Maps(
            spec=fine.spec,
            block_shape=tuple(cells.stop - cells.start for cells in fine.block),
            to_coarse=to_coarse,
            coefficients=self._coarse_coefficients,
            to_fine=to_fine,
            name=f"output.coarsen=[{','.join(map(str, coarsening.cells))}]",
        )

    def _coarse_coefficients(self, values: np.ndarray) -> np.ndarray:
        """Return the stored coefficient fields (K, *block) of those of the solver."""
        fields = [
            (stored.mean or self._maps.to_coarse)(values[stored.channels])
            for stored in stored_coefficients(self.fine.spec, self._coarsening)
        ]
        block_shape = [cells.stop - cells.start for cells in self.block]
        return np.concatenate([np.empty((0, *block_shape)), *fields])

    def program_identity(self) -> dict[str, Any]:
        """Return what identifies the program of the solver, see `Solver.program_identity`."""
        return self.fine.program_identity()

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the parameters of the solver, see `Solver.sample`."""
        return self.fine.sample(rng, outside)

    def prepare(self, parameters: Parameters) -> CoarseTrajectory:
        """Return the trajectory with coarse frames, see `Solver.prepare`."""
        trajectory = check_trajectory(self.fine, self.fine.prepare(parameters))
        cls = CoarseSteppedTrajectory if isinstance(trajectory, SteppedTrajectory) else CoarseTrajectory
        return cls(trajectory, self._maps)

    def cautions(self, duration: float) -> Iterator[str]:
        """Yield the cautions of the solver, see `Solver.cautions`."""
        return self.fine.cautions(duration)

    def discretisation_error(self, parameters: Parameters, times: np.ndarray) -> DiscretisationError | None:
        """Return the estimated error on the solver's own grid, see `Solver.discretisation_error`."""
        return self.fine.discretisation_error(parameters, times)

    def with_other_accuracy(self) -> tuple[Solver, float]:
        """Return the solver with another accuracy and the same coarse frames, see `Solver`."""
        other, share = self.fine.with_other_accuracy()
        return CoarseSolver(other, self._coarsening), share

    def cheaper_settings(self) -> Iterator[Setting]:
        """Yield the cheaper settings of the solver, with their states on the coarser grid, see `Solver`."""
        return map(self._with_coarse_states, self.fine.cheaper_settings())

    def reference_setting(self) -> Setting | None:
        """Return the reference setting of the solver, with its states on the coarser grid, see `Solver`."""
        setting = self.fine.reference_setting()
        return self._with_coarse_states(setting) if setting else None

    def residual(
        self, fields: Mapping[str, Any], derivative: Callable[..., Any], parameters: Mapping[str, Any]
    ) -> NoReturn:
        """Refuse the fields, because averages do not satisfy the solver's equation.

        Raises:
            UserError: always.
        """
        self._refuse("the residual of the equation")

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> NoReturn:
        """Refuse the points, because the stored initial states are averages.

        Raises:
            UserError: always.
        """
        self._refuse("the initial condition at arbitrary points")

    def _refuse(self, quantity: str) -> NoReturn:
        raise UserError(
            f"{quantity} of {self.spec.name} belongs to the solver's own grid, and the data are stored with "
            f"{self._maps.name}. Generate the data with output.coarsen=1"
        )

    def _with_coarse_states(self, setting: Setting) -> Setting:
        """Return a setting of the solver whose states are mapped to the coarser grid."""
        return dataclasses.replace(setting, to_sites=self._map_of(setting))

    def _map_of(self, setting: Setting) -> Map:
        """Return the map from the grid of a setting to the coarser grid.

        Blocks of whole cells are averaged, and spectra are truncated or continued by zeros. States on any
        other grid are interpolated to the solver's own grid and averaged, in one map if the interpolation is
        affine.
        """
        cells, coarse_cells = setting.solver.spec.shape, self.spec.shape
        if self._coarsening.method == "spectral_truncation":
            return SpectralMap(None, cells, coarse_cells)
        if all(count % coarse_count == 0 for count, coarse_count in zip(cells, coarse_cells, strict=True)):
            blocks = [count // coarse_count for count, coarse_count in zip(cells, coarse_cells, strict=True)]
            return partial(arithmetic_mean, cells=blocks)
        if isinstance(setting.to_sites, AffineMap):
            counts = zip(self.fine.spec.shape, self._coarsening.cells, strict=True)
            return setting.to_sites.followed_by([mean_matrix(*pair) for pair in counts])
        return lambda state: self._maps.to_coarse(setting.to_sites(state))
