"""The U-Net: any number of cells, padding at periodic ends and at walls, and options."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from surrogates.unet import UNet, _pad
from tests.support import problems


@pytest.mark.parametrize("sites", [(8,), (9,), (13, 10), (11, 9, 8)])
def test_any_number_of_cells_is_supported(sites: tuple[int, ...]) -> None:
    problem = problems.grid_problem(sites, ("periodic",) * len(sites))
    surrogate = UNet(problem, width=4, levels=3)
    batch = problems.batch(problem, size=2)
    prediction = surrogate.predict(
        batch["state"][:, 0], problems.parameters_by_name(problem, batch), np.array([0.0, 0.25])
    ).mean
    assert prediction.shape == (2, 2, 2, *sites)


def test_padding_wraps_on_periodic_axes_and_repeats_cells_at_walls() -> None:
    field = torch.arange(6.0).view(1, 1, 2, 3)
    expected = torch.tensor([[3, 3, 4, 5, 5], [0, 0, 1, 2, 2], [3, 3, 4, 5, 5], [0, 0, 1, 2, 2]])
    assert torch.equal(_pad(field, (True, False))[0, 0], expected.float())


def test_a_shift_by_the_coarsest_cell_shifts_the_prediction() -> None:
    problem = problems.grid_problem((16, 16), ("periodic", "periodic"))
    surrogate = UNet(problem, width=8, levels=2).double()
    batch = problems.batch(problem, size=1, dtype=torch.float64)
    parameters = problems.parameters_by_name(problem, batch)
    times = np.array([0.0, 0.25])
    prediction = surrogate.predict(batch["state"][:, 0], parameters, times).mean
    parameters["conductivity"] = parameters["conductivity"].roll(4, dims=2)
    shifted_prediction = surrogate.predict(batch["state"][:, 0].roll(4, dims=3), parameters, times).mean
    torch.testing.assert_close(shifted_prediction, prediction.roll(4, dims=4), rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"width": 8, "levels": 4},
            r"levels=4 is out of range. The grid \(8, 12\) can be halved 0 to 3 times",
        ),
        ({"width": 0, "levels": 1}, "width=0 is too small"),
    ],
)
def test_wrong_options_are_refused_with_their_values(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(problems.grid_problem((8, 12), ("periodic", "periodic")), **options)
