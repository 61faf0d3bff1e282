"""All stages in order, on this machine or as a chain of Slurm jobs. Complete stages are skipped.

python -m pipeline.chain experiment=heat_fno                    # on this machine
python -m pipeline.chain experiment=heat_fno launcher=slurm     # as jobs
python -m pipeline.chain check experiment=heat_fno launcher=slurm   # refusals only
python -m pipeline.chain probe experiment=heat_fno launcher=slurm   # small jobs test MPI and nodes
python -m pipeline.chain status run=runs/heat                   # or --json, --watch; or wait, resume, cancel
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from pipeline import cli
from pipeline.chain_check import check
from pipeline.config import compose
from pipeline.config.settings import LocalStage, Settings, Stage
from pipeline.config.sweep import Job
from pipeline.evaluation import schema
from pipeline.jobs.local import StageFailedError, command, run_stage
from pipeline.jobs.outcome import listens, newest_record, require_complete
from pipeline.jobs.slurm import chain, commands, display, probe
from pipeline.parallel import launch, stopping
from pipeline.runs import progress, records
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError
from simsurrogate.files import digest

STAGES: tuple[Stage, ...] = ("generate", "validate", "train", "evaluate")
#: With `source=` the data come from files. The stage has the ranks and the launch line of `generate`.
_ADOPTING_STAGES: tuple[LocalStage, ...] = ("adopt", *STAGES[1:])


def run(settings: Settings) -> float | None:
    """Check the whole configuration, then run or submit the stages with this command line's overrides.

    Return the objective of the evaluation, if the stages ran here, see `schema.objective`.
    """
    _refuse_launcher()
    _check(settings)
    arguments = compose.stage_arguments(settings.model)
    if settings.launcher.name == "slurm":
        chain.start(
            RunFolder.of(settings),
            settings.launcher,
            arguments,
            dry_run=settings.dry_run,
            data=digest([settings.dataset_settings(), str(settings.dataset)]),
            sweep=compose.sweep_arguments(),
            is_first=not compose.is_sweep() or HydraConfig.get().job.num == 0,
        )
        if not (compose.is_sweep() or settings.dry_run):
            chain.finish_submission(RunFolder.of(settings), settings.launcher)
    elif settings.dry_run:
        for stage in _stages(settings):
            print(shlex.join(command(stage, arguments, *_launch(settings, stage))))
    else:
        return _run_locally(settings, arguments)
    return None


def _run_locally(settings: Settings, arguments: list[str]) -> float:
    console = Console(highlight=False)
    run_folder = RunFolder.of(settings)
    if shutil.which("sbatch") and "SLURM_JOB_ID" not in os.environ:
        print("note: this chain runs on this machine. Type launcher=slurm to submit jobs", file=sys.stderr)
    with (
        stopping.listen() as request,
        _exit_on_stage_failure(settings),
        records.run_record("chain", run_folder, settings.model_dump(mode="json")) as metadata,
    ):
        seconds = metadata.setdefault("seconds", {})
        for index, stage in enumerate(_stages(settings), start=1):
            ranks, launch_line = _launch(settings, stage)
            rank_text = "1 rank" if ranks == 1 else f"{ranks} ranks"
            console.rule(f"[bold]{index}/{len(STAGES)} {stage}[/] on {rank_text}", align="left")
            start = time.monotonic()
            if request.is_received:
                raise stopping.StoppedError(f"{stage} did not start. Run the same command again to continue")
            number_before = records.last_number(settings.run, stage)
            run_stage(
                stage, arguments, ranks, launch_line, partial(listens, settings.run, stage, number_before)
            )
            require_complete(settings.run, stage, newest_record(settings.run, stage, number_before))
            seconds[stage] = round(time.monotonic() - start, 2)
            console.print(f"[dim]{stage} took {_duration_text(seconds[stage])}[/]")
    console.rule(f"[bold]done[/] in {_duration_text(sum(seconds.values()))}", align="left")
    progress.report_output("chain", run_folder.report, "compare", [str(run_folder.path)])
    return schema.objective(schema.read(run_folder.evaluation / "metrics.json"))


def _stages(settings: Settings) -> tuple[LocalStage, ...]:
    return STAGES if settings.source is None else _ADOPTING_STAGES


def _launch(settings: Settings, stage: LocalStage) -> tuple[int, list[str]]:
    """Return the number of ranks and the launch line of a stage."""
    name: Stage = "generate" if stage == "adopt" else stage
    return settings.launcher.ranks[name], settings.launcher.launch_line(name)


def _check(settings: Settings) -> None:
    """Check the whole configuration; the problem of adopted data is known only after `adopt`.

    Raises:
        UserError: see `chain_check.check`; or a chain of Slurm jobs would adopt files.
    """
    if settings.source is None:
        check(settings)
    elif settings.launcher.name == "slurm":
        raise UserError(
            f"source={settings.source} belongs to adopt, which is no job of a chain of Slurm jobs. A chain "
            "on this machine adopts files. Type python -m pipeline.adopt with these arguments, then the "
            "other stages"
        )


def _refuse_launcher() -> None:
    launcher = launch.detect().launcher
    if launcher != "none":
        raise UserError(
            f"the chain cannot run under {launcher}. The chain starts the ranks of each stage itself. "
            "Type `python -m pipeline.chain`, with launcher.ranks.STAGE=N for each stage"
        )


@contextmanager
def _exit_on_stage_failure(settings: Settings) -> Iterator[None]:
    """On a failure, exit with the stage's exit code after a line that names the record."""
    run = settings.run
    numbers_before = {stage: records.last_number(run, stage) for stage in _stages(settings)}
    try:
        yield
    except StageFailedError as error:
        number = records.last_number(run, error.stage)
        record_path = records.record_path(run, error.stage, number)
        has_record = number > numbers_before[error.stage]
        record_text = f" The record is {record_path}." if has_record else ""
        print(
            f"chain stopped: {error}.{record_text} Run the same command again to continue.",
            file=sys.stderr,
            flush=True,
        )
        raise SystemExit(error.exit_code if 0 < error.exit_code < 128 else 1) from None
    except KeyboardInterrupt:
        print("chain interrupted. Run the same command again to continue.", file=sys.stderr, flush=True)
        raise SystemExit(130) from None


def _duration_text(seconds: float) -> str:
    minutes, remainder = divmod(seconds, 60)
    return f"{int(minutes)} min {remainder:.0f} s" if minutes else f"{remainder:.1f} s"


def probe_only(settings: Settings) -> None:
    """Check the whole configuration, and let jobs of one minute test the launch line and the nodes.

    Raises:
        UserError: the launcher is not Slurm, or a probe cannot be submitted or does not end.
    """
    _refuse_launcher()
    check(settings)
    arguments = compose.stage_arguments(settings.model)
    next_command = shlex.join(["python", "-m", "pipeline.chain", *arguments])
    if settings.launcher.name != "slurm":
        raise UserError(
            f"launcher.name={settings.launcher.name} submits no jobs, and probe tests the jobs of a chain. "
            f"launcher=slurm and the YAML of a site are allowed. Type launcher=slurm, or `{next_command}`"
        )
    run_folder = RunFolder.of(settings)
    chain.check(run_folder, settings.launcher, arguments)
    try:
        num_problems = probe.run(run_folder, settings.launcher, arguments, settings.training.device)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if num_problems:
        print(f"\nprobed: {num_problems} of the lines above are WRONG. Correct them, then type probe again")
        sys.exit(1)
    print(f"\nprobed: nothing is wrong. Next: {next_command}")


def check_only(settings: Settings) -> None:
    """Check the whole configuration, and let Slurm check each job, without running or submitting a job."""
    _refuse_launcher()
    check(settings)
    arguments = compose.stage_arguments(settings.model)
    if settings.launcher.name == "slurm":
        chain.check(RunFolder.of(settings), settings.launcher, arguments)
    next_command = shlex.join(["python", "-m", "pipeline.chain", *arguments])
    print(f"checked: no stage refuses this configuration. Next: {next_command}")


def resume(run: Path, resumed: list[Settings], settings: Settings) -> None:
    """Submit the missing jobs of the chain in `run`, with the arguments that started the chain.

    Append the settings to `resumed` if jobs were missing.
    """
    if compose.is_sweep() and settings.run.absolute() != run:
        # The sweep has chains in other run folders, too.
        return
    check(settings)
    if chain.resume(
        RunFolder.of(settings),
        settings.launcher,
        compose.stage_arguments(settings.model),
        dry_run=settings.dry_run,
        sweep=compose.sweep_arguments(),
    ):
        resumed.append(settings)


def _restore_command_line(run_folder: RunFolder, arguments: list[str]) -> None:
    """Restore the command line and the working folder of the chain's start, and append `arguments`."""
    record = display.chain_record(run_folder)
    os.chdir(record.folder)
    additional_arguments = [argument for argument in arguments if not argument.startswith("run=")]
    sys.argv[1:] = [*record.arguments, *additional_arguments]


def main(arguments: list[str]) -> None:
    """Start a chain, check its configuration, probe its jobs, or show, await, resume or cancel its jobs."""
    match arguments:
        case ["check", *overrides]:
            sys.argv[1:] = overrides
            cli.main(check_only)
        case ["probe", *overrides]:
            sys.argv[1:] = overrides
            cli.main(probe_only)
        case ["status", *rest]:
            cli.exit_on_error(lambda: commands.status(rest))
        case ["wait", *rest]:
            cli.exit_on_error(lambda: commands.wait(rest))
        case ["cancel", *rest]:
            cli.exit_on_error(lambda: commands.cancel(rest))
        case ["resume", *overrides]:
            cli.exit_on_error(lambda: _resume(overrides))
        case [argument, *_] if not argument.startswith("-") and "=" not in argument:
            cli.exit_on_error(lambda: _refuse_command(argument))
        case _:
            cli.main(run, _end_sweep)


def _resume(arguments: list[str]) -> None:
    run_folder = commands.run_folder([argument for argument in arguments if not argument.startswith("-")])
    run = run_folder.path.absolute()
    _restore_command_line(run_folder, arguments)
    resumed: list[Settings] = []
    try:
        cli.main(partial(resume, run, resumed))
    finally:
        # A refused model of a sweep exits after the other models.
        if resumed and not resumed[-1].dry_run:
            chain.finish_submission(RunFolder.of(resumed[-1]), resumed[-1].launcher)
    if not resumed:
        print("nothing is missing: every job is done, running or pending; the arguments have no effect")
        display.show(run_folder)


def _refuse_command(argument: str) -> None:
    raise UserError(
        f"{argument!r} is not a command. Commands are check, probe, status, wait, resume and cancel; "
        "other arguments have the form KEY=VALUE. Type python -m pipeline.chain status run=FOLDER"
    )


def _end_sweep(jobs: list[Job]) -> None:
    """Finish the submission of each chain; after a sweep on this machine, print the table of its models."""
    submitted = {
        job.settings.run: job.settings
        for job in jobs
        if job.settings
        and job.settings.launcher.name == "slurm"
        and not (job.failure or job.settings.dry_run)
    }
    for settings in submitted.values():
        chain.finish_submission(RunFolder.of(settings), settings.launcher)
    # Imported here because the tables of evaluations import torch.
    from pipeline.evaluation.model_table import show_sweep

    show_sweep(jobs)


if __name__ == "__main__":
    main(sys.argv[1:])
