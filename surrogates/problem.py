"""The problem that a surrogate learns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from simsurrogate.spec import Spec
from surrogates.training_range import Statistics


@dataclass(frozen=True, repr=False)
class Problem:
    """A learning problem: the equation, the statistics and the time step of a data set.

    Attributes:
        spec: the equation, sites, fields and parameters.
        statistics: means and standard deviations over the training split.
        time_step: the time between two frames of the data, s.
        duration: the duration of a trajectory of the data, s.
        residual: `solvers.contract.Solver.residual` of the data's solver. The train stage sets it for
            `physics_informed` surrogates. The residual is not saved.
        initial_condition: `solvers.contract.Solver.initial_condition` of the data's solver. The
            function is not saved.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    spec: Spec
    statistics: Statistics
    time_step: float
    duration: float
    residual: Callable[..., Any] | None = dataclasses.field(default=None, compare=False)
    initial_condition: Callable[..., Any] | None = dataclasses.field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return everything except the solver's functions, as plain lists, numbers and strings."""
        return {
            "spec": self.spec.to_json(),
            "statistics": dataclasses.asdict(self.statistics),
            "time_step": self.time_step,
            "duration": self.duration,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Problem:
        """Return the problem of a document that `to_json` returned, with every type checked.

        Raises:
            ValueError: a key is missing or unknown, or a value has the wrong type.
        """
        problem: Problem = TypeAdapter(cls).validate_python(document)
        return problem

    def __repr__(self) -> str:
        names = ", ".join((*self.spec.coefficient_channels, *self.spec.parameter_names)) or "nothing else"
        times = f"{self.duration:g} s in steps of {self.time_step:g} s"
        return f"Problem {self.spec.summary}, given {names}; {times}"
