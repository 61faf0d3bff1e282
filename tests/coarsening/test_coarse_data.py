"""Data sets on a coarser grid: compared with fine data sets, on several ranks, and after a kill."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.checks import integrity
from pipeline.data.dataset import Dataset
from pipeline.data.manifest import Manifest, read_document
from simsurrogate.errors import UserError
from tests.faults.driving import forge, read_generated, run_drift, run_drift_in_process
from tests.generation.test_generate import assert_equal_to_round_off
from tests.support.launching import require_success
from tests.support.shards import arrays_of

CLOSED = (
    "solver=heat",
    "solver.resolution=[24,16]",
    "solver.diffusivity={kind: inclusions, inclusion_radius: [0.15, 0.2], contrast: [100.0, 1000.0]}",
    "solver.initial.modes=3",
    "solver.tolerance=1e-3",
    "storage={precision: float64, max_error: 10.0}",
    "output.duration=0.01",
)
INCLUSIONS = (
    *CLOSED,
    "solver.boundary.x=dirichlet",
    "solver.boundary_values.x=[0.5,1.0]",
    "solver.heaters={count: 1, width: [0.2, 0.3], start: [0.0, 0.0]}",
)
FLOW = (
    "solver=navier_stokes",
    "solver.resolution=16",
    "solver.viscosity=[1e-2,2e-2]",
    "solver.initial={kind: random_field, amplitude: [1.0, 1.0], modes: 4, correlation_length: 0.3}",
    "storage={precision: float64, max_error: 10.0}",
    "output.duration=1.0",
)
FEW = ("samples.train=2", "samples.valid=1", "samples.test=1", "samples.test_extrapolation=0")


def generated(folder: Path, *overrides: str) -> dict[str, np.ndarray]:
    """Return the arrays of the first training shard of a validated data set of this process."""
    for stage in ("generate", "validate"):
        run_drift_in_process(stage, folder, *FEW, *overrides)
    return arrays_of(folder / "dataset/data/train/train-00000.hdf5")


def blocks_of(values: np.ndarray) -> np.ndarray:
    """Return the cells of each block of 4 x 2 cells, (..., blocks along x, blocks along y, 4, 2)."""
    *leading, num_x, num_y = values.shape
    return values.reshape(*leading, num_x // 4, 4, num_y // 2, 2).swapaxes(-2, -3)


def test_heat_has_the_averages_of_a_fine_data_set(tmp_path: Path) -> None:
    fine = generated(tmp_path / "fine", *INCLUSIONS)
    coarse = generated(tmp_path / "coarse", *INCLUSIONS, "output.coarsen=[4,2]")
    np.testing.assert_allclose(
        coarse["t0_fields/temperature"], blocks_of(fine["t0_fields/temperature"]).mean((-1, -2)), rtol=1e-14
    )
    np.testing.assert_allclose(
        coarse["t0_fields/heater_1"], blocks_of(fine["t0_fields/heater_1"]).mean((-1, -2)), rtol=1e-14
    )
    k = blocks_of(fine["t0_fields/diffusivity"])
    means = {
        "arithmetic": k.mean((-1, -2)),
        "harmonic": 1 / (1 / k).mean((-1, -2)),
        "series_x": (1 / (1 / k).mean(-2)).mean(-1),
        "series_y": (1 / (1 / k).mean(-1)).mean(-1),
    }
    for name, mean in means.items():
        np.testing.assert_allclose(
            coarse[f"t0_fields/log_diffusivity_{name}"], np.log(mean), rtol=1e-13, atol=1e-13
        )
    assert "t0_fields/diffusivity" not in coarse
    equal_names = [name for name in fine if name.startswith(("scalars/", "parameters/", "sample"))]
    assert "scalars/total_heat" in equal_names
    for name in equal_names:
        np.testing.assert_array_equal(coarse[name], fine[name], err_msg=name)


def test_the_mean_of_a_closed_box_is_conserved_to_round_off(tmp_path: Path) -> None:
    coarse = generated(tmp_path, *CLOSED, "output.coarsen=8")
    means = coarse["t0_fields/temperature"].mean((-1, -2))
    size = np.abs(coarse["t0_fields/temperature"]).max()
    assert coarse["t0_fields/temperature"].shape[2:] == (3, 2)
    np.testing.assert_allclose(means, coarse["scalars/total_heat"], rtol=0, atol=1e-14 * size)
    np.testing.assert_allclose(means - means[:, :1], 0, atol=1e-13 * size)
    dataset = Dataset.open(tmp_path / "dataset")
    assert dataset.spec.conserved_channels == ("temperature",)
    assert dataset.spec.coarsening is not None
    assert dataset.spec.coarsening.method == "cell_averages"
    assert dataset.spec.frame_invariants == ()


def test_a_spectral_solver_is_truncated_and_averaged_on_request(tmp_path: Path) -> None:
    fine = generated(tmp_path / "fine", *FLOW)
    truncated = generated(tmp_path / "truncated", *FLOW, "output.coarsen=[2,2]")
    averaged = generated(
        tmp_path / "averaged", *FLOW, "output={coarsen: [2, 2], coarsen_method: cell_averages}"
    )
    vorticity = fine["t0_fields/vorticity"]
    kept = np.r_[0:4, -3:0]
    spectrum = np.zeros((*vorticity.shape[:2], 8, 8), complex)
    shift = np.exp(1j * np.pi * kept * (1 / 8 - 1 / 16))
    factor = np.multiply.outer(shift, shift) / 4
    spectrum[..., kept[:, None], kept] = np.fft.fft2(vorticity)[..., kept[:, None], kept] * factor
    expected = np.fft.ifft2(spectrum).real
    np.testing.assert_allclose(truncated["t0_fields/vorticity"], expected, rtol=0, atol=1e-13)
    velocity = np.moveaxis(fine["t1_fields/velocity"], -1, 0)
    means = velocity.reshape(*velocity.shape[:-2], 8, 2, 8, 2).mean((-1, -3))
    np.testing.assert_allclose(np.moveaxis(averaged["t1_fields/velocity"], -1, 0), means, atol=1e-15)
    for data in (truncated, averaged):
        np.testing.assert_allclose(
            data["t1_fields/velocity"].mean((2, 3)), fine["t1_fields/velocity"].mean((2, 3)), atol=1e-15
        )
    divergence_free = [
        Dataset.open(tmp_path / name / "dataset").spec.divergence_free_channels
        for name in ("truncated", "averaged")
    ]
    assert divergence_free == [(("velocity_x", "velocity_y"),), ()]
    assert [*map(len, divergence_free)] == [1, 0]


def test_one_and_three_ranks_write_the_same_bytes_also_after_a_kill(tmp_path: Path) -> None:
    overrides = (*CLOSED, "output.coarsen=8", "samples.test_extrapolation=0")
    run_drift_in_process("generate", tmp_path / "1", *overrides)
    require_success(run_drift("generate", tmp_path / "3", *overrides, ranks=3))
    assert run_drift("generate", tmp_path / "killed", *overrides, fault="kill:0:47").returncode == -9
    manifest = json.loads((tmp_path / "killed/dataset/manifest.json").read_text())
    assert manifest["complete"] is False
    rerun = require_success(run_drift("generate", tmp_path / "killed", *overrides))
    assert "(4 of 4 shards" not in rerun.stdout, "shards from before the kill are kept"
    expected = read_generated(tmp_path / "1")
    assert expected == read_generated(tmp_path / "3") == read_generated(tmp_path / "killed")


@pytest.mark.parametrize(
    ("overrides", "runs"),
    [
        ((*CLOSED, "output.coarsen=4"), ("first",)),
        (("solver.resolution=[12,8]", "output.coarsen=2"), ("first", "second")),
    ],
    ids=["cell averages", "spectral truncation"],
)
def test_a_group_of_two_agrees_with_one_rank_to_round_off(
    overrides: tuple[str, ...], runs: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = (*FEW, "storage.precision=float64", *overrides)
    run_drift_in_process("generate", tmp_path / "1", *arguments)
    for name in runs:
        require_success(run_drift("generate", tmp_path / name, *arguments, "group_size=2", ranks=2))
    assert_equal_to_round_off(tmp_path / "1", tmp_path / "first")
    assert read_generated(tmp_path / runs[0]) == read_generated(tmp_path / runs[-1])


def test_validate_compares_the_manifest_the_shards_and_the_start(tmp_path: Path) -> None:
    generated(tmp_path, "solver.resolution=[12]", "output.coarsen=3")
    card = (tmp_path / "dataset/README.md").read_text()
    assert "The solver's grid has 12 cells. A stored cell holds 3 of these cells" in card
    manifest = read_document(tmp_path / "dataset/manifest.json", Manifest)
    assert manifest.spec.shape == (4,)
    assert manifest.configuration["output"]["coarsen"] == 3
    configuration = manifest.configuration | {"output": manifest.configuration["output"] | {"coarsen": 6}}
    checks = dict(
        integrity.check_data_set(
            tmp_path / "dataset", manifest.model_copy(update={"configuration": configuration})
        )
    )
    assert checks["coarsening"] == (
        "the spec has cells of [3] of the solver's cells, [6] by output.coarsen=6"
    )

    def shift_the_invariant(path: Path) -> None:
        import h5py

        with h5py.File(path, "r+") as file:
            file["scalars/mass"][0, 0] += 0.1

    forge(tmp_path, shift_the_invariant, "data/test/test-00000.hdf5")
    with pytest.raises(UserError, match=r"redrawn: .*mass at 0 s is"):
        run_drift_in_process("validate", tmp_path, *FEW, "solver.resolution=[12]", "output.coarsen=3")
