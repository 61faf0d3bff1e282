"""The initial condition of parametric trajectories at any point, and exact solutions that start from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simsurrogate.errors import UserError
from solvers.contract import Parameters, Solver, SteppedTrajectory
from solvers.heat import Heat
from tests.support.heat_cases import heat
from tests.support.navier_stokes_cases import flow
from tests.support.nbody_cases import KEPLER, nbody

HARMONICS = {"diffusivity": {"kind": "constant"}, "initial": {"kind": "harmonics", "count": 3}}
MIXED_WALLS = {"x": "dirichlet", "y": "neumann", "z": "periodic"}
WALL_VALUES_OF_X = {"x": [1.0, 2.0]}
VORTICES = {"initial": {"kind": "taylor_green", "phases": "zero"}, "extent": [1.0, 0.8], "resolution": 20}
FIXED_ORBIT = KEPLER | {"orientation": "fixed", "mass_ratio": [0.2, 0.9]}

CASES: dict[str, Solver] = {
    "heat, bar": heat(
        **HARMONICS, extent=[0.7], resolution=11, boundary=MIXED_WALLS, boundary_values=WALL_VALUES_OF_X
    ),
    "heat, wall and insulation": heat(
        **HARMONICS, extent=[1.0, 0.6], resolution=13, boundary=MIXED_WALLS, boundary_values=WALL_VALUES_OF_X
    ),
    "heat, all kinds": heat(
        **HARMONICS,
        extent=[1.0, 0.6, 0.8],
        resolution=8,
        boundary=MIXED_WALLS,
        boundary_values=WALL_VALUES_OF_X,
    ),
    "heat, periodic": heat(**HARMONICS, resolution=12),
    "flow": flow(**VORTICES, forcing={"kind": "none"}),
    "flow, kolmogorov": flow(**VORTICES, forcing={"kind": "kolmogorov"}),
    "flow, diagonal": flow(**VORTICES, forcing={"kind": "diagonal"}),
    "flow, shear layers": flow(
        initial={"kind": "shear_layers", "phases": "zero", "waves": 3, "thickness": [0.2, 0.3]},
        extent=[1.0, 0.8],
        resolution=64,
        forcing={"kind": "none"},
    ),
    "two bodies": nbody(system=FIXED_ORBIT, gravitational_constant=0.7),
    "two bodies in space": nbody(system=FIXED_ORBIT, dimension=3),
    "three bodies": nbody(),
}


@pytest.fixture(params=CASES)
def solver(request: pytest.FixtureRequest) -> Solver:
    return CASES[request.param]


def sample_parameters(solver: Solver, seed: int = 3) -> Parameters:
    return solver.sample(np.random.default_rng(seed))


def prepare_trajectory(solver: Solver, parameters: Parameters) -> SteppedTrajectory:
    trajectory = solver.prepare(parameters)
    assert isinstance(trajectory, SteppedTrajectory)
    return trajectory


def cell_centres(solver: Solver) -> dict[str, np.ndarray]:
    centres = np.meshgrid(*(axis.centres for axis in solver.spec.axes), indexing="ij")
    return dict(zip(solver.spec.axis_names, centres, strict=True))


def fields_on_grid(solver: Solver, parameters: Parameters) -> dict[str, np.ndarray]:
    """Return the initial state and the coefficient fields on the grid, by channel."""
    trajectory = prepare_trajectory(solver, parameters)
    values = list(trajectory.initial_state)
    if solver.spec.coefficient_fields:
        assert trajectory.coefficient_fields is not None
        values += list(trajectory.coefficient_fields)
    channels = (*solver.spec.channels, *solver.spec.coefficient_channels)
    return dict(zip(channels, values, strict=True))


def test_the_initial_condition_at_the_sites_is_the_initial_state(solver: Solver) -> None:
    assert solver.spec.parametric
    parameters = sample_parameters(solver)
    fields = solver.initial_condition(cell_centres(solver), parameters, np)
    expected_fields = fields_on_grid(solver, parameters)
    assert list(fields) == list(expected_fields)
    for name, values in expected_fields.items():
        scale = max(np.abs(values).max(), 1e-3)
        assert np.allclose(np.broadcast_to(fields[name], values.shape), values, rtol=0, atol=2e-13 * scale)


def test_torch_returns_the_initial_conditions_of_many_trajectories_at_once(solver: Solver) -> None:
    samples = [sample_parameters(solver, seed) for seed in range(3)]
    shape = (3,) if solver.spec.has_particles else (3, *(1,) * len(solver.spec.axes))
    parameters = {
        name: torch.tensor([sample[name] for sample in samples], dtype=torch.float64).view(shape)
        for name in samples[0]
    }
    coordinates = {name: torch.from_numpy(values) for name, values in cell_centres(solver).items()}
    fields = solver.initial_condition(coordinates, parameters, torch)
    for row, sample in enumerate(samples):
        for name, values in fields_on_grid(solver, sample).items():
            tensor = fields[name].expand(3, *values.shape)
            scale = max(np.abs(values).max(), 1)
            assert np.allclose(tensor[row].numpy(), values, rtol=0, atol=2e-13 * scale)


def test_trajectories_with_random_arrays_are_not_parametric() -> None:
    solvers = [
        heat(diffusivity={"kind": "constant"}),
        heat(initial=HARMONICS["initial"]),
        heat(**HARMONICS, heaters={"count": 1}),
        flow(initial={"kind": "taylor_green"}),
        flow(**VORTICES | {"forcing": {"kind": "ring"}, "resolution": 64}),
        flow(**VORTICES, tracer={"present": True}),
        nbody(system=KEPLER),
        nbody(system={"mass_ratio": [0.5, 1.0]}),
        nbody(system={"kind": "figure_eight"}),
    ]
    for solver in solvers:
        assert not solver.spec.parametric
        assert any(isinstance(value, np.ndarray) for value in sample_parameters(solver).values())
        with pytest.raises(UserError, match=f"the {solver.spec.name} trajectories have no initial condition"):
            solver.initial_condition(cell_centres(solver), sample_parameters(solver), np)
    for solver in CASES.values():
        assert all(isinstance(value, float) for value in sample_parameters(solver).values())


@pytest.mark.parametrize("case", [name for name in CASES if name.startswith("heat")])
def test_decaying_harmonics_satisfy_the_residual_and_the_boundary_conditions(case: str) -> None:
    # Each harmonic is an eigenfunction. With walls on one axis the profile between the walls is steady.
    solver = CASES[case]
    assert isinstance(solver, Heat)
    rng = np.random.default_rng(0)
    axes = solver.spec.axes
    points = {
        axis.name: torch.tensor(rng.uniform(axis.lower, axis.upper, 30), requires_grad=True) for axis in axes
    }
    points["t"] = torch.tensor(rng.uniform(0, 0.1, 30), requires_grad=True)
    parameters = sample_parameters(solver)
    factors = {"periodic": 2, "dirichlet": 1, "neumann": 1}
    squared_wave_number = sum(
        (factors[axis.boundary] * math.pi / (axis.upper - axis.lower)) ** 2 for axis in axes
    )
    k = parameters["diffusivity"]
    amplitudes = {
        f"amplitude_{m}": parameters[f"amplitude_{m}"]
        * torch.exp(-k * m**2 * squared_wave_number * points["t"])
        for m in (1, 2, 3)
    }
    positions = {axis.name: points[axis.name] for axis in axes}
    fields = solver.initial_condition(positions, amplitudes | {"diffusivity": k}, torch)

    def derivative(values: torch.Tensor, axis: str) -> torch.Tensor:
        (normal_derivative,) = torch.autograd.grad(values.sum(), points[axis], create_graph=True)
        return normal_derivative

    rate = derivative(fields["temperature"], "t").abs().max()
    residual = solver.residual(fields, derivative, parameters)["heat"]
    assert residual.abs().max() < 1e-13 * rate
    for axis in axes:
        for wall_position, value in zip((axis.lower, axis.upper), axis.boundary_values, strict=True):
            wall_points = positions | {
                axis.name: torch.full_like(points[axis.name], wall_position, requires_grad=True)
            }
            temperature = solver.initial_condition(wall_points, parameters, torch)["temperature"]
            if axis.boundary == "dirichlet":
                torch.testing.assert_close(temperature, torch.full_like(temperature, value))
            elif axis.boundary == "neumann":
                (normal_derivative,) = torch.autograd.grad(temperature.sum(), wall_points[axis.name])
                torch.testing.assert_close(
                    normal_derivative, torch.zeros_like(normal_derivative), rtol=0, atol=1e-13
                )


def test_decaying_taylor_green_vortices_satisfy_the_residual() -> None:
    solver = CASES["flow"]
    parameters = sample_parameters(solver)
    rng = np.random.default_rng(0)
    points = {name: torch.tensor(rng.uniform(0, 1, 30), requires_grad=True) for name in ("x", "y", "t")}
    squared_wave_number = sum((2 * math.pi * 2 / length) ** 2 for length in (1.0, 0.8))
    amplitude = parameters["amplitude"] * torch.exp(
        -parameters["viscosity"] * squared_wave_number * points["t"]
    )
    fields = solver.initial_condition(points, parameters | {"amplitude": amplitude}, torch)

    def derivative(values: torch.Tensor, axis: str) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(values.sum(), points[axis], create_graph=True)
        return gradient

    rate = derivative(fields["vorticity"], "t").abs().max()
    for residual in solver.residual(fields, derivative, parameters).values():
        assert residual.abs().max() < 1e-12 * rate


@pytest.mark.parametrize("case", ["heat, periodic", "heat, insulated", "flow, tracer"])
def test_conserved_fields_keep_their_mean(case: str) -> None:
    insulated_walls = dict.fromkeys("xyz", "neumann")
    solver = {
        "heat, periodic": lambda: heat(resolution=12),
        "heat, insulated": lambda: heat(
            resolution=12, boundary=insulated_walls, boundary_values={"x": [0.5, -0.5]}
        ),
        "flow, tracer": lambda: flow(resolution=32, tracer={"present": True}),
    }[case]()
    trajectory = prepare_trajectory(solver, sample_parameters(solver))
    assert all(field.conserved for field in solver.spec.fields)
    initial_state = trajectory.initial_state
    final_state = trajectory.advance(initial_state, 0.0, 0.1)
    axes = tuple(range(1, initial_state.ndim))
    assert np.abs(final_state - initial_state).max() > 1e-3
    assert np.allclose(final_state.mean(axes), initial_state.mean(axes), rtol=0, atol=1e-13)


def test_walls_and_heaters_that_supply_heat_conserve_no_mean() -> None:
    insulated_walls = dict.fromkeys("xyz", "neumann")
    for solver in (
        heat(boundary=MIXED_WALLS),
        heat(boundary=insulated_walls, boundary_values={"x": [0.5, 0.5]}),
        heat(heaters={"count": 1}),
        nbody(),
    ):
        assert not any(field.conserved for field in solver.spec.fields)
