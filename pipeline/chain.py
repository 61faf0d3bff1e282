"""All stages in order, on this machine or as a chain of Slurm jobs. Complete stages are skipped.

python -m pipeline.chain experiment=heat_fno                    # on this machine
python -m pipeline.chain experiment=heat_fno launcher=slurm     # as jobs
python -m pipeline.chain status run=runs/heat                   # or --json, --watch; or wait, resume, cancel
"""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline import cli
from pipeline.config import compose, sizes
from pipeline.config.settings import Settings
from pipeline.config.sweep import Job
from pipeline.evaluation import schema
from pipeline.jobs.local import StageFailedError, command, run_stage
from pipeline.jobs.slurm import chain, commands, display
from pipeline.parallel import launch, mpi, stopping
from pipeline.runs import progress, records
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from solvers.contract import Solver

STAGES = ("generate", "validate", "train", "evaluate")


def run(settings: Settings) -> float | None:
    """Check the whole configuration, then run or submit the stages with this command line's overrides.

    Return the objective of the evaluation, if the stages ran here, see `schema.objective`.
    """
    _refuse_launcher()
    check(settings)
    arguments = compose.stage_arguments(settings.model)
    if settings.launcher.name == "slurm":
        chain.start(RunFolder.of(settings), settings.launcher, arguments, dry_run=settings.dry_run)
    elif settings.dry_run:
        for stage in STAGES:
            ranks = settings.launcher.ranks[stage]  # type: ignore[index]
            print(shlex.join(command(stage, arguments, ranks, settings.launcher.mpirun)))
    else:
        return _run_locally(settings, arguments)
    return None


def _run_locally(settings: Settings, arguments: list[str]) -> float:
    console = Console(highlight=False)
    run_folder = RunFolder.of(settings)
    with (
        stopping.listen() as request,
        _exit_on_stage_failure(settings),
        records.run_record("chain", run_folder, settings.model_dump(mode="json")) as metadata,
    ):
        seconds = metadata.setdefault("seconds", {})
        for index, stage in enumerate(STAGES, start=1):
            ranks = settings.launcher.ranks[stage]  # type: ignore[index]
            rank_text = "1 rank" if ranks == 1 else f"{ranks} ranks"
            console.rule(f"[bold]{index}/{len(STAGES)} {stage}[/] on {rank_text}", align="left")
            start = time.monotonic()
            if request.is_received:
                raise stopping.StoppedError(f"{stage} did not start. Run the same command again to continue")
            run_stage(stage, arguments, ranks, settings.launcher.mpirun)
            seconds[stage] = round(time.monotonic() - start, 2)
            console.print(f"[dim]{stage} took {_duration_text(seconds[stage])}[/]")
    console.rule(f"[bold]done[/] in {_duration_text(sum(seconds.values()))}", align="left")
    progress.report_output("chain", run_folder.report, "compare", [str(run_folder.path)])
    return schema.objective(schema.read(run_folder.evaluation / "metrics.json"))


def check(settings: Settings) -> None:
    """Refuse a configuration that a later stage would refuse, before any work starts.

    Raises:
        UserError: a name is unknown, an option is wrong, options cannot work together, or the run folder
            holds a data set of another configuration.
    """
    # Imported here because these imports load torch and MPI.
    import numpy as np

    mpi.initialise(is_alone=launch.detect().launcher == "none")
    from mpi4py import MPI

    from pipeline.config import solver_checks
    from pipeline.config.build import (
        build_solver,
        dataset_configuration,
        refuse_unused_surrogate_options,
        surrogate_arguments,
        surrogate_type,
    )
    from pipeline.data import store
    from pipeline.problem import expected_problem, with_physics
    from pipeline.training import option_checks
    from surrogates.weights import construct_without_memory

    _refuse_part(settings)
    solver = build_solver(settings.solver, MPI.COMM_SELF)
    _check_data(settings, solver)
    solver_checks.check_outside(solver, settings.samples.test_extrapolation)
    if not settings.overwrite:
        store.refuse_other_configuration(settings.dataset, dataset_configuration(settings, solver))
    steps, training = settings.output.steps, settings.training
    if training.unroll > steps:
        raise UserError(
            f"training.unroll={training.unroll} is longer than a trajectory of output.steps={steps}. "
            f"At most {steps} steps fit. Type training.unroll={steps}, or raise output.steps"
        )
    ranks = settings.launcher.ranks["generate"]
    if ranks % settings.group_size:
        raise UserError(
            f"launcher.ranks.generate={ranks} ranks do not divide into groups of group_size="
            f"{settings.group_size}. A multiple of group_size is allowed. "
            f"Type launcher.ranks.generate={settings.group_size}, or another multiple"
        )
    _check_batch(settings)
    constructor = surrogate_type(settings.surrogate)
    surrogate_options = surrogate_arguments(constructor, settings.surrogate)
    times = settings.output.duration * np.arange(steps + 1) / steps
    problem = expected_problem(solver.spec, times)
    refuse_unused_surrogate_options(constructor, settings.surrogate, problem)
    surrogate = construct_without_memory(
        lambda: constructor(with_physics(problem, solver), **surrogate_options)
    )
    option_checks.check(surrogate, training)
    if settings.launcher.name == "local":
        sizes.check_training(
            training,
            surrogate,
            num_ranks=settings.launcher.ranks["train"],
            num_windows=training.batch_size // training.gradient_accumulation_steps,
        )


def _check_data(settings: Settings, solver: Solver) -> None:
    """Check the size of the data, and the options that depend on the duration.

    The jobs of a chain have the memory of their own nodes.
    """
    from pipeline.generation.batched import solves_batches

    samples = settings.samples
    sizes.check_data_set(settings, solver.spec)
    if settings.launcher.name == "local":
        num_groups = max(settings.launcher.ranks["generate"] // settings.group_size, 1)
        is_batched = settings.group_size == 1 and solves_batches(solver)
        sizes.check_generation(settings, solver.spec, is_batched=is_batched, num_states=num_groups)
        sizes.check_evaluation(
            settings.evaluation,
            solver.spec,
            settings.output.steps + 1,
            max(samples.test, samples.test_extrapolation),
            settings.storage.precision,
        )
    # The cautions are printed by generate.
    deque(solver.cautions(settings.output.duration), maxlen=0)


def _refuse_part(settings: Settings) -> None:
    if settings.part != (0, 1):
        part, num_parts = settings.part
        raise UserError(
            f"part=[{part},{num_parts}] generates some of the shards, and a chain needs all shards. Only the "
            "stage generate takes a part. Leave out part=, or type launcher=slurm launcher.parts="
            f"{num_parts} for jobs that generate the parts side by side"
        )


def _check_batch(settings: Settings) -> None:
    """Raise UserError if the batch does not divide among the ranks of a model and their micro-batches."""
    from pipeline.training import ensemble
    from pipeline.training.batches.order import BatchOrder

    training, ranks = settings.training, settings.launcher.ranks["train"]
    if settings.ensemble > 1:
        ensemble.check_ranks(settings.ensemble, training.batch_size, ranks)
    BatchOrder(
        1,
        training.batch_size,
        settings.seed,
        0,
        ranks // math.gcd(settings.ensemble, ranks),
        num_micro_batches=training.gradient_accumulation_steps,
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
    numbers_before = {stage: records.last_number(run, stage) for stage in STAGES}
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


def resume(settings: Settings) -> None:
    """Submit the missing jobs of a chain, with the arguments that started the chain."""
    check(settings)
    arguments = compose.stage_arguments(settings.model)
    chain.resume(RunFolder.of(settings), settings.launcher, arguments, dry_run=settings.dry_run)


def _restore_command_line(arguments: list[str]) -> None:
    """Restore the command line and the working folder of the chain's start, and append `arguments`."""
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    record = display.chain_record(commands.run_folder(overrides))
    os.chdir(record.folder)
    additional_arguments = [argument for argument in arguments if not argument.startswith("run=")]
    sys.argv[1:] = [*record.arguments, *additional_arguments]


def main(arguments: list[str]) -> None:
    """Start a chain, or show (`status`), await (`wait`), resume or cancel a chain of jobs."""
    match arguments:
        case ["status", *rest]:
            cli.exit_on_error(lambda: commands.status(rest))
        case ["wait", *rest]:
            cli.exit_on_error(lambda: commands.wait(rest))
        case ["cancel", *rest]:
            cli.exit_on_error(lambda: commands.cancel(rest))
        case ["resume", *overrides]:
            cli.exit_on_error(lambda: _restore_command_line(overrides))
            cli.main(resume)
        case [argument, *_] if not argument.startswith("-") and "=" not in argument:
            cli.exit_on_error(lambda: _refuse_command(argument))
        case _:
            cli.main(run, _compare_models)


def _refuse_command(argument: str) -> None:
    raise UserError(
        f"{argument!r} is not a command. Commands are status, wait, resume and cancel; other arguments have "
        "the form KEY=VALUE. Type python -m pipeline.chain status run=FOLDER"
    )


def _compare_models(jobs: list[Job]) -> None:
    # Imported here because the tables of evaluations import torch.
    from pipeline.evaluation.model_table import show_sweep

    show_sweep(jobs)


if __name__ == "__main__":
    main(sys.argv[1:])
