"""Compiled predictions: equal to the plain ones, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import surrogates
from surrogates import store
from surrogates.contract import Surrogate, surrogate_class, surrogate_names
from surrogates.deep_ensemble import Ensemble
from tests.support import problems
from tests.support.surrogate_cases import arguments_of, build

TIMES = [0.0, 0.25, 0.5, 1.0]


@pytest.fixture
def _eager_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace the functions, and run the traced operations without a C++ compiler."""
    compile_function = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, **options: compile_function(function, backend="eager", dynamic=False),
    )


@pytest.mark.usefixtures("_eager_backend")
@pytest.mark.parametrize("name", [name for name in surrogate_names() if surrogate_class(name).kernel])
def test_the_traced_prediction_equals_the_plain_one(name: str) -> None:
    surrogate = build(name, problems.learnable_problem(name, autonomous=False)).requires_grad_(False)
    arguments = arguments_of(surrogate.problem, TIMES)
    prediction = surrogate.compiled().predict(**arguments).mean
    torch.testing.assert_close(prediction, surrogate.predict(**arguments).mean, rtol=1e-12, atol=1e-12)


def test_a_loaded_network_predicts_by_compiled_code_the_same_to_round_off(tmp_path: Path) -> None:
    problem = problems.grid_problem((16,), ("periodic",))
    store.save(tmp_path, build("fno", problem, "float32"), "fno", problems.options("fno"), {})
    surrogate = surrogates.load(tmp_path)
    compiled_surrogate = surrogate.compiled()
    assert repr(compiled_surrogate) == repr(surrogate)
    arguments = arguments_of(problem, TIMES)
    expected = surrogate.predict(**arguments).mean
    for _ in range(2):
        torch.testing.assert_close(compiled_surrogate.predict(**arguments).mean, expected, rtol=1e-5, atol=0)


@pytest.mark.usefixtures("_eager_backend")
def test_the_members_of_an_ensemble_are_compiled() -> None:
    problem = problems.learnable_problem("fno")
    ensemble = Ensemble([build("fno", problem).requires_grad_(False) for _ in range(2)])
    arguments = arguments_of(problem, TIMES)
    members = ensemble.compiled().predict(**arguments).members
    assert members is not None
    torch.testing.assert_close(members, ensemble.predict(**arguments).members, rtol=1e-12, atol=1e-12)


def test_a_machine_without_a_compiler_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(function: object, **options: object) -> object:
        def run(*tensors: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("InvalidCxxCompiler: no C++ compiler\nmore lines")

        return run

    monkeypatch.setattr(torch, "compile", fail)
    surrogate = build("fno", problems.learnable_problem("fno")).compiled()
    message = r"torch\.compile fails for FNO on this machine: InvalidCxxCompiler: no C\+\+ compiler\. .*g\+\+"
    with pytest.raises(ValueError, match=message):
        surrogate.predict(**arguments_of(surrogate.problem, TIMES))


def test_a_wrong_compiled_result_is_refused_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: lambda *tensors: 1.01 * function(*tensors)
    )
    surrogate = build("fno", problems.learnable_problem("fno")).compiled()
    with pytest.raises(ValueError, match=r"compiled FNO differs from the plain one by 1\.0e-02"):
        surrogate.predict(**arguments_of(surrogate.problem, TIMES))


def test_a_surrogate_without_a_method_to_compile_is_refused() -> None:
    class Constant(Surrogate):
        def forward(self, batch: object) -> dict[str, torch.Tensor]:
            raise NotImplementedError

        def _predict(self, *arguments: object) -> object:  # type: ignore[override]
            raise NotImplementedError

    with pytest.raises(ValueError, match="Constant has no method to compile"):
        Constant(problems.learnable_problem("fno")).compiled()
