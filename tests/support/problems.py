"""Small problems and batches for tests of surrogates, without a data set."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
import yaml

import configs
from simsurrogate.spec import DIRECTIONS, Axis, Boundary, Field, Grid, Parameter, Particles, Spec
from surrogates.contract import Batch, Problem, Statistics, surrogate_class

SITES = {1: (20,), 2: (20, 17), 3: (17, 16, 18)}
BOUNDARIES = ("periodic", "dirichlet", "neumann")

#: The largest integer among the options of a surrogate in tests (see `options`).
LARGEST_INTEGER = 8
#: The steps of the windows that `batch` returns by default.
NUM_STEPS = 2
#: Options that turn on features that are off in the YAML. No surrogate needs an entry.
FEATURES = {"pinn": {"candidates": 2, "causality": 1.0}}


def grid_problem(
    shape: tuple[int, ...],
    boundaries: tuple[Boundary, ...],
    autonomous: bool = True,
    *,
    fields: tuple[Field, ...] = (Field("temperature", "K", ""), Field("pressure", "Pa", "")),
    extent: tuple[float, ...] = (2.0, 2.0, 2.0),
    boundary_values: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 3,
    **changes: Any,
) -> Problem:
    """Return a problem of two diffusing fields, one coefficient field and one parameter.

    The values of the fields are far from 1. `changes` are attributes of the problem or of its spec.
    """
    axes = tuple(
        Axis(name, "m", size, 0.0, length, kind, values)
        for name, size, length, kind, values in zip(
            DIRECTIONS, shape, extent, boundaries, boundary_values, strict=False
        )
    )
    spec = Spec(
        name="two fields",
        equation="u_t = rate power conductivity Lap u",
        sites=Grid(axes),
        fields=fields,
        coefficient_fields=(Field("conductivity", "1", ""),),
        parameters=(Parameter("power", "1", "", 1.0, 3.0),),
        invariants=(),
        autonomous=autonomous,
        parametric=False,
    )
    statistics = Statistics(
        mean=(300.0, 1e5),
        std=(10.0, 2e3),
        delta_std=(1.0, 5e2),
        coefficient_mean=(2.0,),
        coefficient_std=(0.5,),
        parameter_mean=(2.0,),
        parameter_std=(0.6,),
    )

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        """Return u_t - rate power conductivity Lap u of each field."""
        diffusivity = parameters["power"] * fields["conductivity"]
        equations = {}
        for name, rate in {"temperature": 0.01, "pressure": 0.02}.items():
            equations[name] = derivative(fields[name], "t")
            for axis in spec.axis_names:
                second_derivative = derivative(derivative(fields[name], axis), axis)
                equations[name] = equations[name] - rate * diffusivity * second_derivative
        return equations

    return change_problem(Problem(spec, statistics, 0.25, 2.0, residual), **changes)


def change_problem(problem: Problem, **changes: Any) -> Problem:
    """Return the problem with changed attributes of the problem or of its spec."""
    names = {field.name for field in dataclasses.fields(Problem)}
    spec_changes = {name: value for name, value in changes.items() if name not in names}
    problem_changes = {name: value for name, value in changes.items() if name in names}
    spec = dataclasses.replace(problem.spec, **spec_changes)
    return dataclasses.replace(problem, **({"spec": spec} | problem_changes))


def parametric_problem(shape: tuple[int, ...], boundaries: tuple[Boundary, ...], **changes: Any) -> Problem:
    """Return a parametric problem with constant initial fields."""

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        names = (*result.spec.channels, *result.spec.coefficient_channels)
        return {name: 1 + 0 * coordinates["x"] for name in names}

    result = grid_problem(shape, boundaries, parametric=True, initial_condition=initial_condition, **changes)
    return result


def flow_problem(shape: tuple[int, ...]) -> Problem:
    """Return a problem of a density and a divergence-free velocity that diffuse in a periodic box."""
    num_channels = 1 + len(shape)
    statistics = Statistics(
        mean=(1e3, *(5.0,) * len(shape)), std=(10.0, 3.0, 0.2, 1.0)[:num_channels],
        delta_std=(1.0,) * num_channels, coefficient_mean=(2.0,), coefficient_std=(0.5,),
        parameter_mean=(2.0,), parameter_std=(0.6,),
    )  # fmt: skip

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        return {
            name: derivative(fields[name], "t")
            - 0.01 * parameters["power"] * derivative(derivative(fields[name], "x"), "x")
            for name in result.spec.channels
        }

    result = parametric_problem(
        shape, ("periodic",) * len(shape),
        fields=(
            Field("density", "kg/m^3", "", conserved=True),
            Field("velocity", "m/s", "", 1, conserved=True, divergence_free=True),
        ),
        extent=(2.0, 0.7, 1.1)[: len(shape)], statistics=statistics, residual=residual,
    )  # fmt: skip
    return result


def particle_problem(
    num_bodies: int = 3, dimension: int = 2, autonomous: bool = True, **changes: Any
) -> Problem:
    """Return a problem of bodies with masses and one parameter, with values far from 1."""
    spec = Spec(
        name="bodies",
        equation="",
        sites=Particles(num_bodies, dimension),
        fields=(Field("position", "m", "", 1), Field("velocity", "m/s", "", 1)),
        coefficient_fields=(Field("mass", "kg", ""),),
        parameters=(Parameter("power", "1", "", 1.0, 3.0),),
        invariants=(),
        autonomous=autonomous,
        parametric=False,
    )
    statistics = Statistics(
        mean=(20.0,) * dimension + (1.0,) * dimension,
        std=(50.0,) * dimension + (80.0,) * dimension,
        delta_std=(15.0,) * dimension + (8.0,) * dimension,
        coefficient_mean=(1e3,),
        coefficient_std=(1e2,),
        parameter_mean=(2.0,),
        parameter_std=(0.6,),
    )
    return change_problem(Problem(spec, statistics, 0.25, 2.0), **changes)


def fading_problem(autonomous: bool = True) -> Problem:
    """Return a parametric problem of two fields that decay with rates proportional to the parameter.

        u_t = rate power conductivity Lap u,    u = amplitude sin(pi x) sin(pi y / 2) at time 0

    The domain is a square of 2 m, periodic along x, with u = 0 at the walls of y. The solution decays as
    exp(-rate power conductivity 1.25 pi^2 t).
    """
    amplitudes = {"temperature": 20.0, "pressure": 4e3}

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        wave = xp.sin(math.pi * coordinates["x"]) * xp.sin(math.pi / 2 * coordinates["y"])
        fields = {name: amplitude * wave for name, amplitude in amplitudes.items()}
        return fields | {"conductivity": 2 + 0 * wave}

    statistics = Statistics(
        mean=(0.0, 0.0),
        std=(10.0, 2e3),
        delta_std=(1.0, 5e2),
        coefficient_mean=(2.0,),
        coefficient_std=(0.0,),
        parameter_mean=(2.0,),
        parameter_std=(0.6,),
    )
    return grid_problem(
        (16, 17), ("periodic", "dirichlet"), autonomous, parametric=True,
        initial_condition=initial_condition, statistics=statistics,
    )  # fmt: skip


def circling_problem(autonomous: bool = True) -> Problem:
    """Return a parametric problem of three bodies on springs that circle at 50 m and `power` rad/s."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        stiffness = parameters["power"] ** 2
        return {
            f"{equation}_{name}": left_side
            for name in "xy"
            for position, velocity in [(fields[f"position_{name}"], fields[f"velocity_{name}"])]
            for equation, left_side in (
                ("motion", derivative(position, "t") - velocity),
                ("spring", derivative(velocity, "t") + stiffness * position),
            )
        }

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        power = parameters["power"]
        angle = xp.stack([0 * power + 2.0 * body for body in range(3)], -1)
        angular_velocity = xp.stack([power] * 3, -1)
        x, y = 50 * xp.cos(angle), 50 * xp.sin(angle)
        velocity = {"velocity_x": -angular_velocity * y, "velocity_y": angular_velocity * x}
        return {"position_x": x, "position_y": y} | velocity | {"mass": 1e3 + 0 * x}

    return particle_problem(
        autonomous=autonomous, parametric=True, residual=residual, initial_condition=initial_condition
    )


def quantity_problem(autonomous: bool = True) -> Problem:
    """Return a problem of two quantities of interest."""
    problem = grid_problem((1,), ("open",), autonomous, parametric=True)
    axis = dataclasses.replace(problem.spec.axes[0], name="quantity")
    return change_problem(problem, sites=Grid((axis,)))


def learnable_problem(name: str, autonomous: bool = True) -> Problem:
    """Return a problem that the surrogate can learn."""
    candidates = (
        grid_problem((16, 17), ("periodic", "dirichlet"), autonomous),
        particle_problem(autonomous=autonomous),
        particle_problem(),
        fading_problem(autonomous),
        grid_problem((16,), ("periodic",), autonomous),
        circling_problem(autonomous),
        quantity_problem(autonomous),
    )
    cls = surrogate_class(name)
    return next(candidate for candidate in candidates if cls.incompatibility(candidate) is None)


def options(name: str, largest: int = LARGEST_INTEGER) -> dict[str, Any]:
    """Return the options of configs/surrogate/NAME.yaml, reduced to the sizes of tests.

    Every integer is at most `largest`, an interpolation (of training.unroll) is replaced by `NUM_STEPS`, and
    `FEATURES` are added. A new surrogate needs no entry in any table of the tests.
    """
    yaml_options = _yaml_options(name)
    resolved_options = {
        key: NUM_STEPS if _is_interpolation(value) else value for key, value in yaml_options.items()
    }
    return resolved_options | small_options(name, largest)


def small_options(name: str, largest: int = LARGEST_INTEGER) -> dict[str, Any]:
    """Return the entries of `options` that differ from the YAML, without interpolations."""
    return {
        key: min(value, largest)
        for key, value in _yaml_options(name).items()
        if isinstance(value, int) and not isinstance(value, bool) and value > largest
    } | FEATURES.get(name, {})


def _yaml_options(name: str) -> dict[str, Any]:
    text = (Path(configs.__path__[0]) / "surrogate" / f"{name}.yaml").read_text()
    return {key: value for key, value in yaml.safe_load(text).items() if key != "name"}


def _is_interpolation(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("${")


def batch(
    problem: Problem,
    size: int,
    frames: int = NUM_STEPS + 1,
    dtype: torch.dtype = torch.float32,
    num_random: int = 0,
) -> Batch:
    """Return random windows with the mean and standard deviation of the problem's statistics."""
    generator = torch.Generator().manual_seed(7)
    spec, statistics = problem.spec, problem.statistics

    def normal(
        shape: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...], axis: int
    ) -> torch.Tensor:
        broadcast_shape = [1] * len(shape)
        broadcast_shape[axis] = -1
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        values = values * torch.tensor(std, dtype=torch.float64).view(broadcast_shape)
        return (values + torch.tensor(mean, dtype=torch.float64).view(broadcast_shape)).to(dtype)

    num_channels, num_fields = len(spec.channels), len(spec.coefficient_channels)
    return {
        "state": normal((size, frames, num_channels, *spec.shape), statistics.mean, statistics.std, 2),
        "coefficient_fields": normal(
            (size, num_fields, *spec.shape), statistics.coefficient_mean, statistics.coefficient_std, 1
        ),
        "parameters": normal(
            (size, len(spec.parameter_names)), statistics.parameter_mean, statistics.parameter_std, 1
        ),
        "time": (torch.arange(frames, dtype=dtype) * problem.time_step).expand(size, frames),
        "random": torch.rand((size, num_random), generator=generator, dtype=dtype),
    }


def parameters_by_name(problem: Problem, batch: Batch) -> dict[str, torch.Tensor]:
    """Return the coefficient fields and parameters of a batch by name, as `predict` takes them."""
    fields = zip(problem.spec.coefficient_channels, batch["coefficient_fields"].unbind(1), strict=True)
    scalars = zip(problem.spec.parameter_names, batch["parameters"].unbind(1), strict=True)
    return dict(fields) | dict(scalars)
