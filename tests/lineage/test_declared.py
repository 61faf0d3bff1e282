"""The declared origin of adopted files: on the command line, in the description, later, and not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import adopt, train, validate
from pipeline.data.manifest import Manifest, read_complete_manifest
from simsurrogate.errors import UserError
from tests.support.in_process import settings_of

DESCRIPTION = """\
fields: {u: {unit: K}}
axes: {x: {unit: m, extent: 1.0, boundary: periodic}}
times: {unit: s, step: 0.1}
splits: {train: 12, valid: 4, test: 4}
"""
TRAINING = (
    *("surrogate.modes=2", "surrogate.width=4"),
    *("training.steps=2", "training.warmup_steps=1", "training.batch_size=4"),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file of random walks, next to its description."""
    path = tmp_path / "waves.npy"
    np.save(path, np.random.default_rng(0).normal(size=(20, 6, 16)).cumsum(axis=1).astype(np.float32))
    (tmp_path / "adopt.yaml").write_text(DESCRIPTION)
    return path


def adopted(source: Path, *overrides: str) -> Manifest:
    run = source.parent / "run"
    arguments = (f"source={source}", f"description={source.parent / 'adopt.yaml'}")
    adopt.run(settings_of(run, *arguments, *overrides))
    return read_complete_manifest(run / "dataset")


def test_unknown_data_are_refused_until_declared_or_accepted(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = source.parent / "run"
    unknown = adopted(source)
    assert unknown.origin.kind == "unknown"
    assert "origin.kind=measurement" in capsys.readouterr().err
    validate.run(settings_of(run))
    with pytest.raises(
        UserError, match=r"the origin of the data is unknown(.|\n)*lineage\.allow_unknown=true"
    ):
        train.run(settings_of(run, *TRAINING))
    train.run(settings_of(run, *TRAINING, "lineage.allow_unknown=true"))
    card = (run / "models" / "fno" / "README.md").read_text()
    assert card.split("---\n")[2].strip().startswith("**This model was trained on data of unknown origin")
    files = {path: path.stat().st_mtime_ns for path in (run / "dataset" / "data").rglob("*.hdf5")}
    keys = ("origin.kind=measurement", "origin.source=rig 2", "origin.uncertainty=0.1 K")
    declared = adopted(source, *keys)
    assert declared.origin.text == "measurement, rig 2, uncertainty 0.1 K"
    assert declared.identity == unknown.identity
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert "rig 2" in (run / "dataset" / "README.md").read_text()
    # The declaration and the validation stay.
    assert adopted(source).origin == declared.origin
    train.run(settings_of(run, *TRAINING, "model=second"))


def test_the_description_declares_the_origin_and_the_command_line_wins(source: Path) -> None:
    path = source.parent / "adopt.yaml"
    path.write_text(DESCRIPTION + "origin: {kind: solver, name: DNS code, version: '2.1'}\n")
    assert adopted(source).origin.text == "solver DNS code 2.1"
    assert "origin" not in adopted(source).configuration["adopted"]["description"]
    other = adopted(source, "origin.kind=surrogate", "origin.name=GAN", "origin.generation=2")
    assert (other.origin.kind, other.origin.generation) == ("surrogate", 2)
