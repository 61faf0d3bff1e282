"""The probe of a chain: a job of one minute for each distinct resource request, and what its ranks find."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pipeline.config.settings import Launcher
from pipeline.jobs.probe_report import PRINTED_REPORT, REPORT_PATTERN, RankReport, token_path
from pipeline.jobs.slurm import queries, sbatch
from pipeline.jobs.slurm.probe_findings import ProbeResult, findings
from pipeline.jobs.slurm.queries import Properties
from pipeline.jobs.slurm.sbatch import Job
from pipeline.runs.folder import RunFolder
from simsurrogate.documents import parse_json, read_json
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole

#: The longest wait for the end of all probes, most of which they may spend in the queue, s.
LONGEST_WAIT = 1800
#: The pause between two questions to Slurm, s.
_PAUSE = 1.0
#: The time that cancelled jobs have to end, s.
_CANCEL_SECONDS = 30
#: Options of sbatch that do not apply to a probe: its job starts soon, takes one minute and ends.
_OPTIONS_OF_TIME = ("time", "time-min", "begin", "deadline", "dependency", "requeue", "signal")
#: Slurm's states of jobs that have not ended.
_LIVE_STATES = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT")


@dataclass(frozen=True)
class _Probe:
    """A submitted probe for jobs of the chain with equal resources."""

    name: str
    jobs: tuple[Job, ...]
    ranks: int
    number: str
    folder: Path


def run(
    run_folder: RunFolder,
    launcher: Launcher,
    arguments: Sequence[str],
    device: str,
    longest_wait: float = LONGEST_WAIT,
) -> int:
    """Probe the resources of all jobs of a chain, print the findings, and return the number of problems.

    The run folder is left as it was. Ctrl-C cancels the probes.

    Args:
        run_folder: the run folder.
        launcher: the settings of the launcher.
        arguments: the command line of the stages.
        device: `training.device`.
        longest_wait: the longest wait for the end of all probes, s.

    Raises:
        UserError: Slurm refuses a probe, or a probe does not end in time. All probes are cancelled.
    """
    requests = distinct_requests(sbatch.jobs(launcher.parts), launcher)
    num_problems = 0
    with _folder(run_folder.path) as folder:
        probes: list[_Probe] = []
        try:
            for jobs in requests:
                probes.append(_submit(jobs, launcher, folder, arguments))
                print(f"{probes[-1].name}: submitted as job {probes[-1].number}", flush=True)
            properties = _wait(probes, longest_wait)
        except BaseException:
            _cancel(probes)
            raise
        for probe in probes:
            num_problems += _print_findings(_result(probe, properties[probe.number]), launcher, device)
    return num_problems


def distinct_requests(jobs: Sequence[Job], launcher: Launcher) -> list[tuple[Job, ...]]:
    """Return the jobs of a chain in groups of equal ranks, launch lines and options of sbatch."""
    groups: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        request = sorted(_request(job, launcher).items())
        line = tuple(launcher.launch_line(job.stage))
        groups.setdefault((launcher.ranks[job.kind], line, *request), []).append(job)
    return [tuple(group) for group in groups.values()]


def _request(job: Job, launcher: Launcher) -> dict[str, str | int | bool]:
    """Return the options of `launcher.sbatch` for a job without those that concern its time and its end."""
    options = sbatch.options_of_user(job, launcher)
    return {name: value for name, value in options.items() if name not in _OPTIONS_OF_TIME}


@contextmanager
def _folder(run: Path) -> Iterator[Path]:
    """Yield a new folder in the run folder; afterwards remove it, and all folders that were missing."""
    run = run.absolute()
    missing_folders = [path for path in (run, *run.parents) if not path.exists()]
    try:
        run.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="probe-", dir=run))
    except OSError as error:
        raise UserError(
            f"run={run} cannot be written: {error.strerror}. Choose another folder with run="
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for path in missing_folders:
            # Another process may have written into the folder.
            with suppress(OSError):
                path.rmdir()


def _submit(jobs: tuple[Job, ...], launcher: Launcher, folder: Path, arguments: Sequence[str]) -> _Probe:
    name = f"probe-{jobs[0].name}"
    probe_folder = folder / name
    probe_folder.mkdir()
    write_whole(token_path(probe_folder), secrets.token_hex())
    setup = probe_folder / "setup.sh"
    write_whole(setup, sbatch.setup_text(launcher.setup))
    ranks = launcher.ranks[jobs[0].kind]
    options: dict[str, str | int | bool] = {
        "parsable": True,
        "export": "ALL",
        "job-name": name,
        "ntasks": ranks,
        "output": f"{probe_folder}/{name}.out".replace("%", "%%"),
        "no-requeue": True,
        "time": "00:01:00",
    }
    options |= _request(jobs[0], launcher)
    script = str(files("slurm") / "probe.sbatch")
    line = ["sbatch", *sbatch.option_arguments(options), script, jobs[0].stage, str(probe_folder), *arguments]
    return _Probe(name, jobs, ranks, sbatch.submit(line, setup), probe_folder)


def _wait(probes: Sequence[_Probe], longest_wait: float) -> dict[str, Properties]:
    """Wait for the end of all probes, print each change, and return Slurm's properties by number.

    Raises:
        UserError: a probe does not end in time.
    """
    deadline = time.monotonic() + longest_wait
    shown_texts: dict[str, str] = {}
    ended: dict[str, Properties] = {}
    while True:
        for probe in probes:
            if probe.number in ended:
                continue
            properties = queries.current_properties(probe.number).get(probe.number, {})
            text = _state_text(properties)
            if shown_texts.get(probe.number) != text:
                print(f"{probe.name}: {text}", flush=True)
            shown_texts[probe.number] = text
            if properties.get("JobState") not in _LIVE_STATES:
                ended[probe.number] = properties
        if len(ended) == len(probes):
            return ended
        if time.monotonic() > deadline:
            late = [
                f"{probe.name} ({shown_texts[probe.number]})" for probe in probes if probe.number not in ended
            ]
            raise UserError(
                f"after {longest_wait:.0f} s these probes have not ended: {', '.join(late)}. They are "
                "cancelled. Type the command again when the partition is less busy, or choose another "
                "partition with ++launcher.sbatch.all.partition="
            )
        time.sleep(_PAUSE)


def _state_text(properties: Mapping[str, str]) -> str:
    state = properties.get("JobState", "unknown").lower()
    reason = properties.get("Reason", "None")
    if state == "pending" and reason != "None":
        return f"pending ({reason})"
    return f"{state} on {properties['NodeList']}" if state == "running" else state


def _cancel(probes: Sequence[_Probe]) -> None:
    """Cancel the probes, and wait until they no longer write into the run folder."""
    numbers = [probe.number for probe in probes]
    messages = queries.cancel(numbers)
    print(messages or f"cancelled: {', '.join(numbers) or 'no job'}", flush=True)
    deadline = time.monotonic() + _CANCEL_SECONDS
    while time.monotonic() < deadline:
        states = [queries.current_properties(number).get(number, {}).get("JobState") for number in numbers]
        if not set(states) & set(_LIVE_STATES):
            return
        time.sleep(_PAUSE)


def _result(probe: _Probe, properties: Properties) -> ProbeResult:
    log_path = probe.folder / f"{probe.name}.out"
    log = log_path.read_text(errors="replace") if log_path.is_file() else ""
    remedy = "Type the command again"
    reports = [read_json(path, RankReport, remedy) for path in sorted(probe.folder.glob(REPORT_PATTERN))]
    printed: dict[tuple[str, int], RankReport] = {}
    for line in log.splitlines():
        _, is_report, text = line.partition(PRINTED_REPORT)
        if is_report:
            report = parse_json(text, RankReport, str(log_path), remedy)
            printed[report.node, report.process] = report
    return ProbeResult(probe.jobs, probe.ranks, properties, [*reports, *printed.values()], log)


def _print_findings(result: ProbeResult, launcher: Launcher, device: str) -> int:
    """Print the findings of one probe, and return the number of problems."""
    names = ", ".join(job.name for job in result.jobs)
    rank_text = "1 rank" if result.ranks == 1 else f"{result.ranks} ranks"
    print(f"\n{names} ({rank_text}):")
    num_problems = 0
    for finding in findings(result, launcher, device):
        print(f"  {'WRONG: ' if finding.is_wrong else ''}{finding.text}")
        num_problems += finding.is_wrong
    return num_problems
