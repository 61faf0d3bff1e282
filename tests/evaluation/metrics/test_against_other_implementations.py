"""Each metric, compared with an implementation of other authors or with a direct sum of its definition."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import scoringrules
import torch
from scipy import fftpack, integrate, stats
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


def test_the_metrics_of_a_vector_use_its_length_at_each_site() -> None:
    """Compare with The Well's errors of single components, and with the fluctuations of all components."""
    vectors = [np.concatenate([states, states[:, :, ::-1] ** 2], axis=1) for states in (PREDICTION, TRUTH)]
    arrays = [torch.from_numpy(np.moveaxis(states, 1, -1)) for states in vectors]
    mse = spatial.MSE.eval(*arrays, THE_WELL).numpy()
    np.testing.assert_allclose(pointwise.rmse(*vectors), np.sqrt(mse.sum(axis=1)), rtol=1e-6)
    lengths = np.linalg.norm(vectors[0] - vectors[1], axis=1)
    np.testing.assert_allclose(pointwise.max_error(*vectors), lengths.max(axis=(1, 2)), rtol=1e-12)
    p, u = (states - states.mean(axis=(2, 3), keepdims=True) for states in vectors)
    expected = [
        stats.pearsonr(*pair).statistic for pair in zip(p.reshape(2, -1), u.reshape(2, -1), strict=True)
    ]
    np.testing.assert_allclose(pointwise.correlation(*vectors), expected, rtol=1e-6)
    ratio = [a.var() / b.var() for a, b in zip(p, u, strict=True)]
    np.testing.assert_allclose(pointwise.fluctuation_energy_ratio(*vectors), ratio, rtol=1e-10)


def test_the_energy_of_the_shells_equals_that_of_the_well() -> None:
    spectrum = Spectrum(PERIODIC)
    shells = spectrum.shells(spectrum.power(TRUTH))[:, 0]
    edges = (torch.arange(len(spectrum.wave_numbers) + 2) - 0.5).clamp(min=0) * 2 * np.pi / CELLS[0]
    # The last edge of the package has no shell: everything beyond it is in the bin that the package drops.
    array = torch.from_numpy(np.moveaxis(TRUTH, 1, -1))
    _, mean, _, counts = spectral.power_spectrum(array, THE_WELL, bins=edges, return_counts=True)
    energy = mean[..., 0].numpy() * counts[:-1].numpy() / np.prod(CELLS) ** 2
    np.testing.assert_allclose(shells, energy[:, 1:], rtol=1e-6)


@pytest.mark.parametrize(
    ("boundaries", "extents"),
    [
        (("neumann", "open"), (1.0, 1.0)),
        (("periodic", "dirichlet"), (0.3, 0.1)),
        (("open", "open"), (0.3, 0.1)),
    ],
)
def test_the_energy_of_the_shells_equals_sums_over_waves_and_cosines(boundaries, extents) -> None:
    """Project on each pair of basis functions, and choose the shell by 2 |k| L / 2π in whole numbers."""
    cells = (9, 10)
    values = RNG.normal(size=cells)
    spectrum = Spectrum(spec_of(cells, *boundaries, extents=extents))
    bases, numbers = [], []
    for boundary, count, extent in zip(boundaries, cells, extents, strict=True):
        points, factor = (np.arange(count) + 0.5) / count, round(extents[0] / extent)
        if boundary == "periodic":
            waves = [wave - count if 2 * wave > count else wave for wave in range(count)]
            bases.append([np.exp(2j * np.pi * wave * points) for wave in waves])
            numbers.append([2 * factor * wave for wave in waves])
        else:
            scales = [1.0] + [np.sqrt(2)] * (count - 1)
            bases.append([scale * np.cos(np.pi * m * points) for m, scale in enumerate(scales)])
            numbers.append([factor * m for m in range(count)])
    energy, bands = np.zeros(len(spectrum.wave_numbers) + 1), np.zeros(3)
    for row, column in product(*(range(count) for count in cells)):
        power = abs((values * np.outer(bases[0][row], bases[1][column])).mean()) ** 2
        size = numbers[0][row] ** 2 + numbers[1][column] ** 2
        bands[(size >= 8**2) + (size >= 24**2)] += power
        for shell in range(1, len(energy)):
            energy[shell] += power * ((2 * shell - 1) ** 2 <= size < (2 * shell + 1) ** 2)
    power = spectrum.power(values)
    np.testing.assert_allclose(spectrum.shells(power), energy[1:], rtol=1e-9)
    np.testing.assert_allclose(spectrum.bands(power), bands, rtol=1e-9)
    largest = min(max(of_axis) for of_axis in numbers) / 2
    np.testing.assert_allclose(
        spectrum.wave_numbers, 2 * np.pi / 1.0 / extents[0] * np.arange(1, largest + 0.1)
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


#: The wave numbers of one wave along x and one along y, in a box of 1 m by 0.5 m.
K, L = 2 * np.pi, 4 * np.pi
#: Flows u(x, y), v(x, y), with the mean squares of ∇·v and of |∇v|. Waves along periodic axes and straight
#: lines between walls have exact derivatives on the grid.
FLOWS = {
    # The stream function sin Kx cos Ly, and 3 sin Kx.
    ("periodic", "periodic"): (
        lambda x, y: (
            -L * np.sin(K * x) * np.sin(L * y) + 3 * np.sin(K * x),
            -K * np.cos(K * x) * np.cos(L * y),
        ),
        (3 * K) ** 2 / 2,
        (2 * K**2 * L**2 + K**4 + L**4) / 4 + (3 * K) ** 2 / 2,
    ),
    ("neumann", "periodic"): (
        lambda x, y: (2 * x + 5 * np.sin(L * y), 3 * np.sin(L * y)),
        2**2 + (3 * L) ** 2 / 2,
        2**2 + (5 * L) ** 2 / 2 + (3 * L) ** 2 / 2,
    ),
    ("neumann", "open"): (lambda x, y: (2 * x + 5 * y, 4 * x - 3 * y), 1, 2**2 + 5**2 + 4**2 + 3**2),
}


@pytest.mark.parametrize("boundaries", FLOWS)
def test_the_divergence_equals_its_exact_value_on_the_grid(boundaries: tuple[str, str]) -> None:
    spec = spec_of((20, 16), *boundaries, extents=(1.0, 0.5))
    flow, squared_divergence, squared_gradient = FLOWS[boundaries]
    field = np.stack(flow(*np.meshgrid(*(axis.centres for axis in spec.axes), indexing="ij")))
    expected = np.sqrt(squared_divergence / squared_gradient)
    np.testing.assert_allclose(relative_divergence(np.stack([field, -7 * field]), spec), expected, rtol=1e-9)
    assert relative_divergence(np.ones((1, 2, 20, 16)), spec) == 0


def test_a_strain_between_walls_has_no_divergence() -> None:
    spec = spec_of((5, 6, 7), "open", "neumann", "dirichlet")
    x, y, z = np.meshgrid(*(axis.centres for axis in spec.axes), indexing="ij")
    assert relative_divergence(np.stack([x, y, -2 * z])[None], spec) < 1e-12


def test_the_divergence_of_noise_equals_that_of_scipys_derivatives() -> None:
    """Compare with the spectral derivative of scipy and differences by hand; the size along y is even."""
    spec = spec_of((7, 10), "open", "periodic", extents=(1.0, 0.5))
    noise = RNG.normal(size=(2, 7, 10))
    gradients = []
    for values in noise:
        along_x = np.empty_like(values)
        along_x[1:-1] = (values[2:] - values[:-2]) / (2 / 7)
        along_x[[0, -1]] = (values[1] - values[0]) * 7, (values[-1] - values[-2]) * 7
        gradients.append([along_x, [fftpack.diff(row, period=0.5) for row in values]])
    divergence = np.add(gradients[0][0], gradients[1][1])
    expected = np.linalg.norm(divergence) / np.linalg.norm(gradients)
    np.testing.assert_allclose(relative_divergence(noise[None], spec), expected, rtol=1e-9)


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
