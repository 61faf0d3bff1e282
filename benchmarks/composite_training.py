"""Trainings of a one-pass U-Net on the composite, each with another option, and trainings of other networks.

The data are those of `experiment=composite` from half the solver's cells along each axis and a quarter of its
trajectories. Each row changes one option of the first row. All rows train on the same number of windows,
unless the row says otherwise. The error is the valid error of the train stage (docs/training.md): the
relative L2 error of all later frames on 32 trajectories that are in no batch.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.support.measuring import print_and_store
from benchmarks.support.training import generate_dataset, train_surrogate
from surrogates import store

DATA = (
    "experiment=composite",
    "solver.resolution=192",
    "output.coarsen=6",
    "samples={train: 384, valid: 32, test: 1, test_extrapolation: 0, per_shard: 16}",
)
STEPS, BATCH = 1000, 16
TEACHER_WIDTH, STUDENT_WIDTH = 24, 8
#: The rows: a label, the name of the surrogate, and its options.
ROWS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("base: width 16, learning rate 2e-3, batch 16", "unet", ()),
    ("learning rate 5e-4", "unet", ("training.learning_rate=5e-4",)),
    ("learning rate 1e-3", "unet", ("training.learning_rate=1e-3",)),
    ("learning rate 4e-3", "unet", ("training.learning_rate=4e-3",)),
    ("learning rate 8e-3", "unet", ("training.learning_rate=8e-3",)),
    ("no average of the weights", "unet", ("training.ema=0.0",)),
    ("average of the weights over 1000 steps", "unet", ("training.ema=0.999",)),
    ("batch 8", "unet", (f"training.steps={2 * STEPS}", "training.batch_size=8")),
    ("batch 32", "unet", (f"training.steps={STEPS // 2}", "training.batch_size=32")),
    (
        "batch 32, learning rate 3e-3",
        "unet",
        (f"training.steps={STEPS // 2}", "training.batch_size=32", "training.learning_rate=3e-3"),
    ),
    ("twice the steps", "unet", (f"training.steps={2 * STEPS}",)),
    (
        "twice the steps, learning rate 4e-3",
        "unet",
        (f"training.steps={2 * STEPS}", "training.learning_rate=4e-3"),
    ),
    (
        "four times the steps, learning rate 4e-3",
        "unet",
        (f"training.steps={4 * STEPS}", "training.learning_rate=4e-3"),
    ),
    (f"width {TEACHER_WIDTH}", "unet", (f"surrogate.width={TEACHER_WIDTH}",)),
    (f"width {STUDENT_WIDTH}", "unet", (f"surrogate.width={STUDENT_WIDTH}",)),
    (f"width {STUDENT_WIDTH}, taught by width {TEACHER_WIDTH}", "custom", ()),
    ("next frame, 2 frames in the loss", "unet", ("surrogate.predicts=next_frame", "training.unroll=2")),
    ("FNO of all frames", "fno", ()),
    ("FNO of all frames, learning rate 4e-3", "fno", ("training.learning_rate=4e-3",)),
    (
        "FNO of all frames, twice the steps, learning rate 4e-3",
        "fno",
        (f"training.steps={2 * STEPS}", "training.learning_rate=4e-3"),
    ),
    (
        "FNO of all frames, four times the steps, learning rate 4e-3",
        "fno",
        (f"training.steps={4 * STEPS}", "training.learning_rate=4e-3"),
    ),
    ("DeepONet, from the first frame to all later ones", "deeponet", ()),
    ("DeepONet, from any frame to the next 5", "deeponet", ("training.unroll=5",)),
)


def main() -> None:
    """Print and store the errors."""
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = generate_dataset(folder / "data", *DATA)
        rows = [_row(folder, dataset, *row) for row in ROWS]
    claim = "Trainings on the composite: relative L2 error of all later frames on the valid split"
    print_and_store("composite_training", claim, rows, ["torch", "numpy"])


def _row(
    folder: Path, dataset: Path, label: str, surrogate: str, options: tuple[str, ...]
) -> dict[str, object]:
    run = _run_folder(folder, label)
    steps = next((option.split("=")[1] for option in options if option.startswith("training.steps=")), STEPS)
    trained, _ = train_surrogate(
        run,
        dataset,
        *_surrogate_options(folder, surrogate),
        f"training.batch_size={BATCH}",
        "training.unroll=10",
        "training.ema=0.99",
        *(f"training.{key}={steps}" for key in ("steps", "validate_every", "checkpoint_every")),
        *options,
    )
    (model,) = (run / "models").iterdir()
    error = float(store.description(model)["valid_error"])
    print(f"{label}: {error:.2%}", file=sys.stderr, flush=True)
    return {
        "training": label,
        "weights": sum(weight.numel() for weight in trained.parameters()),
        "error": f"{error:.2%}",
    }


def _surrogate_options(folder: Path, name: str) -> list[str]:
    """Return the overrides that select a surrogate with the options of its row's base."""
    if name == "unet":
        return ["surrogate=unet", "surrogate.width=16", "surrogate.predicts=all_frames"]
    if name == "fno":
        return ["surrogate=fno", "surrogate.predicts=all_frames"]
    if name == "deeponet":
        return ["surrogate=deeponet"]
    teacher = _run_folder(folder, f"width {TEACHER_WIDTH}") / "models" / "unet"
    file = Path(__file__).parent / "support" / "distilled_unet.py"
    return [
        "surrogate=custom",
        "++surrogate.name=distilled_unet",
        f"++surrogate.path={file}",
        f"++surrogate.width={STUDENT_WIDTH}",
        f"++surrogate.teacher={teacher}",
    ]


def _run_folder(folder: Path, label: str) -> Path:
    """Return the run folder of a row."""
    return folder / re.sub(r"\W+", "-", label)


if __name__ == "__main__":
    main()
