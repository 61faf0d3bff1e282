"""Fine-tuning: layers that keep their weights, low-rank adapters, and the lineage of a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

import surrogates
from pipeline.config.settings import Training
from pipeline.training import checkpoint, option_checks
from pipeline.training.fine_tuning import keep_weights, merge_adapters
from simsurrogate.errors import UserError
from surrogates import store
from tests.support.trainings.power_failures import resumed_model
from tests.support.trainings.training_cases import (
    are_identical,
    read_settings,
    tiny_arguments,
    train_model,
    train_together,
)

FROZEN = "training.freeze=[network.lifting,network.layers.0.spectral.weight]"
ADAPTERS = "training.adapter_rank=2"


def weights_of(model: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(model / "model.safetensors")


def options_of(*overrides: str) -> Training:
    return read_settings(*tiny_arguments(Path("run"), Path("data"), *overrides)).training


def rank_of_change(weight: torch.Tensor, first_weight: torch.Tensor) -> int:
    change = (weight - first_weight).flatten(1).double()
    return int(torch.linalg.matrix_rank(change, rtol=1e-4))


@pytest.mark.parametrize("overrides", [(FROZEN,), (ADAPTERS, "training.freeze=[network.projection]")])
def test_kept_weights_do_not_change_and_a_killed_training_resumes_exactly(
    overrides: tuple[str, ...],
    dataset: Path,
    undisturbed_model: Path,
    tmp_path: Path,
) -> None:
    arguments = (*overrides, f"training.start_from={undisturbed_model}", "model=tuned", "training.ema=0.9")
    model = train_model(tmp_path / "uninterrupted", dataset, *arguments)
    first_weights, weights = weights_of(undisturbed_model), weights_of(model)
    assert weights.keys() == first_weights.keys()
    changed = {name for name, weight in weights.items() if not torch.equal(weight, first_weights[name])}
    if ADAPTERS in overrides:
        assert changed
        assert all(rank_of_change(weights[name], first_weights[name]) <= 2 for name in changed)
        assert not any(name.startswith("network.projection") or name.endswith("bias") for name in changed)
    else:
        kept = {name for name in weights if name.startswith("network.lifting")}
        assert set(weights) - changed == kept | {"network.layers.0.spectral.weight"}
    assert not torch.equal(predicted(model), predicted(undisturbed_model)), (
        "the saved model is the tuned model, without adapters"
    )

    resumed = resumed_model(tmp_path / "killed", dataset, *arguments, failed_step=17)
    assert are_identical(resumed, model)


def predicted(model: Path) -> torch.Tensor:
    surrogate = surrogates.load(model)
    spec = surrogate.problem.spec
    state = torch.linspace(-1, 1, spec.shape[0]).view(1, 1, -1)
    inputs = {name: torch.full(spec.shape, 0.2) for name in spec.coefficient_channels}
    inputs |= {parameter.name: (parameter.low + parameter.high) / 2 for parameter in spec.parameters}
    return surrogate.predict(state, inputs, [0.0, surrogate.problem.time_step]).mean


def test_two_ranks_train_the_same_adapters_as_one(
    dataset: Path, undisturbed_model: Path, tmp_path: Path
) -> None:
    arguments = (ADAPTERS, f"training.start_from={undisturbed_model}", "model=tuned", "training.steps=5")
    model = train_model(tmp_path / "one", dataset, *arguments)
    train_together(tmp_path / "runs.json", [tiny_arguments(tmp_path / "two", dataset, *arguments)])
    other_weights = weights_of(tmp_path / "two" / "models" / "tuned")
    for name, weight in weights_of(model).items():
        torch.testing.assert_close(other_weights[name], weight, rtol=1e-4, atol=1e-6)


def test_adapters_start_from_the_model_and_are_merged(undisturbed_model: Path) -> None:
    surrogate, reference = store.load(undisturbed_model), store.load(undisturbed_model)
    keep_weights(surrogate, options_of(ADAPTERS, "training.start_from=model"))
    adapters = [name for name, weight in surrogate.named_parameters() if weight.requires_grad]
    assert adapters
    assert all(name.endswith((".left", ".right")) for name in adapters)
    merge_adapters(surrogate)
    for name, weight in reference.state_dict().items():
        assert torch.equal(surrogate.state_dict()[name], weight), name


def test_the_lineage_lists_all_earlier_models(dataset: Path, undisturbed_model: Path, tmp_path: Path) -> None:
    model, checksums = undisturbed_model, []
    for name in ("second", "third"):
        checksums.append(store.description(model)["weights_sha256"])
        start = (f"training.start_from={model}", f"model={name}", "training.steps=2")
        model = train_model(tmp_path, dataset, *start)
    lineage = store.description(model)["configuration"]["lineage"]
    assert [entry["weights_sha256"] for entry in lineage] == checksums
    assert [(entry["steps"], entry["trajectories"]) for entry in lineage] == [(30, 12), (2, 12)]
    newest_path = checkpoint.paths(model / "checkpoints")[-1]
    assert checkpoint.load(newest_path).configuration["lineage"] == lineage


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([FROZEN], r"starts from random weights.*Add training.start_from="),
        ([ADAPTERS], r"adapter_rank=2 keeps.*starts from random weights"),
        (["training.start_from=m", "training.freeze=[lift]"], r"lift is no layer.*network.lifting.*Type"),
        (["training.start_from=m", "training.freeze=[network]"], r"leaves no weight to train"),
        (["training.start_from=m", "training.adapter_rank=900"], r"adapter_rank=900 is too large"),
        (["training.start_from=m", ADAPTERS, "training.finish.method=lbfgs"], r"Only AdamW is allowed"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    overrides: list[str], message: str, undisturbed_model: Path
) -> None:
    with pytest.raises(UserError, match=message):
        option_checks.check(store.load(undisturbed_model), options_of(*overrides))
