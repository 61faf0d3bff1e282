"""The page of the collapse study says which policy keeps the error, and which ends without a surrogate."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.support import collapse_page
from benchmarks.support.generations import POLICIES, Measurement
from benchmarks.support.studies import Place

#: The error of the third generation for each policy; the first generation has the error 0.01.
LAST_ERRORS = {"replace": 0.05, "accumulate": 0.011, "fixed-budget": 0.02, "verified": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study folder of one system and seed, whose verified policy rejects all rollouts in generation 3."""
    numbers = {"small_scales": 1.0, "variance": 1.0, "spectrum": (1.0, 0.9, 0.8)}
    first = Measurement("heat", "replace", 0, 1, 800, error=0.01, **numbers)
    measurements = {"heat/seed-0/first": first}
    for policy, error in LAST_ERRORS.items():
        at = f"heat/seed-0/{policy}"
        measurements[f"{at}/generation-02"] = dataclasses.replace(first, policy=policy, generation=2)
        measurements[f"{at}/generation-03"] = (
            Measurement("heat", policy, 0, 3, 800, remark="all rejected")
            if error is None
            else Measurement("heat", policy, 0, 3, 800, error=error, **numbers)
        )
    for name, measurement in measurements.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "measurement.json").write_text(json.dumps(dataclasses.asdict(measurement)))
    return tmp_path


def test_all_policies_share_the_first_generation(folder: Path) -> None:
    measurements = collapse_page.read_measurements(folder)
    first = [measurement.policy for measurement in measurements if measurement.generation == 1]
    assert first == list(POLICIES)
    assert collapse_page.growth(measurements, "heat", "replace") == [pytest.approx(5.0)]
    assert collapse_page.growth(measurements, "heat", "verified") == [float("inf")]


def test_page_states_the_growth_of_each_policy(folder: Path, tmp_path: Path) -> None:
    measurements = collapse_page.read_measurements(folder)
    collapse_page.write(
        measurements, {"heat": "heat conduction"}, Place(tmp_path / "docs", tmp_path / "docs")
    )
    page = (tmp_path / "docs" / "collapse.md").read_text()
    assert "**replace** multiplies the error by 5 for heat conduction." in page
    assert "**accumulate** keeps the error for heat conduction (factor 1.1)." in page
    assert "**replace, verified** ends without a surrogate for heat conduction." in page
    assert "Keeping the solver's data and all rollouts is better than replace for heat conduction." in page
    assert "Verifying rollouts by the residual is not better than replace." in page
    assert "| replace, verified | 3 |  |  |  |  | all rejected |" in page
    assert (tmp_path / "docs" / "collapse-heat.png").is_file()
