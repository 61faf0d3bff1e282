"""The effect of hard constraints on the error with few data: the same training without and with constraints.

Each surrogate is trained on 16 trajectories on 24^2 cells, with two seeds. `mlp` and `pinn` apply their
constraints in predictions alone, so the two trainings are equal and the predictions differ by the projection.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from benchmarks.support.measuring import keep
from benchmarks.support.training import errors, generated_dataset, trained_surrogate

SEEDS = (0, 1)
SAMPLES = (
    "samples={train: 16, valid: 4, test: 16, test_extrapolation: 0, per_shard: 16}",
    "solver.resolution=24",
    "output.steps=10",
)
RANDOM = ("solver=heat", "output.duration=0.1", "solver.initial.modes=6", "solver.diffusivity.modes=6")
#: Fields that the scalar parameters determine.
HARMONICS = (
    "solver=heat",
    "output.duration=0.1",
    "solver.diffusivity={kind: constant, range: [0.05, 0.2]}",
    "solver.initial={kind: harmonics, count: 3}",
)
INSULATED = ("solver.boundary={x: neumann, y: neumann}",)
COLD = ("solver.boundary={x: dirichlet, y: dirichlet}",)
DECAYING = ("solver=navier_stokes", "solver.forcing={kind: none}", "output.duration=2.0")
VORTICES = (
    *DECAYING,
    "solver.viscosity=[5e-3, 2e-2]",
    "solver.initial={kind: taylor_green, waves: 1, phases: zero, amplitude: [0.5, 1.5]}",
)
DATASETS = {
    "heat in an insulated box, random conductivity": (*RANDOM, *INSULATED),
    "heat between cold walls, random conductivity": (*RANDOM, *COLD),
    "decaying flow": DECAYING,
    "harmonics in an insulated box": (*HARMONICS, *INSULATED),
    "harmonics between cold walls": (*HARMONICS, *COLD),
    "Taylor-Green vortices": VORTICES,
}
FNO = ("surrogate=fno", "surrogate.width=12", "surrogate.modes=8", "training.steps=400")
PI_DEEPONET = (
    "surrogate=pi_deeponet",
    "surrogate.width=12",
    "surrogate.modes=8",
    "surrogate.times=1",
    "training.unroll=5",
    "training.steps=400",
)
MLP = ("surrogate=mlp", "surrogate.width=64", "training.unroll=10", "training.steps=400")
PINN = ("surrogate=pinn", "training.steps=400")
#: Data, surrogate, constraints.
ROWS = (
    ("heat in an insulated box, random conductivity", FNO, "mean"),
    ("heat in an insulated box, random conductivity", PI_DEEPONET, "mean"),
    ("heat between cold walls, random conductivity", FNO, "boundary"),
    ("decaying flow", FNO, "divergence"),
    ("decaying flow", FNO, "mean, divergence"),
    ("decaying flow", PI_DEEPONET, "mean, divergence"),
    ("harmonics in an insulated box", MLP, "mean"),
    ("harmonics in an insulated box", PINN, "mean"),
    ("harmonics between cold walls", MLP, "boundary"),
    ("Taylor-Green vortices", MLP, "mean, divergence"),
    ("Taylor-Green vortices", PINN, "mean, divergence"),
)


def main() -> None:
    """Print and store the errors."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = {
            name: generated_dataset(Path(folder) / str(index), *SAMPLES, *options)
            for index, (name, options) in enumerate(DATASETS.items())
        }
        rows = [_row(Path(folder) / f"row-{index}", data, *row) for index, row in enumerate(ROWS)]
    claim = "Hard constraints on few data: relative L2 error of rollouts of the test split, two seeds"
    keep("constraints", claim, rows, ["torch", "numpy"])


def _row(
    folder: Path, data: dict[str, Path], name: str, model: tuple[str, ...], names: str
) -> dict[str, object]:
    def error(seed: int, constraints: str) -> float:
        overrides = (*model, "training.batch_size=8", "training.validate_every=400", f"seed={seed}")
        run = folder / f"{seed}-{bool(constraints)}"
        surrogate, _ = trained_surrogate(
            run, data[name], *overrides, f"surrogate.constraints=[{constraints}]"
        )
        return float(errors(surrogate, data[name]).mean())

    unconstrained, constrained = ([error(seed, constraints) for seed in SEEDS] for constraints in ("", names))
    return {
        "data": name,
        "surrogate": model[0].partition("=")[2],
        "constraints": names,
        "without": ", ".join(f"{error:.2%}" for error in unconstrained),
        "with": ", ".join(f"{error:.2%}" for error in constrained),
    }


if __name__ == "__main__":
    main()
