"""Batches in chunks: the same predictions, and chunks that fit into the cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from surrogates.inference import chunks
from surrogates.inference.chunks import in_chunks
from tests.support import problems
from tests.support.surrogate_cases import arguments_of, build


@pytest.mark.parametrize(("num_hidden", "sizes"), [(2**17, [2, 2, 1]), (2**20, [1] * 5), (0, [5])])
def test_a_batch_is_split_into_cases_that_fit_into_the_cache(num_hidden: int, sizes: list[int]) -> None:
    batch, seen = torch.arange(5.0), []

    def double(values: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        seen.append(len(values))
        return values + others

    assert torch.equal(in_chunks(double, (batch, batch), num_hidden), 2 * batch)
    assert seen == sizes


@pytest.mark.parametrize("name", ["fno", "deeponet"])
def test_chunks_predict_the_same_as_the_whole_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problems.learnable_problem(name, autonomous=False)
    surrogate = build(name, problem)
    arguments = arguments_of(problem, [0.0, 0.25, 1.0], size=3)
    expected = surrogate.predict(**arguments).mean
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2 * 16 * 17 * 8 * 8)
    torch.testing.assert_close(surrogate.predict(**arguments).mean, expected, rtol=1e-12, atol=0)


def test_times_in_several_parts_are_predicted_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    surrogate = build("mlp", problems.learnable_problem("mlp"))
    arguments = arguments_of(surrogate.problem, np.linspace(0, 1, 12).tolist(), size=3)
    expected = surrogate.predict(**arguments).mean
    rows = []
    query = type(surrogate)._query
    monkeypatch.setattr(
        type(surrogate), "_query", lambda self, *inputs: rows.append(len(inputs[0])) or query(self, *inputs)
    )
    monkeypatch.setattr("surrogates.mlp.CHUNK_BYTES", 4 * 3 * surrogate.width * 8)
    torch.testing.assert_close(surrogate.predict(**arguments).mean, expected, rtol=1e-12, atol=0)
    assert len(rows) > 2
    assert set(rows) == {12}  # four times of three cases
