"""The error after fine-tuning on a shifted parameter range, against the number of steps.

    python -m benchmarks.fine_tuning

A Fourier neural operator learns heat conduction in random materials. A second data set has few trajectories,
and materials that conduct better than all materials of the first. Models are trained on the second data set
from random weights, from the weights of the first model, from these weights with frozen Fourier weights, and
with low-rank adapters. Each number of steps is a training of its own with its own schedule. Errors are
relative L2 errors of rollouts on the test split of the second data set, means over trajectories and frames.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.support.measuring import print_and_store
from benchmarks.support.training import generate_dataset, rollout_errors, train_surrogate

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "fine_tuning.png"
STEPS = (25, 50, 100, 200, 400)
SEEDS = (0, 1)
FIRST_STEPS = 600
DATA = ("solver=heat", "solver.resolution=24", "storage.max_error=0.2", "output={duration: 0.05, steps: 5}")
TRAINING = ("surrogate=fno", "surrogate.width=16", "surrogate.modes=8", "training.batch_size=8")
#: The options of each way to train, on the second data set.
METHODS = {
    "from random weights": (),
    "fine-tuned": ("training.learning_rate=1e-3",),
    "fine-tuned, Fourier weights frozen": (
        "training.learning_rate=1e-3",
        f"training.freeze=[{','.join(f'network.layers.{layer}.spectral' for layer in range(4))}]",
    ),
    "fine-tuned, adapters of rank 4": ("training.learning_rate=2e-3", "training.adapter_rank=4"),
}


def main() -> None:
    """Print and store the errors, and draw the figure."""
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first_data, data = (
            generate_dataset(
                folder / kind,
                *DATA,
                f"solver.diffusivity.range={values}",
                f"samples={{train: {count}, valid: 8, test: 16, test_extrapolation: 0, per_shard: 8}}",
            )
            for kind, values, count in (("first", "[0.1,0.3]", 128), ("second", "[0.4,0.8]", 32))
        )
        rows: list[dict[str, object]] = []
        for seed in SEEDS:
            first_run = folder / f"first-{seed}"
            first_model, _ = train_surrogate(first_run, first_data, *TRAINING, *_lengths(FIRST_STEPS, seed))
            error = float(np.mean(rollout_errors(first_model, data)))
            rows.append({"weights": "first model, as it is", "seed": seed, "0 steps": error})
            for method, options in METHODS.items():
                start = (f"training.start_from={first_run / 'models' / 'fno'}",) if options else ()
                errors = {}
                for steps in STEPS:
                    run = folder / f"{method}-{steps}-{seed}".replace(" ", "-").replace(",", "")
                    model, _ = train_surrogate(run, data, *TRAINING, *options, *start, *_lengths(steps, seed))
                    errors[f"{steps} steps"] = float(np.mean(rollout_errors(model, data)))
                rows.append({"weights": method, "seed": seed, **errors})
                print(rows[-1], flush=True)
    claim = (
        "Fine-tuning of an FNO on heat in better conductors: relative L2 error of rollouts on the test split"
    )
    print_and_store("fine_tuning", claim, rows, ["torch", "numpy"])
    draw(rows)


def draw(rows: list[dict[str, object]]) -> None:
    """Write the figure: the error of each seed (dots) and their mean (lines) against the steps."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for index, method in enumerate(METHODS):
        errors = np.array(
            [[row[f"{steps} steps"] for steps in STEPS] for row in rows if row["weights"] == method],
            dtype=float,
        )
        axes.loglog(STEPS, errors.mean(0), color=f"C{index}", label=method)
        for seed_errors in errors:
            axes.plot(STEPS, seed_errors, "o", color=f"C{index}", markersize=4)
    first_error = np.mean([row["0 steps"] for row in rows if "0 steps" in row])
    axes.axhline(float(first_error), color="grey", linestyle=":", label="first model, as it is")
    axes.set_xlabel("training steps on the shifted range")
    axes.set_ylabel("relative L2 error of rollouts")
    axes.set_xticks(STEPS, [str(steps) for steps in STEPS])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(IMAGE, dpi=110)


def _lengths(steps: int, seed: int) -> list[str]:
    """Return the options of a training of `steps` steps that is validated at its end."""
    return [
        f"training.seed={seed}",
        f"training.warmup_steps={min(steps // 5, 50)}",
        *(f"training.{key}={steps}" for key in ("steps", "validate_every", "checkpoint_every")),
    ]


if __name__ == "__main__":
    main()
