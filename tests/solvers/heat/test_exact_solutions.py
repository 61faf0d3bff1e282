"""Heat against exact solutions, in each dimension and for each kind of boundary condition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simsurrogate.spec import DIRECTIONS
from solvers.contract import Parameters
from solvers.heat import Heat
from tests.support.heat_cases import error, heat, on_cells, order, sampled

K = 0.1
DURATION = 0.3
EXTENT = [1.0, 0.7, 1.3]
# At the lower and the upper end of each axis; temperatures or fluxes, none of them zero.
VALUES = {"x": [1.0, 2.0], "y": [-0.5, 0.25], "z": [0.3, 0.6]}

COMBINATIONS = [
    kinds
    for dimension in (1, 2, 3)
    for kinds in itertools.product(("periodic", "dirichlet", "neumann"), repeat=dimension)
    if dimension < 3 or kinds in {("periodic", "dirichlet", "neumann"), ("neumann",) * 3, ("dirichlet",) * 3}
]


def box(kinds: tuple[str, ...], resolution: int, scheme: str, values: dict[str, list[float]]) -> Heat:
    """Constant k = 0.1 m^2/s between walls of these kinds."""
    return heat(
        extent=EXTENT[: len(kinds)],
        resolution=resolution,
        boundary=dict(zip(DIRECTIONS, kinds, strict=False)),
        boundary_values=values,
        diffusivity={"kind": "constant"},
        scheme=scheme,
        tolerance=1e-8,
    )


def wave(kind: str, length: float, x: np.ndarray) -> tuple[np.ndarray, float]:
    """A mode that satisfies the homogeneous condition, and its wave number."""
    if kind == "periodic":
        number = 2 * np.pi / length
        return np.sin(number * x + 0.3), number
    number = np.pi / length
    return (np.sin(number * x) if kind == "dirichlet" else np.cos(number * x)), number


def decaying(kinds: tuple[str, ...], time: float, *mesh: np.ndarray) -> np.ndarray:
    """A product of modes decays at k times the sum of its squared wave numbers."""
    factors = [wave(kind, EXTENT[axis], x) for axis, (kind, x) in enumerate(zip(kinds, mesh, strict=True))]
    rate = K * sum(number**2 for _, number in factors)
    return np.exp(-rate * time) * np.prod([values for values, _ in factors], axis=0)


def driven(kinds: tuple[str, ...], axis: int, time: float, *mesh: np.ndarray) -> np.ndarray:
    """What the walls of one axis alone force: a linear profile, or a parabola that fluxes drive."""
    lower, upper = VALUES[DIRECTIONS[axis]]
    length, x = EXTENT[axis], mesh[axis]
    if kinds[axis] == "dirichlet":
        return lower + (upper - lower) * x / length
    slope, curvature = -lower / K, (upper + lower) / (K * length)
    return slope * x + curvature * x**2 / 2 + K * curvature * time


def final(solver: Heat, start: np.ndarray, duration: float = DURATION) -> np.ndarray:
    parameters: Parameters = sampled(solver) | {"diffusivity": K}
    return solver.advance(start, parameters, 0.0, duration)


@pytest.mark.parametrize("scheme", ["exact", "adi", "rkl2"])
@pytest.mark.parametrize("kinds", COMBINATIONS)
def test_second_order_in_space(kinds: tuple[str, ...], scheme: str) -> None:
    driving = next((axis for axis, kind in enumerate(kinds) if kind != "periodic"), None)
    # Only one axis is driven, so that the exact solution is a sum of two.
    values = {
        name: VALUES[name] if number == driving else [0.0, 0.0] for number, name in enumerate(DIRECTIONS)
    }
    alone = driving is not None and all(
        kind in {"periodic", "neumann"} or number == driving for number, kind in enumerate(kinds)
    )
    if not alone:
        values = {name: [0.0, 0.0] for name in DIRECTIONS}

    def exact(time: float, *mesh: np.ndarray) -> np.ndarray:
        forced = driven(kinds, driving, time, *mesh) if alone and driving is not None else 0.0
        return decaying(kinds, time, *mesh) + forced

    errors = []
    for resolution in (8, 16) if len(kinds) == 3 else (16, 32):
        solver = box(kinds, resolution, scheme, values)
        found = final(solver, on_cells(solver, lambda *mesh: exact(0.0, *mesh)))
        errors.append(error(found, on_cells(solver, lambda *mesh: exact(DURATION, *mesh))))
    assert order(errors) == pytest.approx(2, abs=0.2)
    assert errors[-1] < 0.02


@pytest.mark.parametrize("kind", ["dirichlet", "neumann"])
def test_all_axes_driven_at_once_reach_the_steady_sum(kind: str) -> None:
    # Neither temperatures nor fluxes that differ from axis to axis have a simple solution with dirichlet
    # walls; equal temperatures all round do, and so do fluxes along all axes.
    values = VALUES if kind == "neumann" else {name: [1.5, 1.5] for name in DIRECTIONS}

    def exact(time: float, *mesh: np.ndarray) -> np.ndarray:
        if kind == "dirichlet":
            return 1.5 + decaying((kind,) * 3, time, *mesh)
        return sum(driven((kind,) * 3, axis, time, *mesh) for axis in range(3))

    solver = box((kind,) * 3, 16, "exact", values)
    found = final(solver, on_cells(solver, lambda *mesh: exact(0.0, *mesh)))
    assert error(found, on_cells(solver, lambda *mesh: exact(DURATION, *mesh))) < 1e-3


@pytest.mark.parametrize(
    "kinds", [("periodic",), ("dirichlet", "neumann"), ("neumann", "periodic", "dirichlet")]
)
def test_the_exact_scheme_has_no_error_in_time(kinds: tuple[str, ...]) -> None:
    solver = box(kinds, 12, "exact", VALUES)
    parameters = sampled(solver)
    start = solver.initial_state(parameters)
    once = solver.advance(start, parameters, 0.0, 1.0)
    many = start
    for step in range(10):
        many = solver.advance(many, parameters, step * 0.1, 0.1)
    assert error(many, once) < 1e-13


def test_two_layers_conduct_exactly() -> None:
    # k = 0.1 left of the middle, 0.5 right of it: the flux is the same in both, the slopes are 5 : 1.
    solver = heat(
        extent=[1.0],
        resolution=20,
        boundary={"x": "dirichlet"},
        boundary_values={"x": [0.0, 6.0]},
        diffusivity={"kind": "inclusions", "num_inclusions": 1},
        tolerance=1e-10,
    )
    layers = sampled(solver) | {
        "matrix_diffusivity": 0.1,
        "contrast": 5.0,
        "inclusion_centres": np.array([[1.0]]),
        "inclusion_radii": np.array([0.5]),
    }
    steady = on_cells(solver, lambda x: np.where(x < 0.5, 10 * x, 4 + 2 * x))
    assert np.allclose(solver.advance(steady, layers, 0.0, 1.0), steady, rtol=0, atol=1e-12)
    reached = solver.advance(np.zeros_like(steady), layers, 0.0, 60.0)
    assert np.allclose(reached, steady, rtol=0, atol=1e-6)
