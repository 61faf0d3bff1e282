"""Random compositions of symmetries, one for each window of a batch, see `simsurrogate.symmetries`.

Shape letters: B windows, R random numbers of a window, d directions, N sites along an axis, P powers of a
map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simsurrogate.spec import Spec
from simsurrogate.symmetries import CellMap, ParticleMap, SignChange

AnySymmetry = CellMap | SignChange | ParticleMap


@dataclass(frozen=True)
class Composition:
    """The composition of symmetries for each window.

    Attributes:
        source: for each axis the numbers (B, N); their sum over the axes is the flat index of the site whose
            values a site receives. Empty if the sites keep their values.
        turn: the matrix (B, d, d) that multiplies vectors; None if vectors keep their directions.
        signs: the sign (B,) of each field whose sign may change.
        boost: the velocity (B, d) in standard deviations of the velocity; None without a boost.
    """

    source: tuple[np.ndarray, ...]
    turn: np.ndarray | None
    signs: Mapping[str, np.ndarray]
    boost: np.ndarray | None


def num_draws(symmetry: AnySymmetry, spec: Spec) -> int:
    """Return the random numbers of a window that determine the operation of a symmetry."""
    if not isinstance(symmetry, ParticleMap):
        return 1
    dimension = len(spec.sites.directions)
    return {
        "rotation": dimension * (dimension - 1) // 2,
        "reflection": 1,
        "permutation": spec.shape[0],
        "boost": dimension,
    }[symmetry.name]


def compose(draws: Mapping[AnySymmetry, np.ndarray], spec: Spec) -> Composition:
    """Return the composition that numbers (B, R) in [0, 1) determine, for each symmetry in its order."""
    turn, source = _cells(draws, spec.shape) if not spec.has_particles else _particles(draws, spec)
    signs: dict[str, np.ndarray] = {}
    for symmetry, draws_BR in draws.items():
        if isinstance(symmetry, SignChange):
            sign_B = np.where(draws_BR[:, 0] < 0.5, 1.0, -1.0)
            signs |= {name: sign_B * signs.get(name, 1.0) for name in symmetry.fields}
    if turn is not None:
        parity_B = np.linalg.det(turn).round()
        for field in (*spec.fields, *spec.coefficient_fields):
            if field.pseudo:
                signs[field.name] = parity_B * signs.get(field.name, 1.0)
    uniform = draws.get(ParticleMap("boost"))
    # A uniform number in [0, 1) has the variance 1 / 12.
    boost = None if uniform is None else math.sqrt(12) * (uniform - 0.5)
    return Composition(source, turn, signs, boost)


def _cells(
    draws: Mapping[AnySymmetry, np.ndarray], shape: tuple[int, ...]
) -> tuple[np.ndarray | None, tuple[np.ndarray, ...]]:
    """Return turn and source of the drawn powers of all maps between cells."""
    drawn_maps = {symmetry: values for symmetry, values in draws.items() if isinstance(symmetry, CellMap)}
    if not drawn_maps:
        return None, ()
    matrix_Bdd: np.ndarray = np.eye(len(shape), dtype=np.int64)[None]
    cells_Bd: np.ndarray = np.zeros((1, len(shape)), dtype=np.int64)
    # The result of the first map is the source of the second map, so the matrix of the second map acts first.
    for cell_map, draws_BR in drawn_maps.items():
        matrices_Pdd, cells_Pd = powers(cell_map, shape)
        power_B = (draws_BR[:, 0] * len(cells_Pd)).astype(np.int64)
        cells_Bd = (np.einsum("bij,bj->bi", matrix_Bdd, cells_Pd[power_B]) + cells_Bd) % np.array(shape)
        matrix_Bdd = matrix_Bdd @ matrices_Pdd[power_B]
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    source = []
    for axis, size in enumerate(shape):
        line_BN = np.zeros((len(matrix_Bdd), size), dtype=np.int64)
        for source_axis, stride in enumerate(strides):
            sign_B1 = matrix_Bdd[:, source_axis, axis, None]
            cells_BN = (sign_B1 * np.arange(size) + cells_Bd[:, source_axis, None]) % shape[source_axis]
            line_BN += np.abs(sign_B1) * stride * cells_BN
        source.append(line_BN)
    # A displacement of the source by a vector is the displacement of the result by the inverse matrix.
    return np.swapaxes(matrix_Bdd, 1, 2).astype(np.float64), tuple(source)


@lru_cache(maxsize=64)
def powers(cell_map: CellMap, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrices (P, d, d) and the cells (P, d) of all different powers of a map."""
    identity, sizes = np.eye(len(shape), dtype=np.int64), np.array(shape)
    matrix, cells = cell_map.matrix, np.array(cell_map.cells) % sizes
    if np.array_equal(matrix, identity):
        order = math.lcm(
            *(size // math.gcd(size, int(count)) for size, count in zip(shape, cells, strict=True))
        )
        return np.broadcast_to(identity, (order, *identity.shape)), np.arange(order)[:, None] * cells % sizes
    matrices, all_cells = [identity], [np.zeros_like(cells)]
    while True:
        next_matrix = matrices[-1] @ matrix
        next_cells = (matrices[-1] @ cells + all_cells[-1]) % sizes
        if np.array_equal(next_matrix, identity) and not next_cells.any():
            return np.array(matrices), np.array(all_cells)
        matrices.append(next_matrix)
        all_cells.append(next_cells)


def _particles(
    draws: Mapping[AnySymmetry, np.ndarray], spec: Spec
) -> tuple[np.ndarray | None, tuple[np.ndarray, ...]]:
    """Return turn and source of the drawn rotations, reflections and orders of particles."""
    dimension = len(spec.sites.directions)
    turn: np.ndarray | None = None
    if (draws_BR := draws.get(ParticleMap("rotation"))) is not None:
        turn = _rotations(draws_BR, dimension)
    if (draws_BR := draws.get(ParticleMap("reflection"))) is not None:
        reflections = np.broadcast_to(np.eye(dimension), (len(draws_BR), dimension, dimension)).copy()
        reflections[:, 0, 0] = np.where(draws_BR[:, 0] < 0.5, 1.0, -1.0)
        turn = reflections if turn is None else reflections @ turn
    order = draws.get(ParticleMap("permutation"))
    return turn, () if order is None else (np.argsort(order, axis=1, kind="stable"),)


def _rotations(draws_BR: np.ndarray, dimension: int) -> np.ndarray:
    """Return uniformly random rotations (B, d, d) from 0, 1 or 3 uniform numbers in 1, 2 or 3 dimensions.

    Source: Shoemake 1992, "Uniform random rotations", Graphics Gems III, for the quaternion in space.
    """
    if dimension == 1:
        return np.ones((len(draws_BR), 1, 1))
    angles = 2 * np.pi * draws_BR
    if dimension == 2:
        cos, sin = np.cos(angles[:, 0]), np.sin(angles[:, 0])
        return np.moveaxis(np.array([[cos, -sin], [sin, cos]]), -1, 0)
    short, long = np.sqrt(1 - draws_BR[:, 0]), np.sqrt(draws_BR[:, 0])
    x, y = short * np.sin(angles[:, 1]), short * np.cos(angles[:, 1])
    z, w = long * np.sin(angles[:, 2]), long * np.cos(angles[:, 2])
    matrices = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    return np.moveaxis(matrices, -1, 0)
