"""Peak memory depends on the size of a frame, not on the number of frames or trajectories."""

import re
from pathlib import Path

from tests.faults.driving import drift, made
from tests.support.launching import succeeded

ONE_PER_SPLIT = ("samples.train=1", "samples.valid=1", "samples.test=1", "samples.test_extrapolation=0")


def peaks(run: Path, *overrides: str, ranks: int = 0) -> list[int]:
    """Return the peak memory of each rank, MiB."""
    result = succeeded(drift("generate", run, *overrides, fault="memory", ranks=ranks))
    return [int(peak) // 1024 for peak in re.findall(r"(\d+) KiB at most", result.stdout)]


def test_no_rank_holds_a_whole_trajectory(tmp_path: Path) -> None:
    options = (*ONE_PER_SPLIT, "solver.resolution=[48,48,32]", "group_size=2")
    short = peaks(tmp_path / "short", *options, "output.steps=2", ranks=2)
    long = peaks(tmp_path / "long", *options, "output.steps=40", ranks=2)
    sizes = [sum(map(len, made(tmp_path / run).values())) for run in ("short", "long")]
    assert (sizes[1] - sizes[0]) / 3 > 40 * 2**20, "a trajectory is larger than the allowed memory"
    assert len(short) == len(long) == 2
    assert max(after - before for before, after in zip(sorted(short), sorted(long), strict=True)) < 12


def test_more_trajectories_take_no_more_memory(tmp_path: Path) -> None:
    options = ("solver.resolution=[512]", "samples.per_shard=400", "output.steps=20")
    (few,) = peaks(tmp_path / "few", *options, "samples.train=4")
    (many,) = peaks(tmp_path / "many", *options, "samples.train=800")
    assert sum(map(len, made(tmp_path / "many").values())) > 60 * 2**20
    assert many - few < 12
