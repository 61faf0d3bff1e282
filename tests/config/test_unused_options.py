"""Options without effect: they are dropped at their default and refused at another value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from pipeline.config import build, unused_options
from pipeline.config.settings import Finish
from simsurrogate.errors import UserError
from solvers.contract import Solver
from tests.support import problems
from tests.support.trainings.training_cases import read_settings


@dataclass(frozen=True)
class Constant:
    kind: Literal["constant"]
    range: tuple[float, float]


@dataclass(frozen=True)
class Lognormal:
    kind: Literal["lognormal"]
    range: tuple[float, float]
    modes: int


@dataclass(frozen=True)
class Inclusions:
    kind: Literal["inclusions"]
    range: tuple[float, float]
    contrast: tuple[float, float]


@dataclass(frozen=True)
class Heaters:
    count: int
    rate: tuple[float, float] = (0.0, 0.0)


class ToySolver(Solver):
    method = "none"

    def __init__(
        self, *, diffusivity: Constant | Lognormal | Inclusions, heaters: Heaters, communicator: object
    ):
        self.diffusivity, self.heaters, self.communicator = diffusivity, heaters, communicator  # type: ignore[assignment]
        self.spec, self.block = problems.grid_problem((8,), ("periodic",)).spec, (slice(0, 8),)

    @classmethod
    def unused_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if options["heaters"]["count"] == 0:
            yield "heaters.rate", "solver.heaters.count=0"

    def sample(self, rng: object, outside: bool = False) -> Any: ...

    def prepare(self, parameters: object) -> Any: ...


YAML: dict[str, Any] = {
    "name": "toy",
    "diffusivity": {"kind": "lognormal", "range": [0.1, 0.3], "modes": 16, "contrast": [4.0, 10.0]},
    "heaters": {"count": 0, "rate": [5.0, 20.0]},
}


@pytest.fixture(autouse=True)
def _toy_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "solver_class", lambda name, path: ToySolver)
    monkeypatch.setattr(unused_options, "_default_options", lambda group, choice: YAML)


def with_diffusivity(**changes: Any) -> dict[str, Any]:
    return YAML | {"diffusivity": YAML["diffusivity"] | changes}


def test_the_yaml_lists_all_kinds_and_the_unused_options_are_dropped() -> None:
    assert build.effective_options(YAML) == {
        "name": "toy",
        "diffusivity": {"kind": "lognormal", "range": [0.1, 0.3], "modes": 16},
        "heaters": {"count": 0},
    }


def test_the_kind_selects_the_dataclass() -> None:
    solver = build.build_solver(with_diffusivity(kind="inclusions"), None)
    assert isinstance(solver, ToySolver)
    assert solver.diffusivity == Inclusions("inclusions", (0.1, 0.3), (4.0, 10.0))


def test_effective_options_of_effective_options_are_the_same() -> None:
    effective_options = build.effective_options(YAML)
    assert build.effective_options(effective_options) == effective_options


def test_an_option_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError) as refusal:
        build.build_solver(with_diffusivity(contrast=[2, 3]), None)
    assert str(refusal.value) == (
        "solver.diffusivity.contrast=[2, 3] has no effect with solver.diffusivity.kind=lognormal. "
        "The option belongs to kind=inclusions. Remove it, or type solver.diffusivity.kind=inclusions"
    )


def test_an_option_that_the_solver_names_is_refused() -> None:
    with pytest.raises(UserError) as refusal:
        build.build_solver(YAML | {"heaters": {"count": 0, "rate": [1, 2]}}, None)
    assert str(refusal.value) == (
        "solver.heaters.rate=[1, 2] has no effect with solver.heaters.count=0. "
        "Only the default of its YAML is accepted. Remove it"
    )


def test_a_data_set_may_record_unused_options() -> None:
    options = with_diffusivity(contrast=[2, 3])
    build.build_recorded_solver({"solver": options, "output": {}}, {}, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "lognormall"}, "solver.diffusivity.kind='lognormall': there is no such kind; did you mean"),
        (
            {"modes": "many"},
            "solver.diffusivity.modes='many' is not allowed. The value must be an integer.",
        ),
        ({"mods": 3}, "solver.diffusivity.mods: there is no such key; did you mean 'modes'?"),
    ],
)
def test_messages_name_the_key_without_the_kind(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        build.build_solver(with_diffusivity(**changes), None)
    assert str(refusal.value).startswith(message)


def test_a_missing_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"^solver\.diffusivity\.kind is missing"):
        build.build_solver(YAML | {"diffusivity": {"range": [1.0, 2.0]}}, None)


@pytest.mark.parametrize(("option", "default"), [("steps", 10), ("iterations", 100)])
def test_options_of_a_second_order_method_need_the_method(option: str, default: int) -> None:
    assert read_settings().training.finish == Finish(method="none")
    assert (
        getattr(
            read_settings("training.finish.method=lbfgs", f"training.finish.{option}=3").training.finish,
            option,
        )
        == 3
    )
    with pytest.raises(UserError) as refusal:
        read_settings(f"training.finish.{option}=3")
    assert str(refusal.value) == (
        f"training.finish.{option}=3: has no effect with training.finish.method=none. "
        f"Only its default {default} is accepted. "
        f"Type training.finish.{option}={default}, or choose a method with training.finish.method=lbfgs"
    )
