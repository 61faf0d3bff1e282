"""Files of every layout become data sets that pass their validation, and models are trained on them."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import yaml

from pipeline import adopt, evaluate, train, validate
from pipeline.data.card import figures
from pipeline.data.dataset import Dataset
from tests.adoption import sources
from tests.support.in_process import settings_of

#: The surrogate of each layout, with options for 8 x 8 cells and 4 frames.
_FNO = ("surrogate=fno", "surrogate.modes=2", "surrogate.width=4", "surrogate.layers=1")
_TRAINING = (
    "training.steps=2",
    "training.warmup_steps=1",
    "training.validate_every=2",
    "training.checkpoint_every=2",
    "training.batch_size=4",
    "evaluation.figures=0",
)


def checksums(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def adopted(folder: Path, source: Path, description: str, *overrides: str) -> Dataset:
    """Return the validated data set of a source."""
    run = folder / "run"
    with mock.patch.object(figures, "draw", return_value=[]):
        adopt.run(settings_of(run, *sources.adopt_overrides(folder, source, description), *overrides))
    validate.run(settings_of(run))
    return Dataset.open(run / "dataset")


def source_rows(dataset: Dataset, truth: np.ndarray) -> dict[str, list[int]]:
    """Return the row of `truth` (N, T, ...) that each trajectory's first channel equals, by split."""
    rows = {}
    for split in ("train", "valid", "test"):
        states = [dataset.trajectory(split, index).state for index in range(dataset.num_trajectories(split))]
        rows[split] = [
            next(row for row, values in enumerate(truth) if np.array_equal(values, state[:, 0]))
            for state in states
        ]
    return rows


def means_and_deviations(dataset: Dataset) -> tuple[Any, Any]:
    return dataset.statistics["mean"], dataset.statistics["std"]


@pytest.mark.parametrize("layout", sources.LAYOUTS)
def test_a_layout_is_adopted_validated_trained_and_evaluated(layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    source, description = sources.LAYOUTS[layout](folder)
    before = checksums(source)
    dataset = adopted(tmp_path, source, description)
    assert checksums(source) == before
    if layout == "csv_particles":
        rows = np.array(sorted(sources.particle_rows()))
        truth = rows.reshape(sources.TRAJECTORIES, sources.FRAMES, 3, -1)[..., 3]
        mean, std = (np.ravel(values["position"])[0] for values in means_and_deviations(dataset))
    else:
        truth = sources.HEAT + (layout == "pdebench_fields")
        mean, std = (values["u"] for values in means_and_deviations(dataset))
    split_rows = source_rows(dataset, truth)
    assert sorted(itertools.chain(*split_rows.values())) == list(range(sources.TRAJECTORIES))
    training = truth[split_rows["train"]].astype(np.float64)
    assert mean == pytest.approx(training.mean(), abs=1e-9)
    assert std == pytest.approx(training.std(), rel=1e-9)
    assert np.allclose(dataset.times, sources.TIMES * (1e-3 if layout == "pdebench_fields" else 1))
    options = ("surrogate=mlp", "surrogate.width=8") if layout == "csv_particles" else _FNO
    run = tmp_path / "run"
    train.run(settings_of(run, *options, *_TRAINING))
    assert 0 < evaluate.run(settings_of(run, *options, *_TRAINING)) < 10
    assert (run / "models" / options[0].removeprefix("surrogate=") / "evaluation" / "report.html").is_file()


def test_the_readers_of_the_well_open_the_source_and_the_adopted_data(tmp_path: Path) -> None:
    the_well = pytest.importorskip("the_well.data")
    source, _ = sources.well_splits(tmp_path / "source")
    dataset = adopted(tmp_path, source, "")
    assert [dataset.num_trajectories(split) for split in ("train", "valid", "test")] == [6, 2, 2]
    assert source_rows(dataset, sources.HEAT)["train"] == list(range(6))
    for path in (source / "data", tmp_path / "run" / "dataset" / "data"):
        read = the_well.WellDataset(
            path=str(path.parent), well_split_name="train", n_steps_input=1, n_steps_output=1
        )
        assert len(read) == 6 * (sources.FRAMES - 1)
    assert dataset.spec.channels == ("u", "flux_x", "flux_y")
    assert dataset.spec.coefficient_channels == ("source",)
    assert [axis.boundary for axis in dataset.spec.axes] == ["periodic", "periodic"]
    assert dataset.spec.parameter_names == ("diffusivity",)


def test_the_card_and_the_manifest_name_the_origin(tmp_path: Path) -> None:
    source, description = sources.npy(tmp_path)
    adopted(tmp_path, source, description)
    folder = tmp_path / "run" / "dataset"
    configuration = json.loads((folder / "manifest.json").read_text())["configuration"]
    assert configuration["adopted"]["source"] == "temperatures.npy"
    assert configuration["adopted"]["description"] == yaml.safe_load(description)
    assert "copied from `temperatures.npy` (NumPy arrays)" in (folder / "README.md").read_text()
    catalogue = json.loads((folder / "croissant.json").read_text())
    assert catalogue["prov:wasDerivedFrom"]["sha256"] == configuration["adopted"]["sha256"]
    # Nobody drew the parameters or computed the fields: they may be measurements of persons.
    assert "drawn" not in catalogue["rai:dataCollection"]
    (statement,) = catalogue["rai:personalSensitiveInformation"]
    assert "The owner of the data has to state whether they contain personal" in statement
    assert "simulation" not in catalogue["keywords"]
