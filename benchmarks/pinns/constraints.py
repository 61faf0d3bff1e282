"""The effect of hard constraints on the error after training on few data.

Each surrogate is trained on 16 trajectories on 24^2 cells, without and with constraints, with two seeds.
Training uses no symmetries of the data. `mlp` and `pinn` apply constraints only to predictions. Both
trainings of these surrogates are therefore equal, and the predictions differ by the projection.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from benchmarks.support.measuring import print_and_store
from benchmarks.support.training import generate_dataset, rollout_errors, train_surrogate

SEEDS = (0, 1)
SAMPLES = (
    "samples={train: 16, valid: 4, test: 16, test_extrapolation: 0, per_shard: 16}",
    "solver.resolution=24",
    "output.steps=10",
)
RANDOM_HEAT = ("solver=heat", "output.duration=0.1", "solver.initial.modes=6", "solver.diffusivity.modes=6")
#: Data that are functions of the scalar parameters.
HARMONICS = (
    "solver=heat",
    "output.duration=0.1",
    "solver.diffusivity={kind: constant, range: [0.05, 0.2]}",
    "solver.initial={kind: harmonics, count: 3}",
)
INSULATED_WALLS = ("solver.boundary={x: neumann, y: neumann}",)
COLD_WALLS = ("solver.boundary={x: dirichlet, y: dirichlet}",)
DECAYING_FLOW = ("solver=navier_stokes", "solver.forcing={kind: none}", "output.duration=2.0")
VORTICES = (
    *DECAYING_FLOW,
    "solver.viscosity=[5e-3, 2e-2]",
    "solver.initial={kind: taylor_green, waves: 1, phases: zero, amplitude: [0.5, 1.5]}",
)
DATASETS = {
    "heat in an insulated box, random conductivity": (*RANDOM_HEAT, *INSULATED_WALLS),
    "heat between cold walls, random conductivity": (*RANDOM_HEAT, *COLD_WALLS),
    "decaying flow": DECAYING_FLOW,
    "harmonics in an insulated box": (*HARMONICS, *INSULATED_WALLS),
    "harmonics between cold walls": (*HARMONICS, *COLD_WALLS),
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
#: The data set, the options of the surrogate, and the constraints of each row.
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
    """Print and store the errors without and with constraints."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        datasets = {
            name: generate_dataset(Path(folder) / str(index), *SAMPLES, *options)
            for index, (name, options) in enumerate(DATASETS.items())
        }
        rows = [_row(Path(folder) / f"row-{index}", datasets, *row) for index, row in enumerate(ROWS)]
    claim = "Hard constraints on few data: relative L2 error of rollouts of the test split, two seeds"
    print_and_store("constraints", claim, rows, ["torch", "numpy"])


def _row(
    folder: Path,
    datasets: dict[str, Path],
    data_name: str,
    surrogate_options: tuple[str, ...],
    constraint_names: str,
) -> dict[str, object]:
    def error(seed: int, constraints: str) -> float:
        overrides = (
            *surrogate_options,
            "training.batch_size=8",
            "training.validate_every=400",
            "training.symmetries=none",
            f"seed={seed}",
        )
        run = folder / f"{seed}-{bool(constraints)}"
        surrogate, _ = train_surrogate(
            run, datasets[data_name], *overrides, f"surrogate.constraints=[{constraints}]"
        )
        return float(rollout_errors(surrogate, datasets[data_name]).mean())

    errors_without, errors_with = (
        [error(seed, constraints) for seed in SEEDS] for constraints in ("", constraint_names)
    )
    return {
        "data": data_name,
        "surrogate": surrogate_options[0].partition("=")[2],
        "constraints": constraint_names,
        "without": ", ".join(f"{error:.2%}" for error in errors_without),
        "with": ", ".join(f"{error:.2%}" for error in errors_with),
    }


if __name__ == "__main__":
    main()
