"""Options of sbatch from a site's YAML and the command line: words as written, and options of the chain."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pipeline import chain
from pipeline.config.settings import Launcher
from pipeline.jobs.slurm import check, mail
from pipeline.jobs.slurm.sbatch import Job, sbatch_line
from pipeline.runs.folder import RunFolder
from tests.support.in_process import run_command_line

MISREAD_WORDS = {
    "time": "12:00:00",
    "account": "0123",
    "nodes": "010",
    "partition": "on",
    "qos": "no",
    "mem": "1_000",
    "nice": "+5",
}


def write_site(folder: Path, text: str) -> tuple[str, ...]:
    """Return the arguments that choose a site's YAML with these lines."""
    (folder / "site" / "launcher").mkdir(parents=True, exist_ok=True)
    (folder / "site" / "launcher" / "mine.yaml").write_text(f"defaults: [slurm, _self_]\n{text}\n")
    return (
        *("--config-dir", str(folder / "site"), "launcher=mine"),
        *("experiment=smoke", f"run={folder}/run", "dry_run=true"),
    )


def test_words_of_a_site_reach_sbatch_as_written_or_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unquoted_lines = [f"  all: {{{name}: {word}}}" for name, word in MISREAD_WORDS.items()]
    for name, word, line in zip(MISREAD_WORDS, MISREAD_WORDS.values(), unquoted_lines, strict=True):
        arguments = write_site(tmp_path, f"parts: 1\nsbatch:\n{line}")
        assert run_command_line(chain.run, *arguments) == 2
        message = capsys.readouterr().err
        assert f"launcher.sbatch.all.{name}=" in message
        assert f"mine.yaml, line 4, has the unquoted word {word}, " in message
        assert f"Write {name}: {word!r}" in message
    assert run_command_line(chain.run, *write_site(tmp_path, "ranks: {train: 010}")) == 2
    assert "launcher.ranks.train=8: " in capsys.readouterr().err
    # The same words with quotes, a floating-point number with quotes, and a flag without a value.
    options = ", ".join(f"{name}: '{word}'" for name, word in MISREAD_WORDS.items())
    arguments = write_site(
        tmp_path, f"sbatch: {{all: {{{options}, gres: '1e5', exclusive: true, cpus-per-task: 4}}}}"
    )
    assert run_command_line(chain.run, *arguments, "launcher.parts=1") == 0
    expected = " ".join(f"--{name}={word}" for name, word in MISREAD_WORDS.items())
    assert capsys.readouterr().out.count(f" {expected} --gres=1e5 --exclusive --cpus-per-task=4 ") == 4


def test_words_of_the_command_line_reach_sbatch_as_written_or_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_site(tmp_path, "parts: 1")
    typed_words = {name: word for name, word in MISREAD_WORDS.items() if name not in ("mem", "nice")}
    overrides = [f"++launcher.sbatch.all.{name}={word}" for name, word in typed_words.items()]
    assert run_command_line(chain.run, *arguments, *overrides) == 0
    expected = " ".join(f"--{name}={word}" for name, word in typed_words.items())
    assert capsys.readouterr().out.count(f" {expected} ") == 4
    for override, message in (
        ("+launcher.sbatch.all.account=1_000", "contains a word that is read as the number 1000"),
        ("+launcher.sbatch.all={account: 1_000}", "contains a word that is read as the number 1000"),
        (
            "+launcher.sbatch.all.account=1e5",
            "launcher.sbatch.all.account=100000.0 is not allowed. The value "
            "must be a text (in quotes if it looks like a number), an integer, or true",
        ),
        ("+launcher.sbatch.all.account=null", "launcher.sbatch.all.account=null is not allowed"),
    ):
        assert run_command_line(chain.run, *arguments, override) == 2
        assert message in capsys.readouterr().err
    # The remedy of the message.
    quoted_override = "+launcher.sbatch.all.account='1_000'"
    assert run_command_line(chain.run, *arguments, quoted_override) == 0
    assert "--account=1_000 " in capsys.readouterr().out


def launcher(**options: object) -> Launcher:
    return Launcher.model_validate(
        {"name": "slurm", "ranks": {"generate": 8}, "mpirun": ["mpirun"], **options}
    )


def options_of(job: Job, slurm: Launcher, dependencies: tuple[str, ...] = ()) -> list[str]:
    line = sbatch_line(job, slurm, RunFolder.at(Path("/run")), [], dependencies)
    return [argument for argument in line[1:] if argument.startswith("--")]


def test_options_that_the_chain_shares_are_merged() -> None:
    tasks = (*range(1500), 1502, 1504, 1505)
    slurm = launcher(
        parts_at_once=2, sbatch={"all": {"dependency": "singleton", "mem": "1G"}, "finish": {"mem": "2G"}}
    )
    array_options = options_of(Job("generate", "generate", tasks), slurm)
    assert "--array=0-1499,1502,1504-1505%2" in array_options
    assert {"--dependency=singleton", "--ntasks=8", "--mem=1G"} <= set(array_options)
    # The job that completes the data set has its own options and ranks.
    finish_options = options_of(Job("finish", "generate"), slurm, ("7", "8"))
    assert "--dependency=afterok:7:8,singleton" in finish_options
    assert {"--ntasks=1", "--mem=2G", "--kill-on-invalid-dep=yes"} <= set(finish_options)
    generate_options = {"generate": {"nodes": 4}}
    assert "--nodes=4" not in options_of(Job("finish", "generate"), launcher(sbatch=generate_options))
    assert "--array=0-3" in options_of(Job("generate", "generate", (0, 1, 2, 3)), launcher())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"array": "0-3%2"}, "the chain itself sets the option array. .*launcher.parts_at_once=N"),
        ({"ntasks": 4}, "the chain itself sets the option ntasks. Type launcher.ranks"),
        ({"output": "x"}, "the chain itself sets the option output. .*RUN/jobs/logs"),
        ({"export": "NONE"}, "the chain itself sets the option export. "),
        ({"job-name": "x"}, "the chain itself sets the option job-name. "),
        ({"parsable": False}, "the chain itself sets the option parsable. "),
        ({"wait": True}, "the chain itself sets the option wait. "),
        # sbatch takes the beginning of an option's name.
        ({"arr": "0-3"}, "the chain itself sets the option array. "),
        ({"dependency": "afterany:1?afterany:2"}, "has alternatives, separated by [?]"),
    ],
)
def test_options_of_the_chain_are_refused_by_name(option: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launcher(sbatch={"train": option})


def test_a_stage_may_have_a_launch_line_of_its_own() -> None:
    assert launcher(mpirun=["srun", "--mpi=pmix"]).launch_line("train") == ["srun", "--mpi=pmix"]
    slurm = launcher(mpirun={"train": ["srun"]})
    assert [slurm.launch_line(stage) for stage in ("train", "evaluate")] == [["srun"], ["mpirun"]]
    slurm = launcher(mpirun={"all": ["mpiexec"], "train": ["srun"]})
    assert [slurm.launch_line(stage) for stage in ("train", "evaluate")] == [["srun"], ["mpiexec"]]
    assert launcher(mpirun=None).launch_line("train") == ["mpirun"]


def test_the_job_that_sends_the_mail_waits_for_all_jobs() -> None:
    options = {"time": "12:00:00", "mail-type": "ALL", "account": "mine", "dependency": "singleton"}
    slurm = launcher(mail="me@site.org", sbatch={"all": options})
    line = mail.line(slurm, RunFolder.at(Path("/run")), ["7", "8"])
    assert {
        *("--dependency=afterany:7:8", "--mail-type=END,FAIL", "--mail-user=me@site.org"),
        *("--account=mine", "--time=00:10:00", "--ntasks=1"),
    } <= set(line)
    assert len([option for option in line if option.startswith(("--mail-type", "--time", "--dep"))]) == 3


def test_times_in_the_notation_of_slurm() -> None:
    for text, minutes in (("90", 90), ("90:30", 90.5), ("12:00:00", 720), ("1-2", 1560), ("1-2:30", 1590)):
        assert check.minutes_of(text) == minutes
    assert check.minutes_of("1-02:30:30") == 1590.5
    assert check.minutes_of("UNLIMITED") == math.inf
