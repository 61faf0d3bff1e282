"""Each metric, compared with an implementation of other authors or with a direct sum of its definition."""

from types import SimpleNamespace

import numpy as np
import pytest
import scoringrules
import torch
from scipy import integrate, stats
from the_well.benchmark.metrics import spatial, spectral

from pipeline.evaluation.metrics import FieldNorm, pointwise, relative_l2, vrmse
from pipeline.evaluation.metrics.divergence import relative_divergence
from pipeline.evaluation.metrics.probability import ensemble_crps, gaussian_crps
from pipeline.evaluation.metrics.spectrum import Spectrum
from simsurrogate.spec import Axis, Field, Grid, Spec

CELLS = (30, 30)
RNG = np.random.default_rng(0)
#: Two trajectories of a scalar field, with structure on all scales.
TRUTH = 3 + np.cumsum(RNG.normal(size=(2, 1, *CELLS)), axis=2)
PREDICTION = TRUTH + 0.1 * np.cumsum(RNG.normal(size=(2, 1, *CELLS)), axis=3)
THE_WELL = SimpleNamespace(n_spatial_dims=2)


def spec_of(cells: tuple[int, ...], *boundaries: str, extents: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Spec:
    axes = tuple(
        Axis(name, "m", size, 0.0, extent, boundary)
        for name, size, extent, boundary in zip("xyz", cells, extents, boundaries, strict=False)
    )
    return Spec("test", "", Grid(axes), (Field("u", "K", ""),), (), (), (), autonomous=True, parametric=False)


PERIODIC, WALLS = spec_of(CELLS, "periodic", "periodic"), spec_of(CELLS, "dirichlet", "neumann")


def of_the_well(metric: type, **options) -> np.ndarray:
    """Return a metric of The Well of both trajectories, whose arrays have the channels last."""
    arrays = [torch.from_numpy(np.moveaxis(states, 1, -1)) for states in (PREDICTION, TRUTH)]
    return metric.eval(*arrays, THE_WELL, **options)[:, 0].numpy()


def test_the_errors_equal_those_of_the_well() -> None:
    norms = (FieldNorm((0,), 0.0),)
    for values, expected in (
        (pointwise.rmse(PREDICTION, TRUTH), of_the_well(spatial.RMSE)),
        (pointwise.max_error(PREDICTION, TRUTH), of_the_well(spatial.LInfinity)),
        (relative_l2(PREDICTION[:, None], TRUTH[:, None], norms).ravel(), of_the_well(spatial.NRMSE)),
    ):
        np.testing.assert_allclose(values, expected, rtol=1e-6)
    # The package divides by the variance with Bessel's correction, and its paper by the mean square.
    count = np.prod(CELLS)
    bessel = np.sqrt(count / (count - 1))
    np.testing.assert_allclose(
        vrmse(PREDICTION[:, None], TRUTH[:, None], norms).ravel(),
        of_the_well(spatial.VRMSE) * bessel,
        rtol=1e-6,
    )


def test_the_errors_of_the_bands_equal_those_of_the_well() -> None:
    spectrum = Spectrum(PERIODIC)
    bands = spectrum.bands(spectrum.power(PREDICTION - TRUTH).sum(axis=1))
    fundamental = 2 * np.pi / CELLS[0]
    edges = torch.tensor([0.0, 4 - 1e-9, 12 - 1e-9, 1e3]) * fundamental
    arrays = [torch.from_numpy(np.moveaxis(states, 1, -1)) for states in (PREDICTION, TRUTH)]
    expected = spectral.binned_spectral_mse.eval(*arrays, THE_WELL, bins=edges)
    for band in range(3):
        of_band = expected[f"spectral_error_mse_per_bin_{band}"][:, 0].numpy()
        np.testing.assert_allclose(bands[:, band], of_band, rtol=1e-6)


def test_the_correlation_equals_that_of_scipy() -> None:
    expected = [
        stats.pearsonr(p.ravel(), u.ravel()).statistic for p, u in zip(PREDICTION, TRUTH, strict=True)
    ]
    np.testing.assert_allclose(pointwise.correlation(PREDICTION, TRUTH), expected, rtol=1e-6)


def test_the_errors_at_the_boundary_and_of_the_mean_equal_the_formulas_of_pdebench() -> None:
    """Compare with the sums of arXiv:2210.07182, appendix B, over the four edges of a square."""
    difference = (PREDICTION - TRUTH)[:, 0]
    edges = [difference[:, 0], difference[:, -1], difference[:, :, 0], difference[:, :, -1]]
    expected = np.sqrt(sum((edge**2).sum(axis=1) for edge in edges) / (4 * CELLS[0]))
    np.testing.assert_allclose(pointwise.boundary_rmse(PREDICTION, TRUTH, WALLS), expected, rtol=1e-12)
    sums = [states.sum(axis=(1, 2, 3)) for states in (PREDICTION, TRUTH)]
    np.testing.assert_allclose(
        pointwise.mean_error(PREDICTION, TRUTH), np.abs(sums[0] - sums[1]) / np.prod(CELLS), rtol=1e-9
    )
    half_periodic = spec_of(CELLS, "periodic", "neumann")
    expected = np.sqrt((edges[2] ** 2 + edges[3] ** 2).mean(axis=1) / 2)
    np.testing.assert_allclose(
        pointwise.boundary_rmse(PREDICTION, TRUTH, half_periodic), expected, rtol=1e-12
    )


@pytest.mark.parametrize("boundaries", [("periodic", "periodic"), ("periodic", "neumann"), ("open", "open")])
def test_the_powers_of_a_spectrum_add_up_to_the_mean_square(boundaries: tuple[str, str]) -> None:
    spectrum = Spectrum(spec_of(CELLS, *boundaries, extents=(1.0, 0.5)))
    power = spectrum.power(PREDICTION)
    np.testing.assert_allclose(power.sum(axis=-1), np.square(PREDICTION).mean(axis=(2, 3)), rtol=1e-12)
    np.testing.assert_allclose(spectrum.bands(power).sum(axis=-1), power.sum(axis=-1), rtol=1e-12)


@pytest.mark.parametrize(
    ("boundary", "wave", "modes"), [("periodic", np.sin, 2), ("neumann", np.cos, 1), ("dirichlet", np.cos, 1)]
)
def test_a_wave_lies_in_the_shell_of_its_wave_number(boundary, wave, modes) -> None:
    """Expand a wave of 6 half or whole periods in a box of 2 m next to an axis of 1 m without structure."""
    spec = spec_of((40, 20), boundary, "periodic", extents=(2.0, 1.0))
    spectrum, x = Spectrum(spec), spec.axes[0].centres
    count = 6
    values = np.broadcast_to(wave(np.pi * modes * count * x / 2.0)[:, None], (40, 20))
    shells = spectrum.shells(spectrum.power(values[None]))[0]
    expected_wave_number = np.pi * modes * count / 2.0
    largest = int(shells.argmax())
    assert spectrum.wave_numbers[largest] == pytest.approx(expected_wave_number)
    assert shells[largest] == pytest.approx(0.5)
    assert np.delete(shells, largest).max() < 1e-20


def test_the_fluctuation_energy_is_a_ratio_of_variances() -> None:
    expected = PREDICTION.var(axis=(1, 2, 3)) / TRUTH.var(axis=(1, 2, 3))
    np.testing.assert_allclose(pointwise.fluctuation_energy_ratio(PREDICTION, TRUTH), expected, rtol=1e-10)
    assert np.isnan(pointwise.fluctuation_energy_ratio(TRUTH, np.ones_like(TRUTH))).all()
    assert (pointwise.fluctuation_energy_ratio(np.full_like(TRUTH, 0.1), TRUTH) == 0).all()


@pytest.mark.parametrize("boundaries", [("periodic", "periodic"), ("neumann", "periodic")])
def test_the_divergence_equals_that_of_the_derivatives_of_a_stream_function(boundaries) -> None:
    """Compare a flow (∂ψ/∂y, −∂ψ/∂x) plus s times a flow with the divergence 2π cos 2πx."""
    spec = spec_of((200, 64), *boundaries)
    x, y = np.meshgrid(*(axis.centres for axis in spec.axes), indexing="ij")
    k = 2 * np.pi
    stream = np.stack([k * np.sin(k * x) * np.cos(k * y), -k * np.cos(k * x) * np.sin(k * y)])
    # Divergence-free: its gradient has the mean square k⁴ (four products of a sine and a cosine).
    tolerance = 1e-12 if boundaries[0] == "periodic" else 2e-3
    assert relative_divergence(stream[None], spec) < tolerance
    shear = np.stack([np.sin(k * x), np.zeros_like(x)])
    scale = 3.0
    # ⟨(∇·v)²⟩ = s² k² / 2 and ⟨|∇v|²⟩ = k⁴ + s² k² / 2 + 2 s k ⟨∂x u ∂x shear⟩, whose last mean is 0.
    expected = np.sqrt(scale**2 * k**2 / 2 / (k**4 + scale**2 * k**2 / 2))
    assert relative_divergence((stream + scale * shear)[None], spec) == pytest.approx(expected, rel=2e-2)
    assert relative_divergence(np.ones((1, 2, 200, 64)), spec) == 0


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_crps_of_an_ensemble_equals_that_of_scoringrules(count: int) -> None:
    members, truth = RNG.normal(size=(count, 4, 50)), RNG.normal(size=(4, 50))
    expected = scoringrules.crps_ensemble(truth, members, m_axis=0, estimator="fair", backend="numpy")
    np.testing.assert_allclose(ensemble_crps(members, truth), expected, rtol=1e-6, atol=1e-12)


def test_the_crps_of_normal_distributions_equals_that_of_scoringrules_and_the_integral() -> None:
    mean, deviation, truth = RNG.normal(size=20), RNG.uniform(0.1, 2, size=20), RNG.normal(size=20)
    values = gaussian_crps(mean, deviation, truth)
    expected = scoringrules.crps_normal(truth, mean, deviation, backend="numpy")
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    below, above = (
        integrate.quad(
            lambda x, side=side: (stats.norm.cdf(x, mean[0], deviation[0]) - side) ** 2, *limits, limit=200
        )[0]
        for side, limits in ((0, (-20, truth[0])), (1, (truth[0], 20)))
    )
    assert values[0] == pytest.approx(below + above, rel=1e-6)
    assert gaussian_crps(np.array([1.0]), np.array([0.0]), np.array([3.5])) == 2.5


def test_the_fair_crps_does_not_favour_a_size_of_the_ensemble() -> None:
    members, truth = RNG.normal(size=(40, 4000)), RNG.normal(size=4000)
    large, small = (ensemble_crps(members[:count], truth).mean() for count in (40, 4))
    # The standard error of the difference is about 0.006. The score without the correction differs by 0.13.
    assert abs(large - small) < 0.03
    # The CRPS of a calibrated normal distribution of unit variance is 1/√π.
    assert large == pytest.approx(1 / np.sqrt(np.pi), abs=0.03)
