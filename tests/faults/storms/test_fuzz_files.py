"""Damaged data sets and models: every reader accepts or refuses them within bounds, without a traceback."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import simsurrogate
from tests.faults.storms.mutations import damage
from tests.faults.storms.test_kill_storm import SMALL_CHAIN
from tests.support import forked

#: Bounds of a reader: memory beyond that of the imports, and seconds.
MEMORY_BYTES, SECONDS = 2**30, 60
DATASET_READERS = ("validate", "train", "evaluate", "open_dataset")
MODEL_READERS = ("train", "evaluate", "load")
#: The readers and the pattern of the files that a fuzzer damages.
TARGETS = {
    "documents of a data set": (DATASET_READERS, "dataset/**/*.[jy]*"),
    "shards": (DATASET_READERS, "dataset/data/*/*.hdf5"),
    "model.json": (MODEL_READERS[1:], "models/*/model.json"),
    "weights": (MODEL_READERS[1:], "models/*/model.safetensors"),
    "checkpoints": (MODEL_READERS[:1], "models/*/checkpoints/*.safetensors"),
}


def open_dataset(run: str) -> None:
    """Read every frame of a data set."""
    dataset = simsurrogate.open_dataset(run)
    for split in ("train", "valid", "test"):
        for position in range(dataset.num_trajectories(split)):
            dataset.trajectory(split, position)


def load(run: str) -> None:
    """Load the model."""
    simsurrogate.load(run)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a finished chain."""
    folder = tmp_path_factory.mktemp("fuzz")
    run = folder / "run"
    outcome = forked.run_forked(forked.chain, folder / "log", [f"run={run}", *SMALL_CHAIN], timeout=200)
    assert outcome.exit_code == 0, outcome.output
    return run


def failure_of_reader(finished_run: Path, folder: Path, target: str, seed: int) -> str:
    """Damage a copy of a run, start a reader, and return what the reader did wrong, or an empty text."""
    readers, pattern = TARGETS[target]
    reader = readers[seed % len(readers)]
    run, canary = folder / "run", folder / "canary"
    shutil.copytree(finished_run, run)
    canary.mkdir()
    (canary / "secret.json").write_text('{"secret": 1}')
    if target == "checkpoints":
        (run / "models" / "fno" / "model.json").unlink()
    elif reader == "train":
        shutil.rmtree(run / "models" / "fno")
    elif reader == "evaluate":
        shutil.rmtree(run / "models" / "fno" / "evaluation")
    description = damage(run, pattern, canary, seed)
    bounds = (MEMORY_BYTES, str(canary))
    log = folder / "log"
    if reader in ("open_dataset", "load"):
        function = {"open_dataset": open_dataset, "load": load}[reader]
        outcome = forked.run_forked(forked.call, log, function, *bounds, str(run), timeout=SECONDS)
    else:
        arguments = [f"run={run}", *SMALL_CHAIN]
        outcome = forked.run_forked(forked.stage, log, reader, arguments, *bounds, timeout=SECONDS)
    is_refused = outcome.exit_code == 2 and "error: " in outcome.output
    outside = sorted(path.name for path in folder.iterdir())
    if outcome.timed_out:
        problem = "hangs"
    elif "Traceback" in outcome.output or not (outcome.exit_code == 0 or is_refused):
        problem = f"exit code {outcome.exit_code}\n{outcome.output[-1500:]}"
    elif outside != ["canary", "log", "run"]:
        problem = f"wrote {outside}"
    else:
        problem = ""
    shutil.rmtree(run)
    return f"{target}, seed {seed}, {reader}: {description}: {problem}" if problem else ""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "seeds", [range(4), pytest.param(range(4, 800), marks=pytest.mark.soak)], ids=["short", "long"]
)
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_are_refused_with_a_message(
    target: str, seeds: range, finished_run: Path, tmp_path: Path
) -> None:
    def run(seed: int) -> str:
        folder = tmp_path / str(seed)
        folder.mkdir()
        return failure_of_reader(finished_run, folder, target, seed)

    with ThreadPoolExecutor(2) as pool:
        failures = [failure for failure in pool.map(run, seeds) if failure]
    print(f"{len(seeds)} runs with damaged {target}")
    assert not failures, "\n\n".join(failures)
