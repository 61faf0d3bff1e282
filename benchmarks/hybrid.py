"""The worth of simulated data next to measured data: the error on measurements against their share.

    python -m benchmarks.hybrid
    python -m benchmarks.hybrid --small

The measurements (`benchmarks.support.measured_data`) come from a finer solver with noise, gaps, and a
conductivity that is recorded too low. The simulation uses the recorded conductivity. Surrogates learn from
simulated trajectories alone, from measured ones alone, from a mixture, or from measured ones after a
pretraining on simulated ones. The number of measured trajectories varies, and the error is that of all frames
predicted from measured initial states, against the truth without noise. The surrogates predict all frames in
one pass from the first one, which has no gaps: missing values are only in the targets of the loss.

The study writes docs/studies/hybrid.md in about half an hour on one core. The same command continues after an
interruption. `--small` takes two minutes and writes the page to the study folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

import surrogates
from benchmarks.support import hybrid_page, measured_data, studies
from benchmarks.support.hybrid_page import Result
from benchmarks.support.measured_data import DESCRIPTION, Measured
from benchmarks.support.training import generate_dataset
from pipeline import adopt, train, validate
from pipeline.runs.folder import RunFolder
from simsurrogate.files import write_whole
from simsurrogate.relative_l2 import relative_l2
from tests.support.trainings.training_cases import read_settings


@dataclass(frozen=True)
class Size:
    """The size of a study: numbers of trajectories and steps; `counts` are numbers of measured ones."""

    seeds: tuple[int, ...]
    simulated: int
    counts: tuple[int, ...]
    valid: int
    test: int
    steps: int
    fine_tuning_steps: int


FULL = Size(
    seeds=(0, 1, 2),
    simulated=128,
    counts=(2, 4, 8, 16, 32, 64),
    valid=8,
    test=32,
    steps=800,
    fine_tuning_steps=200,
)
SMALL = Size(seeds=(0,), simulated=16, counts=(2, 8), valid=2, test=4, steps=50, fine_tuning_steps=20)
_SURROGATE = (
    *("surrogate=fno", "surrogate.width=16", "surrogate.modes=8", "surrogate.predicts=all_frames"),
    *(f"training.unroll={measured_data.STEPS}", "training.batch_size=8", "training.device=cpu"),
)


@dataclass(frozen=True)
class Study:
    """The trainings of one seed in a folder."""

    folder: Path
    size: Size
    seed: int

    def run(self) -> Iterator[Result]:
        """Yield the error of each training; finished trainings are read from their files."""
        simulated = generate_dataset(
            self.folder / "simulation",
            f"solver.resolution={measured_data.CELLS}",
            f"solver.diffusivity.range=[{','.join(map(str, measured_data.RANGE))}]",
            *measured_data.OUTPUT,
            f"seed={self.seed}",
            f"samples={{train: {self.size.simulated}, valid: {self.size.valid}, test: 1, "
            "test_extrapolation: 0, per_shard: 8}",
        )
        steps, few_steps = self.size.steps, self.size.fine_tuning_steps
        yield self._result("simulation", 0, steps, f"dataset={simulated}")
        first_model = RunFolder.at(self.folder / "simulation-0").with_model("fno").model_folder
        for count in self.size.counts:
            measured = self._adopt(count)
            yield self._result("measured", count, steps, f"dataset={measured}")
            mixture = (f"dataset=[{simulated},{measured}]", "mixture.weights=[0.5,0.5]")
            yield self._result("mixed", count, steps, *mixture)
            start = (f"training.start_from={first_model}", "training.learning_rate=1e-3")
            yield self._result("fine-tuned", count, few_steps, f"dataset={measured}", *start)

    @cached_property
    def _measured(self) -> dict[str, Measured]:
        """The measured trajectories of each split."""
        samples = {"train": self.size.counts[-1], "valid": self.size.valid, "test": self.size.test}
        # Another seed than that of the simulation, which has other initial states.
        return measured_data.measure(self.folder / "truth", self.seed + 1000, samples)

    def _adopt(self, count: int) -> Path:
        """Return a data set of the first `count` measured training trajectories."""
        folder = self.folder / f"measured-data-{count}"
        splits = self._measured | {"train": self._measured["train"].first(count)}
        source = measured_data.write(folder / "files", splits)
        description = folder / "adopt.yaml"
        description.write_text(DESCRIPTION)
        settings = read_settings(f"run={folder}", f"source={source}", f"description={description}")
        for stage in (adopt, validate):
            stage.run(settings)
        return settings.dataset

    def _result(self, method: str, count: int, steps: int, *options: str) -> Result:
        """Train and measure a surrogate, unless its result exists."""
        folder = self.folder / f"{method}-{count}"
        path = folder / "result.json"
        if path.exists():
            return Result(**json.loads(path.read_text()))
        settings = read_settings(
            f"run={folder}",
            *options,
            *_SURROGATE,
            f"training.seed={self.seed}",
            f"training.warmup_steps={min(steps // 5, 50)}",
            f"training.steps={steps}",
            # The measured valid split selects the best of four sets of weights.
            *(f"training.{key}={steps // 4}" for key in ("validate_every", "checkpoint_every")),
        )
        train.run(settings)
        result = Result(method, count, self.seed, self._error(RunFolder.of(settings).model_folder))
        write_whole(path, json.dumps(dataclasses.asdict(result)) + "\n")
        print(result, flush=True)
        return result

    def _error(self, model: Path) -> float:
        """Return the relative L2 error of predictions, mean over test trajectories and frames."""
        test = self._measured["test"]
        inputs = test.parameters | {"diffusivity": test.diffusivity}
        start = test.values[:, 0, None].astype(np.float32)
        prediction = surrogates.load(model).predict(start, inputs, test.time).mean[:, 1:, 0]
        truth = test.truth[:, 1:]

        def norm(values: np.ndarray) -> np.ndarray:
            return np.linalg.norm(values, axis=(-2, -1))

        return float(relative_l2(prediction.double().numpy(force=True), truth, norm, floor=0.0).mean())


def main() -> None:
    """Run the trainings of all seeds, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a check of the study in two minutes")
    is_small = parser.parse_args().small
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    size = SMALL if is_small else FULL
    folder = Path("runs", "hybrid-small" if is_small else "hybrid").absolute()
    results = [result for seed in size.seeds for result in Study(folder / f"seed-{seed}", size, seed).run()]
    place = studies.Place(folder, folder) if is_small else studies.DOCS
    hybrid_page.write(results, simulated=size.simulated, valid=size.valid, place=place)


if __name__ == "__main__":
    main()
