"""The predictable time of chaotic trajectories: its column, its summaries, and its use in an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from pipeline import evaluate, train, validate
from pipeline.data.dataset import Dataset
from pipeline.data.manifest import read_complete_manifest
from pipeline.data.plan import generator
from pipeline.generation.predictability import predictable_times
from simsurrogate.errors import UserError
from tests.support.in_process import generate_in_process, run_command_line, settings_of
from tests.support.nbody_cases import nbody

DURATION, STEPS, SEED = 3.9, 39, 5
THREE_BODIES = (
    "experiment=three_body",
    f"seed={SEED}",
    "samples={train: 60, valid: 4, test: 16, test_extrapolation: 0, calibration: 0, per_shard: 20}",
    f"output={{duration: {DURATION}, steps: {STEPS}}}",
    "storage={precision: float64, max_failed_share: 0.5}",
)
TRAINING = (
    "surrogate=hamiltonian",
    "surrogate.width=8",
    "training={unroll: 1, steps: 2, warmup_steps: 1, validate_every: 2, checkpoint_every: 2}",
    "evaluation.figures=1",
    "evaluation.worth=0",
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with a validated data set of three bodies."""
    folder = tmp_path_factory.mktemp("three_bodies")
    generate_in_process(folder, *THREE_BODIES)
    validate.run(settings_of(folder, *THREE_BODIES))
    return folder


def columns(dataset: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the index and the predictable time of each trajectory of a split."""
    indices, times = [], []
    for path in sorted((dataset / "data" / split).glob("*.hdf5")):
        with h5py.File(path) as file:
            assert file["scalars/predictable_time"].attrs["units"] == "s"
            indices.append(file["sample"][:])
            times.append(file["scalars/predictable_time"][:])
    return np.concatenate(indices), np.concatenate(times)


def relative_changes(trajectories: np.ndarray, change: float) -> np.ndarray:
    """Return the largest relative change of position and velocity in each frame if `second_x` changes (m).

    The change is relative to the norm in the frame, or to the root mean square of the norms if it is larger.
    """
    solver = nbody(accuracy=0.003, max_steps=100_000)
    times = DURATION * np.arange(STEPS + 1) / STEPS
    parameters = [solver.sample(generator(SEED, int(trajectory))) for trajectory in trajectories]
    changed = [values | {"second_x": values["second_x"] + change} for values in parameters]
    states, changed_states = (solver.solve_batch(batch, times).states for batch in (parameters, changed))
    changes = []
    for field in (slice(0, 2), slice(2, 4)):
        norms = np.linalg.norm(states[:, :, field], axis=(2, 3))
        norms = np.maximum(norms, np.sqrt(np.mean(norms**2, axis=1, keepdims=True)))
        changes.append(np.linalg.norm((changed_states - states)[:, :, field], axis=(2, 3)) / norms)
    return np.maximum(*changes)


def test_irreproducible_trajectories_are_marked_before_they_differ(run_folder: Path) -> None:
    indices, times = columns(run_folder / "dataset", "train")
    assert 0.7 < np.mean(times == DURATION) < 0.97
    differs = ~(relative_changes(indices, 1e-13) < 0.01)
    is_irreproducible = differs.any(axis=1)
    assert np.count_nonzero(is_irreproducible) == 2
    first_difference = DURATION * np.argmax(differs, axis=1) / STEPS
    assert np.all(times[is_irreproducible] < first_difference[is_irreproducible])


def test_manifest_statistics_and_card_summarise_the_column(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = run_folder / "dataset"
    manifest, card = read_complete_manifest(dataset), (dataset / "README.md").read_text()
    for split in ("train", "valid", "test"):
        _, times = columns(dataset, split)
        summary = manifest.predictability[split]
        assert (summary.trajectories, summary.complete) == (len(times), np.sum(times == DURATION))
        assert (summary.median, summary.minimum) == (np.median(times), np.min(times))
        assert f"| {split} | {summary.complete} | {summary.trajectories} |" in card
    _, times = columns(dataset, "train")
    stats = yaml.safe_load((dataset / "stats.yaml").read_text())["predictable_time"]
    assert stats["mean"] == pytest.approx(np.mean(times), rel=1e-12)
    assert stats["std"] == pytest.approx(np.std(times), rel=1e-9)
    assert (stats["min"], stats["max"]) == (np.min(times), np.max(times))
    trajectory = Dataset.open(dataset).trajectory("train", 3)
    assert trajectory.predictable_time == times[3]


def test_a_regenerated_shard_has_the_same_bytes(run_folder: Path) -> None:
    path = run_folder / "dataset" / "data" / "test" / "test-00000.hdf5"
    content, manifest = path.read_bytes(), (run_folder / "dataset" / "manifest.json").read_bytes()
    path.unlink()
    generate_in_process(run_folder, *THREE_BODIES)
    assert path.read_bytes() == content
    costs = ("core_seconds",)
    old, new = (json.loads(text) for text in (manifest, (path.parents[2] / "manifest.json").read_bytes()))
    for document in (old, new):
        for shard in document["shards"]:
            for key in costs:
                del shard[key]
    assert old == new
    validate.run(settings_of(run_folder, *THREE_BODIES))


def test_a_receipt_with_other_predictable_times_is_refused(run_folder: Path) -> None:
    path = run_folder / "dataset" / "receipts" / "valid-00000.json"
    text = path.read_text()
    document = json.loads(text)
    document["predictable_times"][0] += 0.1
    path.write_text(json.dumps(document))
    try:
        with pytest.raises(UserError, match="predictable times differ from the data"):
            validate.run(settings_of(run_folder, *THREE_BODIES))
    finally:
        path.write_text(text)
    validate.run(settings_of(run_folder, *THREE_BODIES))


def test_two_bodies_have_no_predictable_time(tmp_path: Path) -> None:
    samples = "samples={train: 2, valid: 1, test: 1, test_extrapolation: 0, calibration: 0, per_shard: 2}"
    dataset = generate_in_process(tmp_path, "experiment=two_body", samples, "output.steps=2")
    with h5py.File(dataset / "data" / "train" / "train-00000.hdf5") as file:
        assert "predictable_time" not in file["scalars"]
    assert read_complete_manifest(dataset).predictability == {}
    assert "Predictable time" not in (dataset / "README.md").read_text()


def test_the_evaluation_reports_errors_inside_and_beyond_the_predictable_time(run_folder: Path) -> None:
    for stage in (train, evaluate):
        assert run_command_line(stage.run, f"run={run_folder}", *THREE_BODIES, *TRAINING) == 0
    folder = run_folder / "models" / "hamiltonian" / "evaluation"
    result = json.loads((folder / "metrics.json").read_text())["splits"]["test"]
    _, times = columns(run_folder / "dataset", "test")
    predictability = result["predictability"]
    assert predictability["complete"] == np.sum(times == DURATION) < result["trajectories"]
    # Persistence is the state at rest: its position error follows from the shards, its velocity error is 1.
    dataset = Dataset.open(run_folder / "dataset")
    inside, beyond = [], []
    for position, time in enumerate(times):
        state = dataset.trajectory("test", position).state
        last_frame = round(time / DURATION * STEPS)
        errors = [
            np.mean([
                np.linalg.norm(state[frame, :2] - state[0, :2]) / np.linalg.norm(state[frame, :2]),
                1.0,
            ])
            for frame in (last_frame, STEPS)
        ]  # fmt: skip
        inside += errors[:1]
        beyond += errors[1:] if time < DURATION else []
    for measured, expected in ((predictability["inside"], inside), (predictability["beyond"], beyond)):
        assert measured["persistence"]["median"] == pytest.approx(np.median(expected), rel=1e-6)
        assert measured["persistence"]["max"] == pytest.approx(np.max(expected), rel=1e-6)
    lyapunov = result["horizon"]["lyapunov"]
    assert lyapunov["trajectories"] == 4
    # The exponents of three bodies of mass 1 in a circle of 1 m, with G = 1, are of the order of 1/s.
    assert 0.2 < lyapunov["time"] < 5
    assert lyapunov["horizon"]["surrogate"] == pytest.approx(
        result["horizon"]["times"]["surrogate"]["time"]["median"] / lyapunov["time"]
    )
    assert result["energy_drift"]["truth"]["max"][-1] < 1e-3
    page = (folder / "report.html").read_text()
    assert "inside the predictable time" in page
    assert f"{len(beyond)} are not predictable to the end" in page


def test_the_predictable_time_ends_before_the_first_difference() -> None:
    times = np.array([0.0, 1.0, 2.0, 3.0])
    # Squared norms of difference and state: the second field starts from 0.
    sizes = np.array([[1.0, 0.0], [1.0, 4.0], [1.0, 4.0], [1.0, 4.0]])
    differences = {
        3.0: [[0, 0], [0, 0], [0, 0], [0.9e-4, 3.9e-4]],
        2.0: [[0, 0], [0, 0], [0, 0], [1.1e-4, 0]],
        1.0: [[0, 0], [0, 0], [0, np.nan], [0, 0]],
        0.0: [[0, 0], [0, 5e-4], [0, 0], [0, 0]],
    }
    norms = np.array([np.stack([difference, sizes], axis=-1) for difference in differences.values()])
    assert predictable_times(norms, 1.0, times).tolist() == list(differences)
    assert predictable_times(norms, 0.1, times).tolist() == [3.0, 3.0, 1.0, 3.0]
