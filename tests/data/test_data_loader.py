"""The windows of a data set in torch's DataLoader, in this process and in worker processes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline import validate
from pipeline.data.dataset import Dataset
from tests.support.forked import fork_server
from tests.support.in_process import generate_in_process, settings_of
from tests.support.launching import SMALL_DATASET


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a validated data set of four short trajectories of heat."""
    run = tmp_path_factory.mktemp("loader")
    generate_in_process(run, *SMALL_DATASET)
    validate.run(settings_of(run, *SMALL_DATASET))
    return Dataset.open(run / "dataset")


@pytest.mark.parametrize("context", [None, "fork", "spawn", "forkserver"])
def test_batches_hold_the_requested_windows(dataset: Dataset, context: str | None) -> None:
    windows = dataset.windows("train", 2)
    loader = DataLoader(
        windows,  # type: ignore[arg-type]
        batch_size=5,
        num_workers=0 if context is None else 1,
        # All tests of a process share one fork server.
        multiprocessing_context=fork_server() if context == "forkserver" else context,
    )
    batches = list(loader)
    expected = windows.take(np.arange(len(windows)))
    for name, values in expected.items():
        joined = torch.cat([batch[name] for batch in batches]).numpy()
        np.testing.assert_array_equal(joined, values)
    assert len(np.unique(expected["state"].reshape(len(windows), -1), axis=0)) == len(windows)


def test_a_data_set_survives_pickling(dataset: Dataset) -> None:
    dataset.trajectory("train", 0)
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    np.testing.assert_array_equal(copy.trajectory("train", 3).state, dataset.trajectory("train", 3).state)


def test_windows_are_indexed_like_a_sequence(dataset: Dataset) -> None:
    windows = dataset.windows("train", 2)
    np.testing.assert_array_equal(windows[-1]["state"], windows[len(windows) - 1]["state"])
    with pytest.raises(IndexError):
        windows[len(windows)]
