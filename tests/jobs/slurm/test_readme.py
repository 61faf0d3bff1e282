"""Commands of the README for a cluster, run as printed on the test cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.jobs.slurm.chains import final_states, logs
from tests.jobs.slurm.cluster import Cluster
from tests.support.launching import require_success

ROOT = Path(__file__).parents[3]
COMMANDS = [
    line
    for block in re.findall(r"```shell\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for line in block.strip().splitlines()
]


@pytest.mark.usefixtures("forked_stages")
def test_the_commands_run_in_order(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "slurm").symlink_to(ROOT / "slurm")
    outputs = []
    for command in COMMANDS:
        outputs.append(
            require_success(cluster.run(["bash", "-euc", command], timeout=120, cwd=tmp_path)).stdout
        )
    for chain_file in tmp_path.glob("runs/*/jobs/chain.json"):
        run = chain_file.parents[1]
        assert set(final_states(cluster, run).values()) == {"COMPLETED"}, logs(run)
    (status_text,) = [
        text for command, text in zip(COMMANDS, outputs, strict=True) if "chain status" in command
    ]
    assert "evaluate" in status_text
    assert "failed" not in status_text
    assert (tmp_path / "runs/cluster/models/fno/evaluation/report.html").is_file()
    assert json.loads((tmp_path / "runs/by-hand/dataset/manifest.json").read_text())["complete"]
