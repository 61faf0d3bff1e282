"""Peak memory for more frames and for more trajectories."""

import re
from pathlib import Path

from tests.faults.driving import read_generated, run_drift
from tests.support.launching import require_success

ONE_PER_SPLIT = ("samples.train=1", "samples.valid=1", "samples.test=1", "samples.test_extrapolation=0")


def peak_memories(run: Path, *overrides: str, ranks: int = 0) -> list[int]:
    """Return the peak memory (MiB) of each rank."""
    # A forked process has the peak memory of its parent.
    result = require_success(
        run_drift("generate", run, *overrides, fault="memory", ranks=ranks, is_forked=False)
    )
    return [int(peak) // 1024 for peak in re.findall(r"(\d+) KiB at most", result.stdout)]


def test_no_rank_holds_a_whole_trajectory(tmp_path: Path) -> None:
    options = (*ONE_PER_SPLIT, "solver.resolution=[48,48,32]", "group_size=2")
    # The card draws four frames in both runs.
    peaks_of_few_frames = peak_memories(tmp_path / "short", *options, "output.steps=3", ranks=2)
    peaks_of_many_frames = peak_memories(tmp_path / "long", *options, "output.steps=40", ranks=2)
    sizes = [sum(map(len, read_generated(tmp_path / run).values())) for run in ("short", "long")]
    assert (sizes[1] - sizes[0]) / 3 > 40 * 2**20, "a trajectory is larger than the allowed memory"
    assert len(peaks_of_few_frames) == len(peaks_of_many_frames) == 2
    assert (
        max(
            long_peak - short_peak
            for short_peak, long_peak in zip(
                sorted(peaks_of_few_frames), sorted(peaks_of_many_frames), strict=True
            )
        )
        < 12
    )


def test_more_trajectories_take_no_more_memory(tmp_path: Path) -> None:
    options = ("solver.resolution=[512]", "samples.per_shard=400", "output.steps=20")
    (peak_of_few,) = peak_memories(tmp_path / "few", *options, "samples.train=4")
    (peak_of_many,) = peak_memories(tmp_path / "many", *options, "samples.train=800")
    assert sum(map(len, read_generated(tmp_path / "many").values())) > 60 * 2**20
    assert peak_of_many - peak_of_few < 12
