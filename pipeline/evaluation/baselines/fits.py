"""Linear maps that are fitted to the training split: ridge regression and dynamic mode decomposition.

Shape letters: K pairs of frames, D numbers of a frame, R rank, V trajectories, T frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.evaluation.baselines.linear_map import LinearBaseline, LinearMap
from pipeline.evaluation.baselines.training_pairs import TrainingPairs, not_applicable, training_pairs

if TYPE_CHECKING:
    from mpi4py import MPI

    from pipeline.data.dataset import Dataset

FittedPredictor = Literal["ridge", "dmd"]

#: The penalties of ridge regression in squares of the largest singular value.
_PENALTIES = tuple(10.0**exponent for exponent in range(-10, 4))
#: Singular values below this share of the largest one are those of rounded float32 numbers.
_LEAST_SINGULAR_VALUE = 1e-6
_MAX_RANK = 128


def fit(
    dataset: Dataset, communicator: MPI.Intracomm, *, has_states: bool
) -> tuple[dict[FittedPredictor, LinearBaseline], dict[str, str]]:
    """Return the fitted baselines, and a sentence on each: its fit, or the reason why there is none.

    Rank 0 reads and fits, so that the numbers do not depend on the number of ranks. All ranks call this
    function together. `has_states` is false for quantities of interest.
    """
    if communicator.rank != 0:
        result: tuple[dict[FittedPredictor, LinearBaseline], dict[str, str]] = communicator.bcast(None)
        return result
    reason = (
        not_applicable(dataset) if has_states else "Quantities of interest are not the state of a solver."
    )
    if reason is None:
        pairs = training_pairs(dataset)
        baselines: dict[FittedPredictor, LinearBaseline] = {
            "ridge": ridge_regression(pairs),
            "dmd": dynamic_mode_decomposition(pairs),
        }
        sentences = {str(name): baseline.description for name, baseline in baselines.items()}
    else:
        baselines = {}
        sentences = {
            "ridge": f"Ridge regression is not fitted. {reason}",
            "dmd": f"Dynamic mode decomposition is not fitted. {reason}",
        }
    communicator.bcast((baselines, sentences))
    return baselines, sentences


def ridge_regression(pairs: TrainingPairs) -> LinearBaseline:
    """Return the ridge regression of the change of a frame on the frame.

        x' − x = d + W (x − m),    min_W Σ_k |y_k − x_k − d − W (x_k − m)|² + λ |W|²

    m and d are the means of x_k and y_k − x_k. With the singular values X = V S Uᵀ of the centred frames,
    W = (Y − X)ᵀ V S (S² + λ)⁻¹ Uᵀ: the dual form, which needs the Gram matrix X Xᵀ (K, K) alone. U are the
    POD modes of the pairs; at most 128 of them are kept. For large λ the map becomes persistence. The penalty
    with the smallest rollout error on the split valid is chosen.

    Source: Hoerl & Kennard 1970 (doi:10.1080/00401706.1970.10488634).
    """
    centre = pairs.first.mean(axis=0)
    change = pairs.second - pairs.first
    offset = change.mean(axis=0)
    left, singular_values, modes = _singular_vectors(pairs.first - centre)
    projected = (change - offset).T @ left
    coupling = projected.T @ modes
    candidates = (
        (
            penalty,
            LinearMap(
                keeps_frame=True,
                centre=centre,
                offset=offset,
                inputs=modes,
                outputs=projected,
                coupling=coupling,
                weights=singular_values / (singular_values**2 + penalty * singular_values[0] ** 2),
            ),
        )
        for penalty in _PENALTIES
    )
    penalty, linear_map = _best(candidates, pairs, default=1e-6)
    return LinearBaseline(
        pairs.scaling,
        linear_map,
        f"Ridge regression on {len(singular_values)} POD modes of {pairs.words} pairs of consecutive frames; "
        f"penalty {penalty:.0e}{_selection(pairs)}.",
    )


def dynamic_mode_decomposition(pairs: TrainingPairs) -> LinearBaseline:
    """Return the exact dynamic mode decomposition of the pairs.

        x' = A x,    A = Y X⁺ = Y V S⁻¹ Uᵀ

    U S Vᵀ is the singular value decomposition of the first frames X (columns) of rank R. The eigenvectors of
    A that belong to eigenvalues other than 0 are the exact DMD modes. The rank with the smallest rollout
    error on the split valid is chosen. Frames are scaled by the channel, and no mean over the pairs is
    subtracted.

    Sources: Schmid 2010 (doi:10.1017/S0022112010001217); Tu et al. 2014 (doi:10.3934/jcds.2014.1.391),
    definition 1.
    """
    left, singular_values, modes = _singular_vectors(pairs.first)
    outputs = pairs.second.T @ left
    coupling = outputs.T @ modes
    zero = np.zeros(pairs.first.shape[1])
    full_rank = len(singular_values)
    ranks = sorted({*(2**power for power in range(8) if 2**power < full_rank), full_rank})
    candidates = (
        (
            rank,
            LinearMap(
                keeps_frame=False,
                centre=zero,
                offset=zero,
                inputs=modes[:, :rank],
                outputs=outputs[:, :rank],
                coupling=coupling[:rank, :rank],
                weights=1 / singular_values[:rank],
            ),
        )
        for rank in ranks
    )
    rank, linear_map = _best(candidates, pairs, default=full_rank)
    return LinearBaseline(
        pairs.scaling,
        linear_map,
        f"Exact dynamic mode decomposition of rank {rank:.0f} of {pairs.words} pairs of consecutive "
        f"frames{_selection(pairs, 'rank')}.",
    )


def _singular_vectors(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return V (K, R), the singular values (R,) and U (D, R) of frames (K, D) = V S Uᵀ, by the Gram matrix.

    At least one and at most 128 singular values are kept, and none at the level of rounded data.
    """
    values, vectors = np.linalg.eigh(frames @ frames.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    is_kept = values > _LEAST_SINGULAR_VALUE**2 * values[0]
    is_kept[0], is_kept[_MAX_RANK:] = True, False
    singular_values = np.sqrt(np.maximum(values[is_kept], np.finfo(np.float64).tiny))
    left = vectors[:, is_kept]
    return left, singular_values, frames.T @ left / singular_values


def _best(
    candidates: Iterable[tuple[float, LinearMap]], pairs: TrainingPairs, default: float
) -> tuple[float, LinearMap]:
    """Return the candidate with the smallest rollout error on the split valid, or the `default` without one.

    The error is the mean over the trajectories and over a frame in the middle and the last frame.
    """
    valid = pairs.valid
    last = valid.shape[1] - 1
    steps = np.unique([max(last // 2, 1), last])
    best: tuple[tuple[float, float], float, LinearMap] | None = None
    for value, linear_map in candidates:
        error = 0.0
        if len(valid):
            truth = valid[:, steps]
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                difference = linear_map.rollout(valid[:, 0], steps) - truth
                error = float((np.linalg.norm(difference, axis=2) / np.linalg.norm(truth, axis=2)).mean())
        # Among equal errors, and without a split valid, the candidate closest to the default is the best.
        rank = (error if np.isfinite(error) else np.inf, abs(np.log(value / default)))
        if best is None or rank < best[0]:
            best = (rank, value, linear_map)
    assert best is not None
    return best[1], best[2]


def _selection(pairs: TrainingPairs, name: str = "penalty") -> str:
    """Return the origin of a penalty or a rank as the end of a sentence."""
    if not len(pairs.valid):
        return ""
    return (
        f"; the {name} has the smallest rollout error on {len(pairs.valid)} trajectories of the split valid"
    )
