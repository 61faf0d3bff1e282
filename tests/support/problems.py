"""Small problems and batches for every surrogate, without a data set."""

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
#: Options that make a surrogate as small as these problems; one that is not named keeps its YAML's.
SMALLER = {
    "fno": {"width": 12, "modes": 8},
    "unet": {"width": 8},
    "mlp": {"width": 24, "horizon_steps": 2},
    "hamiltonian": {"substeps": 2},
    "deeponet": {"width": 12, "modes": 7, "layers": 2, "horizon_steps": 2},
    "pinn": {"width": 12, "layers": 2, "points": 8, "candidates": 2, "causality": 1.0, "data_weight": 1.0},
    "pi_deeponet": {"width": 12, "modes": 7, "layers": 2, "horizon_steps": 2},
}


def problem(
    shape: tuple[int, ...],
    boundaries: tuple[Boundary, ...],
    autonomous: bool = True,
    *,
    fields: tuple[Field, ...] = (Field("temperature", "K", ""), Field("pressure", "Pa", "")),
    extent: tuple[float, ...] = (2.0, 2.0, 2.0),
    boundary_values: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 3,
    **changes: Any,
) -> Problem:
    """Two fields that diffuse, one coefficient field, one parameter, units far from 1.

    `changes` go to the problem or to its spec.
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
        """u_t - rate power conductivity Lap u of each field."""
        speed = parameters["power"] * fields["conductivity"]
        equations = {}
        for name, rate in {"temperature": 0.01, "pressure": 0.02}.items():
            equations[name] = derivative(fields[name], "t")
            for axis in spec.axis_names:
                second = derivative(derivative(fields[name], axis), axis)
                equations[name] = equations[name] - rate * speed * second
        return equations

    return changed(Problem(spec, statistics, 0.25, 2.0, residual), **changes)


def changed(problem: Problem, **changes: Any) -> Problem:
    """The problem with other attributes, its own or those of its spec."""
    own = {field.name for field in dataclasses.fields(Problem)}
    spec = dataclasses.replace(
        problem.spec, **{name: value for name, value in changes.items() if name not in own}
    )
    mine = {name: value for name, value in changes.items() if name in own}
    return dataclasses.replace(problem, **({"spec": spec} | mine))


def parametric(shape: tuple[int, ...], boundaries: tuple[Boundary, ...], **changes: Any) -> Problem:
    """A parametric problem whose initial fields are constant."""

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        names = (*plain.spec.channels, *plain.spec.coefficient_channels)
        return {name: 1 + 0 * coordinates["x"] for name in names}

    plain = problem(shape, boundaries, parametric=True, initial_condition=initial_condition, **changes)
    return plain


def flow(shape: tuple[int, ...]) -> Problem:
    """A density and a velocity without divergence in a periodic box, whose means stay; both diffuse."""
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

    result = parametric(
        shape, ("periodic",) * len(shape),
        fields=(
            Field("density", "kg/m^3", "", conserved=True),
            Field("velocity", "m/s", "", 1, conserved=True, divergence_free=True),
        ),
        extent=(2.0, 0.7, 1.1)[: len(shape)], statistics=statistics, residual=residual,
    )  # fmt: skip
    return result


def particles(num_bodies: int = 3, dimension: int = 2, autonomous: bool = True, **changes: Any) -> Problem:
    """Bodies with positions, velocities and masses, and one parameter; units far from 1."""
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
    return changed(Problem(spec, statistics, 0.25, 2.0), **changes)


def fading(autonomous: bool = True) -> Problem:
    """Two fields that fade at rates of power * conductivity: the parameter alone determines a trajectory.

        u_t = rate power conductivity Lap u,    u = amplitude sin(pi x) sin(pi y / 2) at time 0

    on a square of 2 m, periodic along x and 0 at the walls of y, where all decays by exp(-rate power
    conductivity 1.25 pi^2 t).
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
    return problem(
        (16, 17), ("periodic", "dirichlet"), autonomous, parametric=True,
        initial_condition=initial_condition, statistics=statistics,
    )  # fmt: skip


def circling(autonomous: bool = True) -> Problem:
    """Three bodies on springs that go round a circle of 50 m at `power` rad/s, 2 rad apart."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        stiffness = parameters["power"] ** 2
        return {
            f"{equation}_{name}": left
            for name in "xy"
            for position, velocity in [(fields[f"position_{name}"], fields[f"velocity_{name}"])]
            for equation, left in (
                ("motion", derivative(position, "t") - velocity),
                ("spring", derivative(velocity, "t") + stiffness * position),
            )
        }

    def initial_condition(coordinates: Any, parameters: Any, xp: Any) -> dict[str, Any]:
        power = parameters["power"]
        angle = xp.stack([0 * power + 2.0 * number for number in range(3)], -1)
        turn = xp.stack([power] * 3, -1)
        x, y = 50 * xp.cos(angle), 50 * xp.sin(angle)
        velocity = {"velocity_x": -turn * y, "velocity_y": turn * x}
        return {"position_x": x, "position_y": y} | velocity | {"mass": 1e3 + 0 * x}

    return particles(
        autonomous=autonomous, parametric=True, residual=residual, initial_condition=initial_condition
    )


def learnable_problem(name: str, autonomous: bool = True) -> Problem:
    """A problem that the surrogate can learn."""
    square = problem((16, 17), ("periodic", "dirichlet"), autonomous)
    of_all = (
        square,
        particles(autonomous=autonomous),
        particles(),
        fading(autonomous),
        circling(autonomous),
    )
    return next(one for one in of_all if surrogate_class(name).incompatibility(one) is None)


def options(name: str) -> dict[str, Any]:
    """The options in configs/surrogate/NAME.yaml, made smaller."""
    plain = yaml.safe_load((Path(configs.__path__[0]) / "surrogate" / f"{name}.yaml").read_text())
    return {key: value for key, value in plain.items() if key != "name"} | SMALLER.get(name, {})


def batch(
    of: Problem, size: int, frames: int = 3, dtype: torch.dtype = torch.float32, num_random: int = 0
) -> Batch:
    """Random windows that are distributed as the problem's statistics say."""
    generator = torch.Generator().manual_seed(7)
    statistics = of.statistics

    def drawn(
        shape: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...], axis: int
    ) -> torch.Tensor:
        place = [1] * len(shape)
        place[axis] = -1
        normal = torch.randn(shape, generator=generator, dtype=torch.float64)
        values = normal * torch.tensor(std, dtype=torch.float64).view(place)
        return (values + torch.tensor(mean, dtype=torch.float64).view(place)).to(dtype)

    channels, fields, scalars = (
        len(of.spec.channels),
        len(of.spec.coefficient_channels),
        len(of.spec.parameter_names),
    )
    return {
        "state": drawn((size, frames, channels, *of.spec.shape), statistics.mean, statistics.std, 2),
        "coefficient_fields": drawn(
            (size, fields, *of.spec.shape), statistics.coefficient_mean, statistics.coefficient_std, 1
        ),
        "parameters": drawn((size, scalars), statistics.parameter_mean, statistics.parameter_std, 1),
        "time": (torch.arange(frames, dtype=dtype) * of.time_step).expand(size, frames),
        "random": torch.rand((size, num_random), generator=generator, dtype=dtype),
    }


def parameters_by_name(of: Problem, drawn: Batch) -> dict[str, torch.Tensor]:
    """The coefficient fields and parameters of a batch by name, as `predict` takes them."""
    fields = {
        name: drawn["coefficient_fields"][:, place] for place, name in enumerate(of.spec.coefficient_channels)
    }
    return fields | {
        name: drawn["parameters"][:, place] for place, name in enumerate(of.spec.parameter_names)
    }
