"""The findings of a probe as sentences: from Slurm, the reports of the ranks and the log of the job."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.config.settings import Launcher
from pipeline.jobs.probe_report import RankReport
from pipeline.jobs.slurm.queries import Properties
from pipeline.jobs.slurm.sbatch import Job, ranges
from pipeline.parallel import launch

#: The number of lines of a log that are shown.
_LOG_LINES = 12


@dataclass(frozen=True)
class Finding:
    """One sentence about a probe; `is_wrong` if a stage would fail or waste its resources."""

    text: str
    is_wrong: bool = False


@dataclass(frozen=True)
class ProbeResult:
    """The end of a probe: the jobs of the chain with its resources, Slurm's properties, reports and log."""

    jobs: tuple[Job, ...]
    ranks: int
    properties: Properties
    reports: list[RankReport]
    log: str


def findings(result: ProbeResult, launcher: Launcher, device: str) -> Iterator[Finding]:
    """Yield the findings of a probe; `device` is `training.device`."""
    reports = sorted(result.reports, key=lambda report: (report.rank, report.node, report.process))
    launch_line = (
        shlex.join([*launcher.launch_line(result.jobs[0].stage), "-n", str(result.ranks)])
        if result.ranks > 1
        else "python"
    )
    yield from _end(result)
    if not reports:
        yield from _no_report(result, launch_line)
        return
    if len(reports) != result.ranks:
        yield Finding(
            f"`{launch_line}` started {len(reports)} processes instead of {result.ranks}. Correct "
            "launcher.mpirun",
            is_wrong=True,
        )
    yield from _mpi(result.jobs, result.ranks, reports)
    yield from _nodes(reports)
    yield from _binding(reports)
    yield from _devices(result.jobs, reports, device)
    yield from _folder_and_lock(reports)
    notes = [line for line in result.log.splitlines() if line.startswith(("note: ", "warning: "))]
    yield from (Finding(note) for note in dict.fromkeys(notes))


def _end(result: ProbeResult) -> Iterator[Finding]:
    state = result.properties.get("JobState", "unknown")
    if state == "COMPLETED":
        return
    end = f"exit code {result.properties.get('ExitCode', 'unknown')}"
    yield Finding(f"the job ended as {state} ({end})", is_wrong=True)
    lines = result.log.splitlines()[-_LOG_LINES:]
    if lines:
        yield Finding("\n    ".join(["the last lines of its log:", *lines]))


def _no_report(result: ProbeResult, launch_line: str) -> Iterator[Finding]:
    nodes = result.properties.get("NodeList", "")
    if not result.log and result.properties.get("JobState") != "COMPLETED":
        yield Finding(
            f"the job left no log. The run folder has to exist on {nodes or 'each node'} and be writable "
            "there. Choose a folder of a shared file system with run=",
            is_wrong=True,
        )
    elif result.properties.get("JobState") == "COMPLETED":
        yield Finding(
            f"`{launch_line}` ended without an error, and started none of the {result.ranks} ranks. The "
            "launch line has to start the command after it. Type the launch line of your site, for example "
            "'launcher.mpirun=[srun,\"--mpi=pmix\"]'",
            is_wrong=True,
        )
    else:
        yield Finding(f"`{launch_line}` started none of the {result.ranks} ranks", is_wrong=True)


def _mpi(jobs: Sequence[Job], ranks: int, reports: Sequence[RankReport]) -> Iterator[Finding]:
    for phase, text in (("MPI", "the start of MPI"), ("messages", "messages between all ranks")):
        stopped = [report for report in reports if report.phase == phase]
        if stopped:
            yield Finding(f"{_ranks_text(stopped)} did not get past {text}", is_wrong=True)
    libraries = dict.fromkeys(report.mpi_library for report in reports if report.mpi_library)
    for library in libraries:
        yield Finding(f"MPI library: {library}")
    if len(libraries) > 1:
        yield Finding("the ranks load different MPI libraries. Load one in launcher.setup", is_wrong=True)
    sizes = sorted({report.world_size for report in reports if report.world_size})
    launcher = reports[0].launcher
    if sizes == [ranks]:
        yield Finding(f"MPI world: {ranks}, as expected")
    elif sizes and all(job.kind == "train" for job in jobs) and launcher == "srun":
        yield Finding(f"MPI world: {_words(sizes)} instead of {ranks}. Under srun, train needs no MPI")
    elif sizes:
        yield Finding(
            f"MPI world: {_words(sizes)} instead of {ranks}. Each rank would do all the work. {launcher} and "
            "the MPI library do not fit together. Type launcher.mpirun=[mpirun] with the mpirun of this "
            "library, or 'launcher.mpirun=[srun,\"--mpi=TYPE\"]' with a type of `srun --mpi=list` that this "
            "library supports",
            is_wrong=True,
        )


def _nodes(reports: Sequence[RankReport]) -> Iterator[Finding]:
    counts = launch.ranks_on_nodes([report.node for report in reports])
    yield Finding(f"ranks on each node: {', '.join(f'{node} {count}' for node, count in counts.items())}")
    num_nodes = reports[0].num_nodes
    if len(counts) < num_nodes:
        yield Finding(
            f"{num_nodes - len(counts)} of {num_nodes} nodes have no rank. Add ntasks-per-node to the "
            "options of sbatch, or request fewer nodes",
            is_wrong=True,
        )


def _binding(reports: Sequence[RankReport]) -> Iterator[Finding]:
    """Yield the cores of the ranks of each node, and the ranks that have fewer cores than threads."""
    for node, node_reports in _by_node(reports):
        ranks_by_cores: dict[tuple[int, ...], list[RankReport]] = defaultdict(list)
        for report in node_reports:
            ranks_by_cores[tuple(report.cores)].append(report)
        texts = [f"{_ranks_text(group)}: {ranges(cores)}" for cores, group in ranks_by_cores.items()]
        yield Finding(f"cores on {node}: {'; '.join(texts)}")
        for cores in ranks_by_cores:
            group = [report for report in node_reports if set(report.cores) <= set(cores)]
            threads = sum(report.threads for report in group)
            if len(group) > 1 and threads > len(cores):
                yield Finding(
                    f"{_ranks_text(group)} on {node} have {threads} threads and share {_cores_text(cores)}. "
                    "The launch line binds them to the same cores, or the job has too few: add "
                    "cpus-per-task or ntasks-per-node to the options of sbatch, or --bind-to none to mpirun",
                    is_wrong=True,
                )
        overlaps = [
            (first, second)
            for first in ranks_by_cores
            for second in ranks_by_cores
            if first < second and set(first) & set(second)
        ]
        for first, second in overlaps:
            shared = sorted(set(first) & set(second))
            names = _ranks_text([*ranks_by_cores[first], *ranks_by_cores[second]])
            yield Finding(f"{names} on {node} overlap in {_cores_text(shared)}")


def _devices(jobs: Sequence[Job], reports: Sequence[RankReport], device: str) -> Iterator[Finding]:
    finished = [report for report in reports if report.phase == "end"]
    stopped = [report for report in reports if report.phase == "torch"]
    if stopped:
        yield Finding(f"{_ranks_text(stopped)} did not get past the import of torch", is_wrong=True)
    for node, node_reports in _by_node(finished):
        texts: dict[str, list[RankReport]] = defaultdict(list)
        for report in node_reports:
            variable = report.visible_devices
            set_text = "is not set" if variable is None else f"is {variable!r}"
            text = f"torch {report.torch_version} sees {len(report.devices)}, CUDA_VISIBLE_DEVICES {set_text}"
            texts[text].append(report)
        parts = [f"{_ranks_text(group)}: {text}" for text, group in texts.items()]
        yield Finding(f"CUDA devices on {node}: {'; '.join(parts)}")
        uses_devices = device != "cpu" and any(job.kind in ("train", "evaluate") for job in jobs)
        if not uses_devices:
            continue
        blind = [report for report in node_reports if not report.devices]
        if blind and (device == "cuda" or any(report.has_gpus for report in blind)):
            cause = "this job has GPUs" if blind[0].has_gpus else "training.device=cuda"
            yield Finding(
                f"{cause}, but torch finds no CUDA device for {_ranks_text(blind)} on {node}. Install a "
                "torch with CUDA that fits the driver, or type training.device=cpu and request no GPUs",
                is_wrong=True,
            )
        uses = Counter(report.own_device for report in node_reports if report.own_device)
        if any(job.kind == "train" for job in jobs) and len(uses) < uses.total():
            yield Finding(
                f"{node} has {uses.total()} ranks and {len(uses)} CUDA devices for them. Each rank of train "
                "needs a device of its own. Set launcher.ranks.train to the number of GPUs",
                is_wrong=True,
            )


def _folder_and_lock(reports: Sequence[RankReport]) -> Iterator[Finding]:
    for attribute, text in (
        ("folder_error", "run folder: the same on {nodes}, and writable"),
        ("lock_error", "locks: hold on {nodes}"),
    ):
        good = [report.node for report in reports if not getattr(report, attribute)]
        if good:
            yield Finding(text.format(nodes=", ".join(dict.fromkeys(good))))
        for node, node_reports in _by_node(reports):
            for error in dict.fromkeys(getattr(report, attribute) for report in node_reports):
                if error:
                    yield Finding(
                        f"{node} {error}. Choose a folder of a file system that all nodes share with run=",
                        is_wrong=True,
                    )


def _by_node(reports: Iterable[RankReport]) -> list[tuple[str, list[RankReport]]]:
    reports_by_node: dict[str, list[RankReport]] = defaultdict(list)
    for report in reports:
        reports_by_node[report.node].append(report)
    return sorted(reports_by_node.items())


def _ranks_text(reports: Sequence[RankReport]) -> str:
    numbers = sorted({report.rank for report in reports})
    return f"rank {numbers[0]}" if len(numbers) == 1 else f"ranks {ranges(numbers)}"


def _cores_text(cores: Sequence[int]) -> str:
    return f"core {cores[0]}" if len(cores) == 1 else f"cores {ranges(cores)}"


def _words(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers))
