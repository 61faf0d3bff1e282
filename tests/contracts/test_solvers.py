"""Every solver keeps the contract, built from its shipped YAML; solvers are found by themselves."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mpi4py import MPI

import configs
from pipeline.config.build import build_solver
from pipeline.data.format.layout import channel_names
from solvers.contract import BatchedSolver, DivergedError, Parameters, Solver, solver_class, solver_names

BOUNDARIES = {"periodic", "dirichlet", "neumann", "open"}
DURATION = 0.02


@pytest.fixture(scope="module", params=solver_names())
def solver(request: pytest.FixtureRequest) -> Solver:
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / f"{request.param}.yaml").read_text())
    assert options["name"] == request.param
    return build_solver(options, MPI.COMM_SELF)


@pytest.fixture(scope="module")
def parameters(solver: Solver) -> Parameters:
    return solver.sample(np.random.default_rng(7))


def test_every_shipped_yaml_has_its_solver() -> None:
    shipped = {path.stem for path in (Path(configs.__path__[0]) / "solver").glob("*.yaml")}
    assert shipped == set(solver_names())
    with pytest.raises(ValueError, match=r"solver 'cold' is not one of .*heat"):
        solver_class("cold")


def test_the_spec_is_complete_and_plain(solver: Solver) -> None:
    spec = solver.spec
    assert json.loads(json.dumps(dataclasses.asdict(spec)))["name"] == spec.name
    assert spec.equation
    assert spec.fields
    assert solver.method
    assert all(type(count) is int for count in solver.counts.values())
    quantities = (*spec.fields, *spec.coefficients, *spec.parameters, *spec.invariants)
    names = [quantity.name for quantity in quantities] + [axis.name for axis in spec.axes] + ["t"]
    assert len(set(names)) == len(names)
    for quantity in quantities:
        assert quantity.name.isidentifier()
        assert quantity.name == quantity.name.lower()
        assert quantity.unit
        assert quantity.description
    for parameter in spec.parameters:
        assert parameter.low <= parameter.high
    for axis in spec.axes:
        assert axis.boundary in BOUNDARIES
        assert axis.coordinates.shape == (axis.size,)
    assert solver.block == tuple(slice(0, axis.size) for axis in spec.axes)
    if "particle" in (axis.name for axis in spec.axes):
        (axis,) = spec.axes
        assert (axis.boundary, axis.lower, axis.upper) == ("open", -0.5, axis.size - 0.5)
        assert {"x", "y"} <= {field.name for field in spec.fields if field.order == 0}


def test_samples_are_floats_in_range_and_arrays_of_fixed_shape(solver: Solver) -> None:
    scalars = {parameter.name: parameter for parameter in solver.spec.parameters}
    shapes: dict[str, Any] = {}
    for seed in range(20):
        for outside in (False, True):
            drawn = solver.sample(np.random.default_rng(seed), outside)
            again = solver.sample(np.random.default_rng(seed), outside)
            assert all(np.array_equal(drawn[name], again[name]) for name in drawn)
            for name, value in drawn.items():
                if name in scalars:
                    assert type(value) is float
                    assert (scalars[name].low <= value <= scalars[name].high) is not outside
                else:
                    assert value.dtype == np.float64
                    assert shapes.setdefault(name, value.shape) == value.shape
            assert drawn.keys() == shapes.keys() | scalars.keys()


def test_different_seeds_are_different_trajectories(solver: Solver) -> None:
    one, other = (solver.sample(np.random.default_rng(seed)) for seed in (0, 1))
    assert not np.allclose(solver.initial_state(one), solver.initial_state(other))


def test_states_and_coefficients_have_the_shape_of_the_spec(solver: Solver, parameters: Parameters) -> None:
    sites = tuple(axis.size for axis in solver.spec.axes)
    num_channels = sum(len(sites) ** field.order for field in solver.spec.fields)
    state = solver.initial_state(parameters)
    assert (state.shape, state.dtype) == ((num_channels, *sites), np.float64)
    coefficients = solver.coefficients(parameters)
    assert (coefficients.shape, coefficients.dtype) == ((len(solver.spec.coefficients), *sites), np.float64)
    assert np.all(np.isfinite(coefficients))
    found = solver.invariants(state, parameters)
    assert list(found) == [quantity.name for quantity in solver.spec.invariants]
    assert all(type(value) is float for value in found.values())


def test_advancing_is_deterministic_and_leaves_its_input_alone(
    solver: Solver, parameters: Parameters
) -> None:
    state = solver.initial_state(parameters)
    before = state.copy()
    kept = {name: np.copy(value) for name, value in parameters.items()}
    once = solver.advance(state, parameters, 0.0, DURATION)
    assert (once.shape, once.dtype) == (state.shape, state.dtype)
    assert np.array_equal(state, before)
    assert all(np.array_equal(parameters[name], value) for name, value in kept.items())
    assert not np.allclose(once, state)
    solver.advance(once, solver.sample(np.random.default_rng(1)), 0.0, DURATION)  # another trajectory between
    assert np.array_equal(solver.advance(state, parameters, 0.0, DURATION), once)
    copied = {name: value if isinstance(value, float) else value.copy() for name, value in parameters.items()}
    assert np.array_equal(solver.advance(state, copied, 0.0, DURATION), once)


def test_the_cadence_of_output_is_free(solver: Solver, parameters: Parameters) -> None:
    state = once = solver.initial_state(parameters)
    once = solver.advance(once, parameters, 0.0, DURATION)
    for step in range(4):
        state = solver.advance(state, parameters, step * DURATION / 4, DURATION / 4)
    assert np.linalg.norm(state - once) < 1e-3 * np.linalg.norm(once - solver.initial_state(parameters))


def test_the_solution_satisfies_the_residual(solver: Solver, parameters: Parameters) -> None:
    """Central differences of three frames: what is left is small beside the rate of change."""
    time, step = 0.02, 0.001
    state = solver.advance(solver.initial_state(parameters), parameters, 0.0, time - step)
    frames = [state]
    for number in range(2):
        frames.append(solver.advance(frames[-1], parameters, time + (number - 1) * step, step))
    history = np.array(frames)
    axes = solver.spec.axes
    plain = dataclasses.asdict(solver.spec)
    names = [name for field in plain["fields"] for name in channel_names(field, [axis.name for axis in axes])]
    fields: dict[str, Any] = {name: history[:, channel] for channel, name in enumerate(names)}
    for field, values in zip(solver.spec.coefficients, solver.coefficients(parameters), strict=True):
        fields[field.name] = np.broadcast_to(values, history[:, 0].shape)
    fields["t"] = np.reshape(time + step * np.arange(-1, 2), (3, *[1] * len(axes)))

    def derivative(values: np.ndarray, name: str) -> np.ndarray:
        """In space by Fourier series where the axis is periodic, else by differences."""
        if name == "t":
            return np.gradient(values, step, axis=0)
        (place,) = (number for number, axis in enumerate(axes, start=1) if axis.name == name)
        axis = axes[place - 1]
        width = (axis.upper - axis.lower) / axis.size
        if axis.boundary != "periodic":
            return np.gradient(values, width, axis=place)
        wave_numbers = 2 * np.pi * np.fft.rfftfreq(axis.size, width)
        wave_numbers[axis.size // 2 :] *= axis.size % 2  # the derivative of the shortest wave is not seen
        shaped = wave_numbers.reshape([-1 if number == place else 1 for number in range(values.ndim)])
        return np.fft.irfft(1j * shaped * np.fft.rfft(values, axis=place), axis.size, axis=place)

    walls = [axis.boundary in ("dirichlet", "neumann") for axis in axes]
    inside = (1, *(slice(4, -4) if wall else slice(None) for wall in walls))
    residuals = solver.residual(fields, derivative, parameters)
    assert residuals
    rates = [np.linalg.norm(derivative(fields[name], "t")[inside]) for name in names]
    assert all(map(math.isfinite, rates))
    for left in residuals.values():
        assert np.linalg.norm(left[inside]) < 0.1 * max(rates)


def test_an_ensemble_is_its_trajectories_bit_for_bit(solver: Solver) -> None:
    if not isinstance(solver, BatchedSolver):
        pytest.skip("computes one trajectory at a time")
    times = np.linspace(0.0, 0.3, 4)
    ensemble = [solver.sample(np.random.default_rng(seed)) for seed in range(6)]
    found = solver.solve(ensemble, times)
    for row, parameters in enumerate(ensemble):
        assert np.array_equal(found.coefficients[row], solver.coefficients(parameters))
        state, reason = solver.initial_state(parameters), None
        try:
            for frame, time in enumerate(times):
                assert np.array_equal(found.states[row, frame], state)
                invariants = solver.invariants(state, parameters)
                assert list(found.invariants) == list(invariants)
                assert all(found.invariants[name][row, frame] == invariants[name] for name in invariants)
                if frame + 1 < len(times):
                    state = solver.advance(state, parameters, time, times[-1] / (len(times) - 1))
        except DivergedError as error:
            reason = str(error)
        assert found.failures[row] == reason
