"""Chains that are killed at random moments and restarted have the bytes of an undisturbed chain."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.faults.driving import read_generated
from tests.faults.storms.storm import Attempt, ForkedChain, RealChain, run_storm

SMALL_CHAIN = (
    "experiment=smoke",
    "solver.resolution=16",
    "storage.max_error=0.1",
    "samples={train: 4, valid: 1, test: 1, per_shard: 1}",
    "output.steps=3",
    "training={steps: 12, checkpoint_every: 2, validate_every: 6, warmup_steps: 1, keep_checkpoints: 2}",
    "surrogate.width=4",
    "surrogate.modes=2",
    "evaluation.figures=0",
    "evaluation.worth=0",
)
#: Two ranks share each trajectory, and two ranks share each batch.
TWO_RANKS = ("group_size=2", "launcher.ranks={generate: 2, validate: 1, train: 2, evaluate: 1}")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("start", "overrides", "num_kills"),
    [
        pytest.param(ForkedChain, SMALL_CHAIN, 20, id="one rank"),
        pytest.param(ForkedChain, SMALL_CHAIN, 160, id="one rank, long", marks=pytest.mark.soak),
        # A chain of processes with two ranks takes too long for the usual run.
        pytest.param(RealChain, (*SMALL_CHAIN, *TWO_RANKS), 40, id="two ranks, long", marks=pytest.mark.soak),
    ],
)
@pytest.mark.fault(
    "a chain is killed",
    cause="{num_kills} times SIGKILL, SIGTERM, SIGINT or SIGHUP at a random moment, to the group, the "
    "chain or one process",
    result="restarted chains have the bytes of an undisturbed chain",
    lost="the time since the last shard, checkpoint or finished stage",
)
def test_killed_and_restarted_chains_have_the_bytes_of_an_undisturbed_chain(
    start: Callable[[Sequence[str], Path], Attempt],
    overrides: Sequence[str],
    num_kills: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    undisturbed_run, log = tmp_path / "undisturbed", tmp_path / "undisturbed.log"
    start_time = time.monotonic()
    assert start([f"run={undisturbed_run}", *overrides], log).wait_seconds(300) == 0, log.read_text()
    undisturbed_seconds = time.monotonic() - start_time
    undisturbed_bytes = result_bytes(undisturbed_run)

    def check(run: Path) -> None:
        assert result_bytes(run) == undisturbed_bytes
        assert not list(run.rglob("*.partial"))

    storm = run_storm(start, tmp_path, overrides, num_kills, undisturbed_seconds, check, seed=num_kills)
    print(storm.summary(undisturbed_seconds))
    assert len(storm.kills) == num_kills
    record_property("seconds", max(kill.seconds_to_end for kill in storm.kills))
    if start is RealChain:
        record_property("fault", "a chain on 2 ranks, in groups of 2, is killed")
        record_property("cause", f"{num_kills} times as above, or to mpirun")
    record_property(
        "lost",
        f"{storm.mean_lost_seconds:.1f} s of work a kill, where an undisturbed chain takes "
        f"{undisturbed_seconds:.1f} s",
    )


def result_bytes(run: Path) -> dict[str, bytes]:
    """Return the bytes of the data set, the weights, the log and the newest checkpoint."""
    model = run / "models" / "fno"
    newest_checkpoint = sorted((model / "checkpoints").glob("*.safetensors"))[-1]
    paths = (model / "model.safetensors", model / "log.csv", newest_checkpoint)
    assert (model / "evaluation" / "report.html").is_file()
    return read_generated(run) | {path.name: path.read_bytes() for path in paths}
