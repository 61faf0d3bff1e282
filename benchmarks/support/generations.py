"""Generations of surrogates that are trained on rollouts of the surrogate before them.

A study folder holds one folder for each training: `SYSTEM/seed-0/first` for the first generation, which all
policies share, and `SYSTEM/seed-0/POLICY/generation-02` for each later one. Its file `measurement.json` is
written last, so a study that was killed continues with the first training without this file, and the stages
of this training continue where they stood.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import surrogates
from benchmarks.support.state_statistics import shell_energies, small_scale_ratio, variance_ratio
from benchmarks.support.training import generate_dataset
from pipeline import train
from pipeline.data.dataset import Dataset
from pipeline.data.manifest import read_complete_manifest
from pipeline.evaluation import cases
from pipeline.runs.folder import RunFolder
from pipeline.runs.lock import LockedError
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole
from simsurrogate.relative_l2 import relative_l2
from tests.support.trainings.training_cases import read_settings


@dataclass(frozen=True)
class System:
    """A system of the study.

    Attributes:
        title: its name in the text of the page.
        solver: the options of the data that the solver computes.
        output: the options of all data: the times, and the allowed error.
        field: the field whose energy and variance are compared.
        largest_shell: the largest wave number that the solver keeps, in waves along an axis.
        largest_residual: the largest residual of a verified trajectory, over the rate of change.
    """

    title: str
    solver: tuple[str, ...]
    output: tuple[str, ...]
    field: str
    largest_shell: int
    largest_residual: float


@dataclass(frozen=True)
class Policy:
    """The training data of a generation.

    Attributes:
        title: its name in the text of the page.
        accumulates: whether a generation trains on the data of all generations before it, with the solver's
            data, instead of the newest data alone.
        steps_grow: whether the number of training steps grows with the data.
        is_verified: whether a rollout is kept only if its residual under the equation is small.
    """

    title: str
    accumulates: bool = False
    steps_grow: bool = False
    is_verified: bool = False


POLICIES = {
    "replace": Policy("replace"),
    "accumulate": Policy("accumulate", accumulates=True, steps_grow=True),
    "fixed-budget": Policy("accumulate, fixed budget", accumulates=True),
    "verified": Policy("replace, verified", is_verified=True),
}


@dataclass(frozen=True)
class Size:
    """The size of a study; `train` trajectories are new in each generation."""

    generations: int
    seeds: tuple[int, ...]
    train: int
    valid: int
    test: int
    steps: int


@dataclass(frozen=True)
class Measurement:
    """The comparison of a generation's surrogate with the solver, on test trajectories of the solver.

    Attributes:
        system: the key of the system.
        policy: the key of the policy.
        seed: the seed of data and trainings.
        generation: 1 for the surrogate of the solver's data.
        steps: the number of training steps.
        error: the relative L2 error of rollouts, mean over trajectories, frames and fields.
        small_scales: the energy in the upper third of the wave numbers, over that of the solver, at the end.
        variance: the variance over the trajectories, over that of the solver, at the end.
        spectrum: the energy in each shell of wave numbers, over that of the solver, at the end.
        kept: the share of the newest rollouts that the verification kept; None without one.
        remark: why the generation has no surrogate; the numbers are then None.
    """

    system: str
    policy: str
    seed: int
    generation: int
    steps: int
    error: float | None = None
    small_scales: float | None = None
    variance: float | None = None
    spectrum: tuple[float, ...] | None = None
    kept: float | None = None
    remark: str = ""


#: The file of a measurement, and the name of all models.
_MEASUREMENT, _MODEL = "measurement.json", "fno"
#: The options of all trainings. The network is small, so that 240 trainings take two hours.
_SURROGATE = (
    "surrogate=fno",
    "surrogate.width=16",
    "surrogate.modes=8",
    "training.batch_size=8",
    "training.device=cpu",
)
#: The guard of train refuses data of models unless the command line allows them.
_ALLOWED = ("lineage.max_model_share=1", "lineage.max_generation=10", "lineage.allow_model_tests=true")


@dataclass(frozen=True)
class Chain:
    """The generations of one system, policy and seed in a study folder."""

    study: Path
    system_key: str
    system: System
    policy_key: str
    seed: int
    size: Size

    def run(self) -> Iterator[Measurement]:
        """Yield the measurement of each generation. The chain ends with a generation without surrogate."""
        policy = POLICIES[self.policy_key]
        datasets = [self._generate_solver_data()]
        model = RunFolder.at(self._folder / "first").with_model(_MODEL).model_folder
        yield self._measurement(1, self._folder / "first", datasets, self.size.steps)
        for generation in range(2, self.size.generations + 1):
            folder = self._folder / self.policy_key / f"generation-{generation:02}"
            steps = self.size.steps * (generation if policy.steps_grow else 1)
            datasets = [*datasets, folder / "dataset"] if policy.accumulates else [folder / "dataset"]
            try:
                if not (folder / _MEASUREMENT).exists():
                    self._generate_rollouts(generation, folder, model)
                measurement = self._measurement(generation, folder, datasets, steps)
            except LockedError:
                raise
            except UserError as error:
                # The rollouts diverge, or the verification rejects too many: the page shows the reason.
                measurement = self._written(folder, generation, steps, remark=str(error).partition("\n")[0])
            yield measurement
            if measurement.remark:
                return
            model = RunFolder.at(folder).with_model(_MODEL).model_folder

    @property
    def _folder(self) -> Path:
        return self.study / self.system_key / f"seed-{self.seed}"

    def _generate_solver_data(self) -> Path:
        """Return the data set of the solver, which all policies of a seed share."""
        return generate_dataset(
            self._folder / "solver",
            *self.system.solver,
            *self.system.output,
            *self._samples(generation=1, test=self.size.test),
        )

    def _generate_rollouts(self, generation: int, folder: Path, model: Path) -> None:
        """Generate the data set of a generation by the surrogate of the generation before it."""
        is_verified = POLICIES[self.policy_key].is_verified
        generate_dataset(
            folder,
            "solver=surrogate",
            f"solver.model={model}",
            *(_verification(self.system.largest_residual) if is_verified else ()),
            *self.system.output,
            # One rejected trajectory must not end the chain, so the split has more than one.
            *self._samples(generation, test=4),
        )

    def _samples(self, generation: int, test: int) -> list[str]:
        """Return the options of a data set whose initial states are new in each generation."""
        return [
            f"seed={1000 * self.seed + generation}",
            f"samples={{train: {self.size.train}, valid: {self.size.valid}, test: {test}, "
            f"test_extrapolation: 0, per_shard: 8}}",
        ]

    def _measurement(self, generation: int, folder: Path, datasets: list[Path], steps: int) -> Measurement:
        """Train and measure the surrogate of a generation, unless its measurement exists."""
        path = folder / _MEASUREMENT
        if path.exists():
            # All policies share the first generation.
            return dataclasses.replace(Measurement(**json.loads(path.read_text())), policy=self.policy_key)
        settings = read_settings(
            f"run={folder}",
            *_data_options(datasets),
            *_SURROGATE,
            *(_ALLOWED if generation > 1 else ()),
            f"training.seed={1000 * self.seed + generation}",
            f"training.warmup_steps={min(steps // 5, 50)}",
            *(f"training.{key}={steps}" for key in ("steps", "validate_every", "checkpoint_every")),
        )
        train.run(settings)
        results = self._compare(RunFolder.of(settings).model_folder)
        if generation > 1 and POLICIES[self.policy_key].is_verified:
            results["kept"] = _kept_share(datasets[-1])
        return self._written(folder, generation, steps, **results)

    def _compare(self, model: Path) -> dict[str, Any]:
        """Return the numbers of a `Measurement` that compare a surrogate with the solver."""
        dataset = Dataset.open(self._folder / "solver" / "dataset")
        test = cases.load(dataset, "test", range(dataset.num_trajectories("test")))
        truth = test.state[:, 1:]
        predicted = cases.predict(surrogates.load(model), test, 0, len(test.time) - 1)

        def norm(values: np.ndarray) -> np.ndarray:
            """Return the norm of each field, (B, T, F)."""
            fields = [values[:, :, list(channels)] for channels in dataset.spec.field_channels]
            return np.stack(
                [np.linalg.norm(field.reshape(*field.shape[:2], -1), axis=-1) for field in fields], -1
            )

        system = self.system
        ends = (predicted[:, -1], truth[:, -1])
        energies, true_energies = (
            shell_energies(dataset.spec, system.field, states, system.largest_shell) for states in ends
        )
        return {
            "error": float(relative_l2(predicted, truth, norm, floor=0.0).mean()),
            "small_scales": small_scale_ratio(energies, true_energies),
            "spectrum": (energies / true_energies).tolist(),
            "variance": variance_ratio(dataset.spec, system.field, *ends),
        }

    def _written(self, folder: Path, generation: int, steps: int, **results: Any) -> Measurement:
        """Write the measurement of a generation, the last file of its folder, and return it."""
        measurement = Measurement(self.system_key, self.policy_key, self.seed, generation, steps, **results)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _MEASUREMENT, json.dumps(dataclasses.asdict(measurement), indent=2) + "\n")
        print(measurement, flush=True)
        return measurement


def _verification(bound: float) -> tuple[str, ...]:
    """Return the options of `solver=surrogate` that reject rollouts with a residual above a bound."""
    return ("solver.verify.kind=residual", f"solver.verify.bound={bound}")


def _kept_share(dataset: Path) -> float:
    """Return the share of the trajectories of a data set that its verification kept."""
    manifest = read_complete_manifest(dataset)
    num_kept = sum(shard.trajectories for shard in manifest.shards)
    return num_kept / (num_kept + sum(failure.rejected for failure in manifest.failed))


def _data_options(datasets: list[Path]) -> list[str]:
    """Return the options of a training on data sets of equal size, with equal shares."""
    if len(datasets) == 1:
        return [f"dataset={datasets[0]}"]
    shares = [f"{1 / len(datasets):.9f}"] * len(datasets)
    return [f"dataset=[{','.join(map(str, datasets))}]", f"mixture.weights=[{','.join(shares)}]"]
