"""Data sets on different ranks, in groups and after interruptions, and their reader and random numbers."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from pipeline.data import plan
from pipeline.data.dataset import Dataset
from tests.faults.driving import read_generated, run_drift, run_drift_in_process
from tests.support.in_process import generate_in_process
from tests.support.launching import SMALL_DATASET, require_success, run_stage
from tests.support.shards import arrays_of


@pytest.fixture(scope="module")
def undisturbed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a validated data set from one process."""
    run = tmp_path_factory.mktemp("undisturbed")
    run_drift_in_process("generate", run)
    run_drift_in_process("validate", run)
    return run


@pytest.mark.parametrize("ranks", [1, 3])
def test_any_number_of_ranks_writes_the_same_bytes(undisturbed_run: Path, ranks: int, tmp_path: Path) -> None:
    require_success(run_drift("generate", tmp_path, ranks=ranks))
    assert read_generated(tmp_path) == read_generated(undisturbed_run)


@pytest.mark.fault(
    "a rank dies in the middle of a shard",
    cause="SIGKILL to rank 1 of 3 in its fifth call of `advance`",
    result="the launcher fails; the next run, on 2 ranks, completes the same bytes",
    lost="the shards in work",
)
def test_a_killed_rank_ends_the_run_and_a_rerun_completes_the_same_bytes(
    undisturbed_run: Path, tmp_path: Path
) -> None:
    assert run_drift("generate", tmp_path, fault="kill:1:5", ranks=3).returncode != 0
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert manifest["complete"] is False
    rerun = require_success(run_drift("generate", tmp_path, ranks=2))
    assert "of 5 shards made now" in rerun.stdout
    assert "(5 of 5" not in rerun.stdout, "shards from before the kill are kept"
    assert read_generated(tmp_path) == read_generated(undisturbed_run)


def test_the_bytes_do_not_depend_on_the_threads_of_blas(tmp_path: Path) -> None:
    # Products of 32 modes and 200 cells have other last bits with two threads.
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            generate_in_process(
                tmp_path / str(threads),
                "solver=heat",
                "solver.resolution=200",
                "solver.initial.modes=32",
                "storage={precision: float64, max_error: 1.0}",
                "samples={train: 1, valid: 1, test: 1, test_extrapolation: 0, per_shard: 1}",
                "output={steps: 1, duration: 1e-4}",
            )
    assert read_generated(tmp_path / "1") == read_generated(tmp_path / "2")


def test_groups_of_two_ranks_agree_to_round_off(undisturbed_run: Path, tmp_path: Path) -> None:
    require_success(run_drift("generate", tmp_path, "storage.precision=float64", "group_size=2", ranks=4))
    single_rank_run = tmp_path / "one_rank"
    run_drift_in_process("generate", single_rank_run, "storage.precision=float64")
    assert_equal_to_round_off(single_rank_run, tmp_path)


def test_one_rank_writes_all_frames_of_a_small_trajectory_at_once(tmp_path: Path) -> None:
    outputs = [
        require_success(
            run_drift("generate", tmp_path / steps, f"output.steps={steps}", fault="writes")
        ).stdout
        for steps in ("3", "30")
    ]
    counts = [re.findall(r"(\d+) writes", output) for output in outputs]
    assert counts[0] == counts[1] != []


def test_batches_of_frames_and_single_frames_agree_to_round_off(tmp_path: Path) -> None:
    # A buffer of 4 MiB holds 36 of the 51 frames. A group of two ranks writes each frame separately.
    overrides = ("solver.resolution=[80,60]", "output.steps=50", "storage.precision=float64", *ONE_PER_SPLIT)
    run_drift_in_process("generate", tmp_path / "one_rank", *overrides)
    require_success(run_drift("generate", tmp_path / "group", *overrides, "group_size=2", ranks=2))
    assert_equal_to_round_off(tmp_path / "one_rank", tmp_path / "group")
    expected, actual = (
        yaml.safe_load((tmp_path / run / "dataset/stats.yaml").read_text()) for run in ("one_rank", "group")
    )
    for key in ("mean", "std", "std_delta", "rms_delta"):
        assert expected[key]["density"] == pytest.approx(actual[key]["density"], rel=1e-10, abs=1e-12)


def assert_equal_to_round_off(expected_run: Path, actual_run: Path) -> None:
    """Compare every number of every shard of two runs."""
    shards = sorted((expected_run / "dataset" / "data").rglob("*.hdf5"))
    assert shards
    for shard in shards:
        expected, actual = arrays_of(shard), arrays_of(actual_run / shard.relative_to(expected_run))
        assert expected.keys() == actual.keys()
        for name, array in expected.items():
            if array.dtype.kind == "f":
                np.testing.assert_allclose(actual[name], array, rtol=1e-12, atol=1e-12, err_msg=name)


ONE_PER_SPLIT = ("samples.train=1", "samples.valid=1", "samples.test=1", "samples.test_extrapolation=0")
HEAT = (
    "solver=heat",
    "solver.scheme=rkl2",
    "solver.resolution=[12,10]",
    "storage.max_error=1",
    "solver.initial.modes=4",
    "solver.diffusivity.modes=4",
    "storage.precision=float64",
)


@pytest.fixture(scope="module")
def heat_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of 2-D heat with variable diffusivity, generated by one process."""
    run = tmp_path_factory.mktemp("heat")
    run_drift_in_process("generate", run, *HEAT)
    return run


def test_heat_on_a_group_of_two_agrees_with_one_rank_to_round_off(heat_run: Path, tmp_path: Path) -> None:
    require_success(run_drift("generate", tmp_path, *HEAT, "group_size=2", ranks=2))
    assert_equal_to_round_off(heat_run, tmp_path)
    run_drift_in_process("validate", tmp_path, *HEAT)
    results = json.loads((tmp_path / "dataset/validation.json").read_text())["results"]
    passed = {record["check"] for record in results if record["outcome"] == "passed"}
    assert {"recomputed", "steps"} <= passed


def test_heat_after_a_kill_and_a_rerun_has_the_same_bytes(heat_run: Path, tmp_path: Path) -> None:
    # The estimate of the error advances 39 times before the first shard.
    assert run_drift("generate", tmp_path, *HEAT, fault="kill:0:47").returncode == -9
    assert json.loads((tmp_path / "dataset" / "manifest.json").read_text())["complete"] is False
    assert "(4 of 5 shards made now" in require_success(run_drift("generate", tmp_path, *HEAT)).stdout
    assert read_generated(tmp_path) == read_generated(heat_run)


def test_heat_has_the_same_bytes_on_one_and_three_ranks(tmp_path: Path) -> None:
    generate_in_process(tmp_path / "1", *SMALL_DATASET)
    require_success(run_stage("generate", *SMALL_DATASET, f"run={tmp_path / '3'}", ranks=3))
    assert len(read_generated(tmp_path / "1")) == 5
    assert read_generated(tmp_path / "1") == read_generated(tmp_path / "3")


def test_a_complete_data_set_is_skipped(undisturbed_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times_before = modification_times(undisturbed_run)
    run_drift_in_process("generate", undisturbed_run)
    output = capsys.readouterr().out
    assert "complete; skipped" in output
    assert f"generate: kept {undisturbed_run}/dataset. Next: python -m pipeline.validate" in output
    assert modification_times(undisturbed_run) == times_before


def modification_times(run: Path) -> dict[Path, int]:
    """Return the modification time (ns) of each file of a data set except its locks."""
    files = [path for path in (run / "dataset").rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.fault(
    "a run folder holds data of another configuration",
    cause="another seed and resolution",
    result="refused with the keys; overwrite=true makes new data",
    lost="nothing",
)
def test_another_configuration_is_refused_with_its_keys_unless_overwrite(tmp_path: Path) -> None:
    run_drift_in_process("generate", tmp_path)
    first_files = read_generated(tmp_path)
    result = run_drift("generate", tmp_path, "seed=1", "solver.resolution=[14]")
    assert result.returncode == 2
    assert "seed: 0 -> 1" in result.stderr
    assert "solver.resolution: [12] -> [14]" in result.stderr
    assert "overwrite=true" in result.stderr
    assert read_generated(tmp_path) == first_files
    run_drift_in_process("generate", tmp_path, "seed=1", "overwrite=true")
    assert read_generated(tmp_path).keys() == first_files.keys()
    assert all(content != first_files[name] for name, content in read_generated(tmp_path).items())


def test_more_training_trajectories_do_not_change_the_test_split(
    undisturbed_run: Path, tmp_path: Path
) -> None:
    run_drift_in_process("generate", tmp_path, "samples.train=6")
    expected, actual = (
        arrays_of(run / "dataset/data/test/test-00000.hdf5") for run in (undisturbed_run, tmp_path)
    )
    for name in ("sample", "t0_fields/density", "scalars/speed", "parameters/phases"):
        np.testing.assert_array_equal(actual[name], expected[name])


def test_windows_and_trajectories_agree(undisturbed_run: Path) -> None:
    dataset = Dataset.open(undisturbed_run / "dataset")
    assert dataset.spec.channels == ("density", "velocity_x")
    assert dataset.spec.channel_units == ("kg/m^3", "m/s")
    assert [dataset.num_trajectories(split) for split in plan.SPLITS] == [4, 2, 2, 1, 0]
    windows = dataset.windows("train", 3)
    assert len(windows) == 4 * 2
    batch = windows.take(np.array([7, 0, 2]))
    assert {name: array.shape for name, array in batch.items()} == {
        "state": (3, 3, 2, 12),
        "coefficient_fields": (3, 1, 12),
        "parameters": (3, 2),
        "time": (3, 3),
    }
    for window, (position, start) in enumerate([(3, 1), (0, 0), (1, 0)]):
        trajectory = dataset.trajectory("train", position)
        frames = slice(start, start + 3)
        np.testing.assert_array_equal(batch["state"][window], trajectory.state[frames])
        np.testing.assert_array_equal(batch["coefficient_fields"][window], trajectory.coefficient_fields)
        np.testing.assert_array_equal(batch["parameters"][window], list(trajectory.parameters.values()))
        np.testing.assert_array_equal(batch["time"][window], trajectory.time[frames])
    assert not np.shares_memory(batch["state"], windows.take(np.array([5]))["state"])
    reusing_windows = dataset.windows("train", 3, reuse_buffers=True)
    state = reusing_windows.take(np.array([5]))["state"]
    assert np.shares_memory(state, reusing_windows.take(np.array([4]))["state"])
    with pytest.raises(ValueError, match="windows of 5 frames do not fit into trajectories of 4 frames"):
        dataset.windows("train", 5)


def test_statistics_describe_the_training_split(undisturbed_run: Path) -> None:
    dataset = Dataset.open(undisturbed_run / "dataset")
    trajectories = [dataset.trajectory("train", position) for position in range(4)]
    states = np.stack([trajectory.state for trajectory in trajectories]).astype(np.float64)
    changes = np.diff(states, axis=1)
    stats = dataset.statistics
    for key, expected in (("mean", states[:, :, 0].mean()), ("std", states[:, :, 0].std())):
        assert stats[key]["density"] == pytest.approx(expected, rel=1e-12)
    assert stats["std_delta"]["density"] == pytest.approx(changes[:, :, 0].std(), rel=1e-12)
    assert stats["rms_delta"]["velocity"] == [
        pytest.approx(np.sqrt((changes[:, :, 1] ** 2).mean()), rel=1e-12)
    ]
    speeds = [trajectory.parameters["speed"] for trajectory in trajectories]
    assert stats["parameters"]["speed"]["std"] == pytest.approx(np.std(speeds), rel=1e-12)


counts = st.integers(0, 50)


@given(sizes=st.lists(counts, min_size=5, max_size=5), per_shard=st.integers(1, 20))
@pytest.mark.fault(
    "splits share a trajectory",
    cause="random numbers of samples and shards",
    result="impossible: all indices differ",
    lost="nothing",
)
def test_no_trajectory_is_in_two_shards_or_splits(sizes: list[int], per_shard: int) -> None:
    samples = dict(zip(plan.SPLITS, sizes, strict=True)) | {"per_shard": per_shard}
    shards = plan.shards(samples)
    indices = [index for shard in shards for index in shard.indices]
    assert len(set(indices)) == len(indices) == sum(sizes)
    assert len({shard.file for shard in shards}) == len(shards)
    # Data sets of earlier releases have no calibration split, and the same trajectories.
    old = plan.shards({key: size for key, size in samples.items() if key != "calibration"})
    assert old == [shard for shard in shards if shard.split != "calibration"]


@given(
    seed=st.integers(0, 2**64),
    index=st.integers(0, 4 * plan.INDICES_PER_SPLIT),
    other_index=st.integers(0, 4 * plan.INDICES_PER_SPLIT),
)
def test_random_numbers_depend_only_on_seed_and_index(seed: int, index: int, other_index: int) -> None:
    numbers = plan.generator(seed, index).random(4)
    np.testing.assert_array_equal(plan.generator(seed, index).random(4), numbers)
    if other_index != index:
        assert not np.array_equal(plan.generator(seed, other_index).random(4), numbers)
    assert not np.array_equal(plan.generator(seed + 1, index).random(4), numbers)
