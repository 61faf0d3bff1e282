"""Job scripts of other schedulers, the recipe of a container image, and the table of messages."""

from __future__ import annotations

import ast
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.support import launching

ROOT = Path(__file__).parents[1]
SCHEDULERS = ROOT / "examples" / "schedulers"
DEFINITION = ROOT / "examples" / "containers" / "simsurrogate.def"
MESSAGES = ROOT / "docs" / "cluster-messages.md"
#: A generation of ten shards, one after the other, with half a second each.
SLOW_GENERATION = (
    f"solver.path={ROOT}/tests/config/outside/decaying_wave.py solver.resolution=24 solver.pause=0.5 "
    "'samples={train: 8, valid: 1, test: 1, test_extrapolation: 0, per_shard: 1}' output.steps=6 run=run"
)


def test_a_job_of_pbs_saves_its_work_at_its_time_limit_and_submits_the_next_job(tmp_path: Path) -> None:
    # Outside of PBS the lines #PBS are comments. The command qsub of this test runs the next job at once.
    text = (SCHEDULERS / "heat.pbs").read_text()
    for old, new in (
        ("experiment=heat_fno run=/scratch/me/heat", SLOW_GENERATION),
        ("launcher.ranks.generate=32", "launcher.ranks.generate=2"),
        ("seconds=3480", "seconds=$((SUBMISSION > 1 ? 3480 : 1))"),
        ("sleep 5", "sleep 0.5"),
        ("stage validate\nstage train\nstage evaluate\n", ""),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "heat.pbs").write_text(text)
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "activate").write_text(f"PATH={Path(sys.executable).parent}:$PATH\n")
    qsub = tmp_path / "bin" / "qsub"
    qsub.parent.mkdir()
    qsub.write_text('#!/bin/sh\n[ "$1" = -v ] && export "$2" && exec bash "$3"\n')
    qsub.chmod(0o755)
    result = launching.run(
        ["bash", "heat.pbs"],
        cwd=tmp_path,
        PATH=f"{qsub.parent}:{os.environ['PATH']}",
        PBS_O_WORKDIR=str(tmp_path),
        PYTHONPATH=str(ROOT),
    )
    assert result.returncode == 75, result.stdout + result.stderr
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "run" / "records").iterdir())]
    assert [record["outcome"] for record in records] == ["interrupted", "complete"], result.stdout
    assert records[0]["ranks"] == 2
    assert records[0]["progress"]["done"] == records[1]["progress"]["start"]


def test_the_job_scripts_have_the_same_stages() -> None:
    for name, directive in (("heat.pbs", "#PBS "), ("heat.lsf", "#BSUB "), ("heat.flux", "# flux: ")):
        path = SCHEDULERS / name
        subprocess.run(["bash", "-n", path], check=True)
        lines = path.read_text().splitlines()
        assert lines[0] == "#!/bin/bash"
        assert lines[1].startswith(directive)
        assert lines[-4:] == [f"stage {stage}" for stage in ("generate", "validate", "train", "evaluate")]


def test_the_launch_line_of_flux_is_read_as_written() -> None:
    (text,) = re.findall(r'^ +"(launcher\.mpirun=.*)"$', (SCHEDULERS / "heat.flux").read_text(), re.MULTILINE)
    override = OverridesParser.create().parse_override(text.replace("${limit}", "60"))
    assert override.value() == ["flux", "run", "--time-limit=60s", "--signal=SIGUSR1@120s"]


def test_the_files_of_the_image_are_enough_to_install_all_packages(tmp_path: Path) -> None:
    text = DEFINITION.read_text()
    sources = re.findall(r"^    (\S+) /opt/simsurrogate/\1$", text, re.MULTILINE)
    for source in sources:
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, tmp_path / source)
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "wheel"), str(tmp_path)]
    launching.require_success(launching.run([sys.executable, *build]))
    assert len(list((tmp_path / "wheel").glob("simsurrogate-*.whl"))) == 1
    assert "--constraint constraints.txt" in text
    assert (tmp_path / "constraints.txt").is_file()
    packages = re.search(r"packages = (\[.*\])", (ROOT / "pyproject.toml").read_text())
    assert packages is not None
    assert set(ast.literal_eval(packages[1])) <= set(sources)


def test_the_image_builds(tmp_path: Path) -> None:
    apptainer = shutil.which("apptainer")
    if apptainer is None:
        pytest.skip("apptainer not found. Install the package apptainer to build the image")
    image = tmp_path / "simsurrogate.sif"
    build = [apptainer, "build", str(image), str(DEFINITION)]
    launching.require_success(launching.run(build, timeout=550, cwd=ROOT))
    version = [apptainer, "exec", str(image), "simsurrogate", "--version"]
    assert launching.run(version).stdout.startswith("simsurrogate ")


def texts_of_sources() -> str:
    """Return all texts of the pipeline, with {} in place of values, and the lines of the batch scripts."""
    texts = []
    for folder in ("pipeline", "simsurrogate", "surrogates", "solvers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                    texts.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    texts += [path.read_text() for path in (ROOT / "slurm").glob("*.sbatch")]
    return "\n".join(texts)


def test_every_message_of_the_table_stands_in_the_sources() -> None:
    # The first column has messages in code; an ellipsis or a word in capitals stands for any text.
    sources = texts_of_sources()
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", MESSAGES.read_text(), re.MULTILINE)[2:]
    assert len(rows) >= 30
    for source, quoted, _ in rows:
        for message in re.findall(r"`([^`]+)`", quoted):
            for fragment in re.split(r"\.\.\.|\b[A-Z]{4,}\b|\b\d[\d:.]*\b", html.unescape(message)):
                words = fragment.strip(" :,()[]'\"")
                if source == "pipeline" and len(words) > 3:
                    assert words in sources, f"{message}: {words!r} is in no source"


def test_the_way_from_the_login_to_the_report_takes_few_characters() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    commands = re.search(r"## From the login to the report\n\n```text\n(.*?)```", page, re.DOTALL)
    assert commands is not None
    assert len(commands[1].strip()) <= 150


def test_the_yaml_files_of_the_page_for_administrators_are_launchers(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "cluster-admin.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 2
    (tmp_path / "launcher").mkdir()
    for block in blocks:
        (tmp_path / "launcher" / "site.yaml").write_text(block)
        # The batch has to be a multiple of the ranks of train.
        experiment = ("experiment=smoke", "training.batch_size=8")
        overrides = ("launcher=site", *experiment, f"run={tmp_path}/run", "dry_run=true")
        result = launching.run_stage("chain", "--config-dir", str(tmp_path), *overrides)
        setup = re.search(r"module load [\w/.]+", block)
        assert setup is not None
        assert setup[0] in launching.require_success(result).stdout


@pytest.mark.parametrize("name", ["cluster", "cluster-admin", "cluster-messages", "workflows"])
def test_the_pages_link_to_files_and_headings_that_exist(name: str) -> None:
    page = ROOT / "docs" / f"{name}.md"
    for path, heading in re.findall(r"\]\(([\w./-]*)#?([\w-]*)\)", page.read_text()):
        target = (page.parent / path) if path else page
        assert target.exists(), path
        if heading:
            titles = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in anchors, f"{path}#{heading}"
