"""A clean data set of each shipped experiment passes all checks, on small grids and for short times."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest

from pipeline import validate
from pipeline.data.card import checks_section
from tests.config.test_experiments import NAMES
from tests.support.in_process import generate_in_process, settings_of

SAMPLES = "samples={train: 16, valid: 4, test: 4, test_extrapolation: 0, calibration: 0, per_shard: 24}"

#: Six steps are the fewest of the check `residual`, which does not apply to coarser grids and chaotic bodies.
SIX_STEPS = "output.steps=6"
COARSE_FLOW = (
    "solver.resolution=32",
    "output={duration: 0.4, steps: 2, coarsen: 2}",
    "solver.viscosity=[1e-3,2e-3]",
)
#: The options that make the data of each experiment small, with fields that the smaller grid resolves.
SMALL: dict[str, tuple[str, ...]] = {
    "chip": ("solver.resolution=12", "output={duration: 0.004, steps: 10, coarsen: 2}"),
    "composite": (
        "solver.resolution=36",
        "solver.diffusivity.num_inclusions=6",
        "solver.diffusivity.inclusion_radius=[0.09,0.12]",
        "output={duration: 0.01, steps: 2, coarsen: 4}",
    ),
    "heat_fno": ("solver.resolution=16", SIX_STEPS),
    "heat_parametric": ("solver.resolution=16", SIX_STEPS),
    "kepler": ("output.steps=10",),
    "kolmogorov": (*COARSE_FLOW, "solver.initial.correlation_length=0.2"),
    "navier_stokes": (
        "solver.resolution=32",
        "output={duration: 0.6, steps: 6}",
        "solver.viscosity=[1e-3,2e-3]",
        "solver.initial.correlation_length=0.3",
    ),
    "plummer": ("solver.system.num_bodies=16", "output={duration: 0.2, steps: 2}"),
    "shear_layers": (*COARSE_FLOW, "solver.initial.thickness=[0.09,0.11]"),
    "smoke": (),
    "taylor_green": ("solver.resolution=16", SIX_STEPS),
    "three_body": ("output={duration: 1.0, steps: 10}",),
    "turbulence": (*COARSE_FLOW, "solver.initial.correlation_length=0.2"),
    "two_body": ("output={duration: 2.0, steps: 10}",),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_clean_data_set_of_each_experiment_passes_all_checks(name: str, tmp_path: Path) -> None:
    dataset = generate_in_process(
        tmp_path, f"experiment={name}", SAMPLES, "storage.max_error=0.1", *SMALL[name]
    )
    with mock.patch.object(checks_section, "_draw", return_value=[]):
        validate.run(settings_of(tmp_path))
    results = json.loads((dataset / "validation.json").read_text())["results"]
    for result in results:
        if result["outcome"] == "warning":
            print(f"{name}: {result['check']}: {result['message']}")
    assert {"residual", "draws", "alike_splits"} <= {result["check"] for result in results}
    assert [result for result in results if result["outcome"] == "failed"] == []
