"""The Fourier neural operator: transforms compared with torch.fft, symmetries, options and compilation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter

from surrogates import store
from surrogates.fno import FNO
from surrogates.networks.spectral_convolution import SpectralConvolution, TruncatedFourier, max_modes
from tests.support import problems

MODES = 4


@pytest.fixture(autouse=True)
def _float64() -> object:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def convolve_by_fft(
    convolution: SpectralConvolution, field: torch.Tensor, sites: tuple[int, ...]
) -> torch.Tensor:
    """Return the convolution of a field (*sites, B, C) by FFT, padded with zeros to `sites`."""
    # rfftn applies the real transform along the last axis of the list.
    axes = tuple(reversed(range(len(sites))))
    modes = torch.fft.rfftn(field, s=sites[::-1], dim=axes)
    weights = torch.complex(convolution.weight[:, :, 0], convolution.weight[:, :, 1])
    signed_modes, nonnegative_modes = torch.arange(1 - MODES, MODES), torch.arange(MODES)
    wave_numbers = torch.cartesian_prod(nonnegative_modes, *[signed_modes] * (len(axes) - 1)).reshape(
        -1, len(axes)
    )
    products = torch.zeros_like(modes)
    for wave_number, weight in zip(wave_numbers.tolist(), weights, strict=True):
        products[tuple(wave_number)] = modes[tuple(wave_number)] @ weight
    return torch.fft.irfftn(products, s=sites[::-1], dim=axes)


def convolve(
    convolution: SpectralConvolution, field: torch.Tensor, fourier: TruncatedFourier
) -> torch.Tensor:
    return convolution(field, fourier, addend=torch.zeros_like(field))  # type: ignore[no-any-return]


@pytest.mark.parametrize("sites", [(16,), (15,), (16, 11), (9, 12, 10)])
def test_a_convolution_on_periodic_axes_equals_the_convolution_by_fft(sites: tuple[int, ...]) -> None:
    fourier = TruncatedFourier(sites, (1.0,) * len(sites), (MODES,) * len(sites))
    convolution = SpectralConvolution(3, fourier)
    field = torch.randn(*sites, 2, 3)
    torch.testing.assert_close(
        convolve(convolution, field, fourier),
        convolve_by_fft(convolution, field, sites),
        rtol=1e-12,
        atol=1e-13,
    )


@pytest.mark.parametrize("sites", [(16,), (16, 12), (8, 12, 16)])
def test_a_convolution_between_walls_equals_the_convolution_by_fft_of_the_padded_field(
    sites: tuple[int, ...],
) -> None:
    fourier = TruncatedFourier(sites, (1.25,) * len(sites), (MODES,) * len(sites))
    convolution = SpectralConvolution(3, fourier)
    field = torch.randn(*sites, 2, 3)
    padded_sites = tuple(size * 5 // 4 for size in sites)
    reference = convolve_by_fft(convolution, field, padded_sites)[tuple(slice(0, size) for size in sites)]
    torch.testing.assert_close(convolve(convolution, field, fourier), reference, rtol=1e-12, atol=1e-13)


def test_a_band_limited_field_equals_its_round_trip() -> None:
    fourier = TruncatedFourier((16, 15), (1.0, 1.0), (6, 5))
    zeros = torch.zeros(16, 15, 2, 3)
    field = fourier.synthesise(fourier.analyse(torch.randn(16, 15, 2, 3)), addend=zeros)
    torch.testing.assert_close(fourier.synthesise(fourier.analyse(field), addend=zeros), field)


def test_gradients_agree_with_finite_differences() -> None:
    fourier = TruncatedFourier((6, 7), (1.0, 1.25), (2, 3))
    convolution = SpectralConvolution(2, fourier)
    field = torch.randn(6, 7, 1, 2, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: convolution(values, fourier, addend=values), (field,))


def test_the_operator_does_not_depend_on_the_grid() -> None:
    # A band-limited input on 27 and on 81 cells has the same change where the cell centres agree.
    coarse_surrogate, fine_surrogate = (
        FNO(problems.grid_problem((size,), ("periodic",)), width=8, modes=4, layers=1) for size in (27, 81)
    )
    # With a linear lifting, the single layer receives the band-limited input without aliasing.
    coarse_surrogate.network.lifting, fine_surrogate.network.lifting = (
        torch.nn.Linear(3, 8),
        torch.nn.Linear(3, 8),
    )  # type: ignore[assignment]
    fine_surrogate.load_state_dict(coarse_surrogate.state_dict())
    conditions = torch.zeros(1, 1)

    def increment(surrogate: FNO, size: int) -> torch.Tensor:
        angle = 2 * torch.pi * (torch.arange(size) + 0.5) / size
        inputs = torch.stack([torch.sin(k * angle) for k in (1, 2, 3)], dim=-1)
        return surrogate.increment(inputs[None], conditions)

    torch.testing.assert_close(increment(fine_surrogate, 81)[:, 1::3], increment(coarse_surrogate, 27))


def test_a_shift_along_a_periodic_axis_shifts_the_prediction() -> None:
    problem = problems.grid_problem((18, 17), ("periodic", "dirichlet"))
    surrogate = store.build("fno", problems.options("fno"), problem, "float64")
    batch = problems.batch(problem, size=2, dtype=torch.float64)
    parameters = problems.parameters_by_name(problem, batch)
    times = np.array([0.0, 0.25, 0.5])
    prediction = surrogate.predict(batch["state"][:, 0], parameters, times).mean
    parameters["conductivity"] = parameters["conductivity"].roll(5, dims=1)
    shifted_prediction = surrogate.predict(batch["state"][:, 0].roll(5, dims=2), parameters, times).mean
    torch.testing.assert_close(shifted_prediction, prediction.roll(5, dims=3), rtol=1e-10, atol=0)


@pytest.mark.parametrize(("size", "period", "largest_modes"), [(16, 1.0, 8), (15, 1.0, 8), (16, 1.25, 10)])
def test_more_modes_than_the_grid_resolves_are_refused(size: int, period: float, largest_modes: int) -> None:
    assert max_modes(size, period) == largest_modes
    TruncatedFourier((size,), (period,), (largest_modes,))
    with pytest.raises(
        ValueError, match=rf"modes={largest_modes + 1} .* {size} cells resolve 1 to {largest_modes}"
    ):
        TruncatedFourier((size,), (period,), (largest_modes + 1,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 8, "modes": [4, 4, 4], "layers": 1}, "3 numbers for the 2 axes x, y"),
        ({"width": 8, "modes": [4, 99], "layers": 1}, "modes=99 on axis 1"),
        ({"width": 8, "modes": 0, "layers": 1}, "modes=0"),
        ({"width": 0, "modes": 4, "layers": 1}, "width=0"),
    ],
)
def test_wrong_options_are_refused_with_their_values(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FNO(problems.grid_problem((16, 16), ("periodic", "periodic")), **options)  # type: ignore[arg-type]


def test_modes_can_differ_from_axis_to_axis() -> None:
    surrogate = FNO(
        problems.grid_problem((16, 12), ("periodic", "periodic")), width=8, modes=[7, 3], layers=2
    )
    assert surrogate.network.fourier.num_modes == 7 * (2 * 3 - 1)


def test_a_training_step_compiles_to_one_graph() -> None:
    # torch.compile compiles `forward` once, without a fallback to Python.
    problem = problems.grid_problem((16, 12), ("periodic", "dirichlet"))
    surrogate = store.build("fno", problems.options("fno"), problem, "float64")
    counter = CompileCounter()
    compiled_surrogate = torch.compile(surrogate, backend=counter, fullgraph=True, dynamic=False)
    windows = problems.batch(problem, size=2, dtype=torch.float64)
    for _ in range(2):
        torch.testing.assert_close(compiled_surrogate(windows), surrogate(windows))
    assert counter.frame_count == 1
