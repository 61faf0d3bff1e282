"""Changed sources of a solver or surrogate: data, models and evaluations know the sources that made them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from mpi4py import MPI

import simsurrogate
from pipeline import evaluate, generate, train, validate
from pipeline.coarsening.solver import CoarseSolver
from pipeline.config.build import build_solver, dataset_configuration
from pipeline.data.card import figures
from pipeline.runs.folder import RunFolder
from pipeline.training import fit
from simsurrogate.errors import UserError
from simsurrogate.sources import source_hash
from solvers.contract import solver_class
from surrogates.contract import surrogate_class
from surrogates.store import ChangedSourcesWarning
from tests.support.in_process import settings_of
from tests.support.trainings.training_cases import TINY_TRAINING, no_curves

OUTSIDE = Path(__file__).parent / "outside"
NETWORK = '''"""A network for tests."""

import torch

from surrogates.autoregressive import AutoregressiveSurrogate


class Network(AutoregressiveSurrogate):
    """A perceptron at each cell."""

    def __init__(self, problem):
        super().__init__(problem)
        self.layers = torch.nn.Sequential(torch.nn.Linear(self.inputs.num_fields, 8), torch.nn.Linear(8, 1))

    def increment(self, inputs_BXI, conditions_BQ):
        return torch.tanh(self.layers(inputs_BXI))
'''


class Project:
    """A run whose solver and surrogate are in files that a test changes."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.solver, self.network = folder / "decaying_wave.py", folder / "network.py"
        shutil.copy(OUTSIDE / "decaying_wave.py", self.solver)
        self.network.write_text(NETWORK)

    def run(self, stage: Callable[..., None]) -> None:
        # Each stage is a new process in practice, which imports the files again.
        for name in [name for name in sys.modules if name.startswith("simsurrogate_user_")]:
            del sys.modules[name]
        source_hash.__globals__["_source_hash"].cache_clear()
        overrides = (
            "solver=custom", "++solver.name=decaying_wave", f"++solver.path={self.solver}",
            "surrogate=custom", "++surrogate.name=network", f"++surrogate.path={self.network}",
            "samples={train: 4, valid: 2, test: 1, test_extrapolation: 0, per_shard: 2}",
            "output={steps: 3, duration: 0.3}", *TINY_TRAINING[3:], "training.steps=3",
            "evaluation.figures=0",
            "evaluation.worth=0",
        )  # fmt: skip
        settings = settings_of(self.folder / "run", *overrides)
        with patch.object(fit, "draw_curves", no_curves), patch.object(figures, "draw", return_value=[]):
            stage(settings)

    @property
    def model_folder(self) -> Path:
        return RunFolder.at(self.folder / "run").with_model("network").model_folder


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    result = Project(tmp_path)
    result.run(generate.run)
    result.run(validate.run)
    yield result
    for name in [name for name in sys.modules if name.startswith("simsurrogate_user_")]:
        del sys.modules[name]


def test_a_changed_solver_belongs_to_another_data_set(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project.solver, "-4 * np.pi**2 * self.diffusivity", "-5 * np.pi**2 * self.diffusivity")
    (project.folder / "run/dataset/data/train/train-00001.hdf5").unlink()
    with pytest.raises(UserError, match="solver_sources: "):
        project.run(generate.run)


def test_the_validation_names_a_changed_solver(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    change(project.solver, "-4 * np.pi**2 * self.diffusivity", "-5 * np.pi**2 * self.diffusivity")
    project.run(validate.run)
    assert "no trajectory is computed again, because the sources of the solver" in capsys.readouterr().err


def test_comments_and_docstrings_change_no_data_set(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project.solver, '"""Exact heat conduction', '# A comment.\n"""Heat conduction')
    project.run(generate.run)
    assert "is complete; skipped" in capsys.readouterr().out


def test_the_validation_finds_trajectories_of_another_solver(project: Project) -> None:
    """A manifest that claims other sources than those that computed its shards, as older releases wrote."""
    change(project.solver, "-4 * np.pi**2 * self.diffusivity", "-4.001 * np.pi**2 * self.diffusivity")
    with (
        patch("pipeline.physics_checks.data_solver.has_changed_sources", return_value=False),
        pytest.raises(UserError, match=r"recomputed: .*temperature of trajectory \d+ differs by"),
    ):
        project.run(validate.run)


@pytest.mark.parametrize("is_same_machine", [True, False])
def test_the_validation_finds_unseeded_random_numbers(is_same_machine: bool, tmp_path: Path) -> None:
    project = Project(tmp_path)
    change(project.solver, "rng.uniform(0.5, 1.5))}", "np.random.default_rng().uniform(0.5, 1.5))}")
    project.run(generate.run)
    if not is_same_machine:
        for path in (tmp_path / "run/dataset/receipts").iterdir():
            receipt = json.loads(path.read_text())
            path.write_text(json.dumps(receipt | {"machine": "another processor"}))
    with pytest.raises(
        UserError, match=r"recomputed: .* of trajectory \d+ differs by .* Draw all random numbers"
    ):
        project.run(validate.run)


def test_a_changed_surrogate_belongs_to_another_model_and_evaluation(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run(train.run)
    project.run(evaluate.run)
    first_metrics = (project.model_folder / "evaluation" / "metrics.json").read_bytes()
    change(project.network, "torch.tanh(self", "torch.sin(self")
    with pytest.raises(UserError, match="sources: "):
        project.run(train.run)
    with pytest.warns(ChangedSourcesWarning, match="was trained with other sources of the surrogate network"):
        project.run(evaluate.run)
    assert (project.model_folder / "evaluation" / "metrics.json").read_bytes() != first_metrics
    report = (project.model_folder / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "The sources of the surrogate have changed after the training of the model." in report
    with pytest.warns(ChangedSourcesWarning):
        simsurrogate.load(project.model_folder, surrogate_path=project.network)


def hashes_of_speeds(project: Project, name: str) -> list[str]:
    """Return the hashes of the solver with two contents of the file `name` next to it."""
    hashes = []
    with patch.object(sys, "path", [str(project.folder), *sys.path]):
        for speed in (4, 5):
            (project.folder / name).write_text(f"SPEED = {speed}\n")
            source_hash.__globals__["_source_hash"].cache_clear()
            hashes.append(source_hash(solver_class("decaying_wave", project.solver)))
    return hashes


@pytest.mark.parametrize("name", [".helpers", "..helpers"])
def test_a_relative_import_without_a_package_is_left_out_of_the_hash(name: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    change(
        project.solver,
        "import numpy as np\n",
        f"import numpy as np\ntry:\n    from {name} import SPEED\n"
        "except ImportError:\n    from helpers import SPEED\n",
    )
    first, second = hashes_of_speeds(project, "helpers.py")
    assert first != second


def test_the_hash_covers_the_modules_that_a_class_imports(tmp_path: Path) -> None:
    hashes = {name: source_hash(solver_class(name)) for name in ("heat", "navier_stokes", "nbody")}
    assert len(set(hashes.values())) == 3
    assert source_hash(surrogate_class("fno")) != source_hash(surrogate_class("unet"))
    (tmp_path / "wave_speed.py").write_text("SPEED = 4\n")
    project = Project(tmp_path)
    change(project.solver, "import numpy as np\n", "import numpy as np\nfrom wave_speed import SPEED\n")
    change(project.solver, "-4 * np.pi**2", "-SPEED * np.pi**2")
    first, second = hashes_of_speeds(project, "wave_speed.py")
    assert first != second


@pytest.mark.parametrize(
    ("condition", "num_hashes"),
    [("typing.TYPE_CHECKING", 1), ("not typing.TYPE_CHECKING", 2), ("typing.TYPE_CHECKING or True", 2)],
)
def test_imports_for_annotations_do_not_belong_to_the_hash(
    condition: str, num_hashes: int, tmp_path: Path
) -> None:
    project = Project(tmp_path)
    change(
        project.solver,
        "import numpy as np\n",
        f"import typing\nimport numpy as np\nif {condition}:\n    import wave_speed\n",
    )
    assert len(set(hashes_of_speeds(project, "wave_speed.py"))) == num_hashes


def test_a_changed_surrogate_belongs_to_no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    find_file = source_hash.__globals__["_module_file"]

    def found_file(name: str, *others: object) -> Path | None:
        file: Path | None = find_file(name, *others)
        if file is not None:
            names.add(name)
        return file

    monkeypatch.setitem(source_hash.__globals__, "_module_file", found_file)
    for name in ("heat", "navier_stokes", "nbody"):
        source_hash.__globals__["_source_hash"].cache_clear()
        source_hash(solver_class(name))
    assert "solvers.contract" in names
    assert not [name for name in names if name.startswith("surrogates")]


def test_the_code_that_averages_coarse_data_belongs_to_their_identity(tmp_path: Path) -> None:
    fine, coarse = (
        settings_of(tmp_path, "solver=heat", "solver.resolution=16", f"output.coarsen={count}")
        for count in (1, 2)
    )
    solver = build_solver(fine.solver, MPI.COMM_SELF)
    sources = dataset_configuration(fine, solver)["solver_sources"]
    assert sources == source_hash(type(solver))
    assert dataset_configuration(coarse, solver)["solver_sources"] not in (
        sources,
        source_hash(CoarseSolver),
    )
