"""Mistakes of a user: one message, a non-zero exit on every rank within 10 s, and no partial file."""

import json
import re
import sys
import time
from pathlib import Path

import pytest

from tests.support.launching import SMALL_DATASET, mpi_command, require_success, run, run_stage

ROOT = Path(__file__).parents[2]

MISTAKES = [
    # the override, and phrases of the message
    ("samples.trian=3", ["samples.trian", "'samples.train'"]),
    ("solver.diffusivty.kind=constant", ["solver.diffusivty", "'solver.diffusivity'"]),
    ("solver.boundary.w=periodic", ["solver.boundary.w"]),
    ("solver=haet", ["haet", "'heat'"]),
    ("surrogate=fnoo", ["fnoo", "'fno'"]),
    ("experiment=smok", ["smok", "'smoke'"]),
    ("+training.stepz=3", ["training.stepz", "'steps'"]),
    ("samples.train=many", ["samples.train", "many"]),
    ("samples.train=-1", ["samples.train=-1", "greater than 0"]),
    ("samples.train=1.5", ["samples.train=1.5", "integer"]),
    ("solver.resolution=0", ["resolution", "0"]),
    ("solver.resolution=[16,16,16,16]", ["resolution", "4"]),
    ("solver.boundary.x=open", ["solver.boundary.x", "open", "periodic"]),
    ("output.duration=-1", ["output.duration=-1", "greater than 0"]),
    ("storage.precision=float16", ["storage.precision", "float16", "float32"]),
    ("solver.extent=[1.0,-1.0]", ["extent", "-1"]),
    ("samples.train=", ["samples.train"]),
    ("samples", ["'samples' is not of the form KEY=VALUE"]),
    ("part=[3,2]", ["error: part=[3, 2]: parts of 2 are numbered"]),
    (f"samples.train={'9' * 5000}", ["samples.train=999", "5000 digits", "At most 1000"]),
    ("samples.train=true", ["samples.train=True", "not true or false"]),
    ("training.learning_rate=inf", ["training.learning_rate=inf", "finite"]),
    ("training.learning_rate=1e-320", ["training.learning_rate=1e-320", "a number of at least 1e-10"]),
    ("training.gradient_clip=1e-320", ["training.gradient_clip=1e-320", "a number of at least 1e-06"]),
    ("output.duration=inf", ["output.duration=inf", "finite"]),
    ("solver.extent=[1.0,inf]", ["solver.extent=[1.0, inf]", "finite"]),
    ("solver.diffusivity.range=[0.1,nan]", ["solver.diffusivity.range=[0.1, nan]", "finite"]),
    # Texts that an unset shell variable leaves empty.
    ("dataset=", ["dataset=''", "not blank"]),
    ("dataset=' '", ["dataset=' '", "not blank"]),
    ("solver.path=", ["solver.path= is empty", "solver.path=FILE.py"]),
    ("surrogate.path=", ["surrogate.path= is empty"]),
    ("launcher.mpirun=['']", ["launcher.mpirun=['']", "not blank"]),
    # Values of another form than the key's.
    ("solver=null", ["solver=null is not a name", "Type solver=NAME"]),
    ("surrogate=null", ["surrogate=null is not a name"]),
    ("launcher=null", ["launcher=null is not a name"]),
    ("experiment=null", ["experiment=null is not a name"]),
    ("solver=3", ["solver=3 is not a name"]),
    ("solver=[8,8]", ["solver=[8, 8] is not a name"]),
    (f"solver={'[' * 60}{']' * 60}", ["is not a name"]),
    (
        f"solver.resolution={'[' * 60}{']' * 60}",
        ["solver.resolution=[[[", "an integer of at least 2 and of at most 1048576, or a list"],
    ),
    (f"solver.resolution={'[' * 2000}{']' * 2000}", ["more than 100 brackets"]),
    ("solver.diffusivity.kind=[1]", ["solver.diffusivity.kind='[1]'", "lognormal"]),
    (
        "samples=null",
        ["samples=null takes the place of a section", "test_extrapolation", "samples.train=VALUE"],
    ),
    ("samples=[1,2]", ["samples=[1,2] does not fit the section samples"]),
    ("training=3", ["training=3 takes the place of a section"]),
    (
        "part=3",
        ["part=3", "a list of 2 items: an integer of at least 0 and", "then an integer greater than 0"],
    ),
    ("model=null", ["model=null", "a name of letters, digits"]),
    ("+launcher.ranks.tran=3", ["launcher.ranks.tran", "'train'"]),
    (f"seed={2**64}", [f"seed={2**64}", f"less than {2**64}"]),
    ("seed=1e3", ["seed=1000.0", "an integer such as 1000"]),
    ("samples.train=3.0", ["samples.train=3.0", "an integer such as 3"]),
    ("solver.resolution=[16.0,16]", ["solver.resolution=[16.0, 16]", "an integer such as 16"]),
    # Keys without their section, and abbreviated keys.
    ("lr=1e-3", ["lr:", "did you mean 'training.learning_rate'?"]),
    ("batch_size=3", ["batch_size:", "did you mean 'training.batch_size'?"]),
    ("unrol=3", ["unrol:", "did you mean 'training.unroll'?"]),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Return the exit code and the messages of the generate stage for each mistake."""
    folder = tmp_path_factory.mktemp("mistakes") / "run"
    overrides = [override for override, _ in MISTAKES]
    result = require_success(
        run([sys.executable, "-m", "tests.support.mistakes", "generate", str(folder), *overrides], cwd=ROOT)
    )
    assert not folder.exists()
    return dict(zip(overrides, map(tuple, json.loads(result.stdout)), strict=True))


@pytest.mark.parametrize(("override", "expected"), MISTAKES, ids=[mistake[0][:60] for mistake in MISTAKES])
def test_the_message_names_the_key_and_the_legal_values(
    override: str, expected: list[str], refusals: dict[str, tuple[int, str]]
) -> None:
    exit_code, message = refusals[override]
    assert exit_code == 2, message
    for phrase in expected:
        assert phrase in message
    assert "Traceback" not in message
    assert "input should" not in message.lower()
    assert len(message.strip().splitlines()) <= 3


@pytest.mark.fault(
    "a key of the configuration does not exist",
    cause="samples.trian=3",
    result="one line with the nearest legal key",
    lost="nothing",
)
def test_a_mistake_ends_a_process_with_its_message(tmp_path: Path) -> None:
    result = run_stage("generate", "samples.trian=3", f"run={tmp_path / 'run'}")
    assert result.returncode == 2
    assert "'samples.train'" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("run_folder", ["", " ", "null"])
def test_an_empty_run_folder_is_refused(run_folder: str, tmp_path: Path) -> None:
    quoted_folder = f"'{run_folder}'" if run_folder == " " else run_folder
    result = run_stage("generate", *SMALL_DATASET, f"run={quoted_folder}", cwd=tmp_path)
    assert result.returncode == 2
    assert "run=" in result.stderr
    assert "is not allowed" in result.stderr
    assert not list(tmp_path.iterdir())
    for command in (["chain", "status", f"run={quoted_folder}"], ["compare", run_folder.replace("null", "")]):
        result = run([sys.executable, "-m", f"pipeline.{command[0]}", *command[1:]], cwd=tmp_path)
        assert result.returncode == 2
        assert "is named" in result.stderr


@pytest.mark.parametrize("launcher", ["mpirun", "torchrun"])
@pytest.mark.fault(
    "a value of the configuration is illegal on all ranks",
    cause="samples.train=-1 under {launcher}",
    result="every rank ends; the message is printed once",
    lost="nothing",
)
def test_every_rank_ends_within_ten_seconds(launcher: str, tmp_path: Path) -> None:
    arguments = ["-m", "pipeline.generate", f"run={tmp_path / 'run'}", "samples.train=-1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *arguments]
    start_of_single_rank = time.monotonic()
    run([sys.executable, *arguments])
    start_of_ranks = time.monotonic()
    result = run(mpi_command(3, *arguments) if launcher == "mpirun" else torchrun)
    assert result.returncode != 0
    assert time.monotonic() - start_of_ranks < 10 + 3 * (start_of_ranks - start_of_single_rank)
    assert result.stderr.count("error: samples.train=-1") == 1
    if launcher == "mpirun":
        assert result.returncode == 2
        assert len(result.stderr.splitlines()) == 1, "nothing of Open MPI"


@pytest.mark.fault(
    "a time step is over the stability limit",
    cause="solver.time_step=0.1 with the Euler scheme",
    result="refused with the limit before work starts",
    lost="nothing",
)
def test_a_step_over_the_stability_limit_is_refused_with_the_limit(tmp_path: Path) -> None:
    result = run_stage(
        "generate",
        *SMALL_DATASET,
        "solver.scheme=euler",
        "solver.time_step=0.1",
        f"run={tmp_path / 'run'}",
        ranks=2,
    )
    assert result.returncode == 2
    assert re.search(r"=0\.1 s exceeds the stable limit [\d.e-]+ s", result.stderr), result.stderr
    assert not (tmp_path / "run" / "dataset" / "data").exists()


def test_more_ranks_than_the_grid_allows_are_refused_with_the_legal_counts(tmp_path: Path) -> None:
    arguments = [*SMALL_DATASET, "solver.resolution=2", "group_size=3", f"run={tmp_path / 'run'}"]
    result = run_stage("generate", *arguments, ranks=3)
    assert result.returncode == 2
    assert "3 ranks cannot share a grid of 2 rows" in result.stderr
    assert "Type group_size=2 or less" in result.stderr
    assert len(result.stderr.splitlines()) == 1, "nothing of Open MPI"
    assert not (tmp_path / "run" / "dataset" / "data").exists()


@pytest.mark.parametrize("stage", ["validate", "train", "evaluate"])
@pytest.mark.fault(
    "{stage} finds no data set",
    cause="an empty run folder",
    result="refused with the command that makes the data set",
    lost="nothing",
)
def test_a_missing_data_set_is_reported_with_the_stage_that_makes_it(stage: str, tmp_path: Path) -> None:
    result = run_stage(stage, f"run={tmp_path / 'run'}")
    assert result.returncode == 2
    assert str(tmp_path / "run" / "dataset") in result.stderr
    assert "generate" in result.stderr


@pytest.mark.parametrize("stage", ["validate", "train"])
@pytest.mark.fault(
    "{stage} gets a folder of another project",
    cause="manifest.json without our keys",
    result="refused with the path",
    lost="nothing",
)
def test_a_folder_of_another_project_is_refused_as_a_data_set(stage: str, tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"name": "of another project"}')
    result = run_stage(stage, f"run={tmp_path / 'run'}", f"dataset={folder}")
    assert result.returncode == 2
    assert "manifest.json" in result.stderr
    assert "Traceback" not in result.stderr


def test_overrides_change_the_options_that_they_name(tmp_path: Path) -> None:
    overrides = [
        "solver.resolution=[96,64]",
        "solver.boundary.x=dirichlet",
        "surrogate.width=20",
        "samples.train=32",
    ]
    configuration = run_stage("generate", *overrides, "--cfg", "job").stdout
    assert "train: 32" in configuration
    assert "x: dirichlet" in configuration
    assert "width: 20" in configuration
    assert "- 96\n  - 64" in configuration


@pytest.mark.fault(
    "an override holds shell or Python code",
    cause="$(touch x), ; touch x, `touch x`, {{_target_:os.abort}}",
    result="refused as text; nothing is executed",
    lost="nothing",
)
def test_an_override_is_text_and_is_never_executed(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for text in (f"$(touch {canary})", f"; touch {canary}", f"`touch {canary}`", "{_target_:os.abort}"):
        result = run_stage("generate", f"solver.scheme={text!r}", f"run={tmp_path / 'run'}")
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
    assert not canary.exists()
