"""The data card and its figures, in one, two and three dimensions."""

import resource
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from pipeline.data.card import figures
from pipeline.data.manifest import read_complete_manifest
from pipeline.plots import particles, spectra
from tests.faults.driving import run_drift, run_drift_in_process
from tests.support.launching import require_success


def test_an_unsaved_figure_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_drift_in_process("generate", tmp_path)
    folder = tmp_path / "dataset"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    original_save = figures.save_figure

    def save_with_limit(figure: Figure, path: Path) -> Path:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            return original_save(figure, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(figures, "save_figure", save_with_limit)
    with pytest.raises(OSError, match="too large"):
        figures.draw(folder, read_complete_manifest(folder))
    assert not list((folder / "figures").iterdir())


@pytest.mark.parametrize("resolution", ["[12]", "[12,8]", "[8,6,4]"])
def test_the_card_describes_and_shows_the_data(resolution: str, tmp_path: Path) -> None:
    failure_limit = "storage.max_failed_share=0.2"
    require_success(
        run_drift("generate", tmp_path, f"solver.resolution={resolution}", failure_limit, fault="nan:1")
    )
    folder = tmp_path / "dataset"
    card = (folder / "README.md").read_text()
    for phrase in (
        "n_t + v·∇n = 0",
        "kg/m^3",
        "amplitude",
        "core-seconds",
        "run=SOME_RUN",
        "test_extrapolation",
        "the_well",
    ):
        assert phrase in card
    assert "python -m pipeline.validate run=SOME_RUN dataset=DIR" in card
    assert "trajectory 1: the state is not finite in float32 at time 0.1" in card
    assert "| train | 3 | 2 |" in card
    paths = sorted((folder / "figures").glob("*.png"))
    assert [path.stem for path in paths] == ["invariants", "spectra", "train-0", "train-1", "train-2"]
    for path in paths:
        assert f"figures/{path.name}" in card
        assert image.imread(path).std() > 0.05


def test_a_spectrum_is_the_mean_square_of_each_wave_number() -> None:
    x, y = np.meshgrid(np.arange(48) / 48 * 3.0, np.arange(32) / 32, indexing="ij")
    field = 5.0 + 2.0 * np.cos(2 * np.pi * 2 * x / 3.0) + 0.5 * np.sin(2 * np.pi * 4 * y)
    wave_numbers, power = spectra.spectrum(field, [3.0, 1.0])
    assert wave_numbers[0] == pytest.approx(2 * np.pi / 3.0)
    expected = np.zeros(len(power))
    expected[2 - 1], expected[12 - 1] = 2.0, 0.125
    np.testing.assert_allclose(power, expected, atol=1e-12)


@pytest.mark.parametrize("num_particles", [3, 40])
def test_particles_are_drawn_as_paths_or_as_dots(num_particles: int, tmp_path: Path) -> None:
    angle = np.linspace(0, 6, 30)[:, None] + np.arange(num_particles)
    figure = particles.draw(angle[:, 0], np.cos(angle), np.sin(angle), "m", 4)
    figure.savefig(tmp_path / "particles.png")
    assert image.imread(tmp_path / "particles.png").std() > 0.05
    assert len(figure.axes) == (1 if num_particles == 3 else 4)
