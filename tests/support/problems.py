"""Small problems and batches for every surrogate, without a data set."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import yaml

import configs
from surrogates.contract import Batch, Problem, Statistics, surrogate_class

SITES = {1: (20,), 2: (20, 17), 3: (17, 16, 18)}
BOUNDARIES = ("periodic", "dirichlet", "neumann")
#: Options that make a surrogate as small as these problems; one that is not named keeps its YAML's.
SMALLER = {
    "fno": {"width": 12, "modes": 8},
    "unet": {"width": 8},
    "mlp": {"width": 24, "reach": 2},
    "hamiltonian": {"substeps": 2},
    "deeponet": {"width": 12, "modes": 7, "layers": 2, "reach": 2},
    "pinn": {"width": 12, "layers": 2, "points": 8, "candidates": 2, "causality": 1.0, "data_weight": 1.0},
    "pi_deeponet": {"width": 12, "modes": 7, "layers": 2, "reach": 2},
}


def problem(
    sites: tuple[int, ...], boundaries: tuple[str, ...], autonomous: bool = True, **changes: Any
) -> Problem:
    """Two state channels that diffuse, one coefficient field, one parameter, units far from 1."""
    plain: dict[str, Any] = {
        "equation": "two fields",
        "channels": ("temperature", "pressure"),
        "units": ("K", "Pa"),
        "coefficients": ("conductivity",),
        "parameters": ("power",),
        "parameter_ranges": ((1.0, 3.0),),
        "axes": ("x", "y", "z")[: len(sites)],
        "sites": sites,
        "lower": (0.0,) * len(sites),
        "extent": (2.0,) * len(sites),
        "boundaries": boundaries,
        "boundary_values": ((0.0, 0.0),) * len(sites),
        "time_step": 0.25,
        "duration": 2.0,
        "autonomous": autonomous,
        "determined": False,
        "conserved": (),
        "divergence_free": (),
        "statistics": Statistics(
            mean=(300.0, 1e5),
            std=(10.0, 2e3),
            delta_std=(1.0, 5e2),
            coefficient_mean=(2.0,),
            coefficient_std=(0.5,),
            parameter_mean=(2.0,),
            parameter_std=(0.6,),
        ),
    }

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        """u_t - rate power conductivity Lap u of each field."""
        speed = parameters["power"] * fields["conductivity"]
        found = {}
        for name, rate in {"temperature": 0.01, "pressure": 0.02}.items():
            found[name] = derivative(fields[name], "t")
            for axis in plain["axes"]:
                found[name] = found[name] - rate * speed * derivative(derivative(fields[name], axis), axis)
        return found

    return Problem(**({"residual": residual} | plain | changes))


def told(sites: tuple[int, ...], boundaries: tuple[str, ...], **changes: Any) -> Problem:
    """A problem whose parameters tell its trajectories, from a start without any waves."""

    def fields_at_start(coordinates: Any, parameters: Any, functions: Any) -> dict[str, Any]:
        return {name: 1 + 0 * coordinates["x"] for name in (*plain.channels, *plain.coefficients)}

    plain = problem(sites, boundaries, determined=True, fields_at_start=fields_at_start, **changes)
    return plain


def flow(sites: tuple[int, ...]) -> Problem:
    """A density and a velocity without divergence in a periodic box, whose means stay; both diffuse."""
    velocity = tuple(f"velocity_{axis}" for axis in "xyz"[: len(sites)])
    channels = ("density", *velocity)
    statistics = Statistics(
        mean=(1e3, *(5.0,) * len(sites)), std=(10.0, 3.0, 0.2, 1.0)[: len(channels)],
        delta_std=(1.0,) * len(channels), coefficient_mean=(2.0,), coefficient_std=(0.5,),
        parameter_mean=(2.0,), parameter_std=(0.6,),
    )  # fmt: skip

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        return {
            name: derivative(fields[name], "t")
            - 0.01 * parameters["power"] * derivative(derivative(fields[name], "x"), "x")
            for name in channels
        }

    return told(
        sites, ("periodic",) * len(sites), channels=channels, units=("kg/m^3", *["m/s"] * len(sites)),
        conserved=channels, divergence_free=(velocity,), extent=(2.0, 0.7, 1.1)[: len(sites)],
        statistics=statistics, residual=residual,
    )  # fmt: skip


def particles(num_bodies: int = 3, dimension: int = 2, autonomous: bool = True, **changes: Any) -> Problem:
    """Bodies with positions, velocities and masses, and one parameter; units far from 1."""
    names = "xyz"[:dimension]
    velocities = tuple(f"velocity_{name}" for name in names)
    plain: dict[str, Any] = {
        "equation": "bodies",
        "channels": (*names, *velocities),
        "units": ("m",) * dimension + ("m/s",) * dimension,
        "coefficients": ("mass",),
        "axes": ("particle",),
        "lower": (-0.5,),
        "extent": (float(num_bodies),),
        "residual": None,
        "statistics": Statistics(
            mean=(20.0,) * dimension + (1.0,) * dimension,
            std=(50.0,) * dimension + (80.0,) * dimension,
            delta_std=(15.0,) * dimension + (8.0,) * dimension,
            coefficient_mean=(1e3,),
            coefficient_std=(1e2,),
            parameter_mean=(2.0,),
            parameter_std=(0.6,),
        ),
    }
    return problem((num_bodies,), ("open",), autonomous, **(plain | changes))


def determined(autonomous: bool = True) -> Problem:
    """Two fields that fade at rates of power * conductivity: the parameter alone tells what happens.

        u_t = rate power conductivity Lap u,    u = amplitude sin(pi x) sin(pi y / 2) at time 0

    on a square of 2 m, periodic along x and 0 at the walls of y, where all decays by exp(-rate power
    conductivity 1.25 pi^2 t).
    """
    amplitudes = {"temperature": 20.0, "pressure": 4e3}

    def fields_at_start(coordinates: Any, parameters: Any, functions: Any) -> dict[str, Any]:
        wave = functions.sin(math.pi * coordinates["x"]) * functions.sin(math.pi / 2 * coordinates["y"])
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
        (16, 17), ("periodic", "dirichlet"), autonomous, determined=True,
        fields_at_start=fields_at_start, statistics=statistics,
    )  # fmt: skip


def determined_particles(autonomous: bool = True) -> Problem:
    """Three bodies on springs, that go round a circle of 50 m at `power` rad/s, 2 rad apart."""

    def residual(fields: Any, derivative: Any, parameters: Any) -> dict[str, Any]:
        stiffness = parameters["power"] ** 2
        return {
            f"{equation}_{name}": left
            for name in "xy"
            for equation, left in (
                ("motion", derivative(fields[name], "t") - fields[f"velocity_{name}"]),
                ("spring", derivative(fields[f"velocity_{name}"], "t") + stiffness * fields[name]),
            )
        }

    def fields_at_start(coordinates: Any, parameters: Any, functions: Any) -> dict[str, Any]:
        power = parameters["power"]
        angle = functions.stack([0 * power + 2.0 * number for number in range(3)], -1)
        turn = functions.stack([power] * 3, -1)
        x, y = 50 * functions.cos(angle), 50 * functions.sin(angle)
        return {"x": x, "y": y, "velocity_x": -turn * y, "velocity_y": turn * x, "mass": 1e3 + 0 * x}

    return particles(
        autonomous=autonomous, determined=True, residual=residual, fields_at_start=fields_at_start
    )


def fitting(name: str, autonomous: bool = True) -> Problem:
    """A problem that the surrogate can learn."""
    square = problem((16, 17), ("periodic", "dirichlet"), autonomous)
    of_all = (
        square,
        particles(autonomous=autonomous),
        particles(),
        determined(autonomous),
        determined_particles(autonomous),
    )
    return next(one for one in of_all if surrogate_class(name).misfit(one) is None)


def options(name: str) -> dict[str, Any]:
    """The options in configs/surrogate/NAME.yaml, made smaller."""
    plain = yaml.safe_load((Path(configs.__path__[0]) / "surrogate" / f"{name}.yaml").read_text())
    return {key: value for key, value in plain.items() if key != "name"} | SMALLER.get(name, {})


def batch(
    of: Problem, size: int, frames: int = 3, dtype: torch.dtype = torch.float32, num_uniform: int = 0
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

    channels, fields, scalars = len(of.channels), len(of.coefficients), len(of.parameters)
    return {
        "state": drawn((size, frames, channels, *of.sites), statistics.mean, statistics.std, 2),
        "coefficients": drawn(
            (size, fields, *of.sites), statistics.coefficient_mean, statistics.coefficient_std, 1
        ),
        "parameters": drawn((size, scalars), statistics.parameter_mean, statistics.parameter_std, 1),
        "time": (torch.arange(frames, dtype=dtype) * of.time_step).expand(size, frames),
        "uniform": torch.rand((size, num_uniform), generator=generator, dtype=dtype),
    }


def named(of: Problem, drawn: Batch) -> dict[str, torch.Tensor]:
    """The coefficient fields and parameters of a batch by name, as `predict` takes them."""
    fields = {name: drawn["coefficients"][:, place] for place, name in enumerate(of.coefficients)}
    return fields | {name: drawn["parameters"][:, place] for place, name in enumerate(of.parameters)}
