"""Differences between predicted and true states in distribution: small scales, and variance over an ensemble.

Shape letters: B trajectories, C channels; `*sites` are the cells.
"""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.metrics.spectrum import Spectrum
from simsurrogate.spec import Spec


def small_scale_ratio(
    spec: Spec, field: str, predicted: np.ndarray, truth: np.ndarray, largest_shell: int
) -> float:
    """Return the energy in the upper third of the shells 1 to `largest_shell`, predicted over true.

    Args:
        spec: the spec of the states.
        field: the field whose mean square is the energy.
        predicted: states (B, C, *sites).
        truth: states (B, C, *sites).
        largest_shell: the largest wave number that the solver keeps, in waves along the longest axis.
    """
    spectrum = Spectrum(spec)
    upper = slice(largest_shell - largest_shell // 3, largest_shell)

    def energy(states: np.ndarray) -> float:
        fields = _field(spec, field, states)
        return float(spectrum.shells(spectrum.power(fields))[..., upper].sum())

    return energy(predicted) / energy(truth)


def variance_ratio(spec: Spec, field: str, predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return the variance over the trajectories, mean over cells, of predicted over true states.

    The states have the shape (B, C, *sites).
    """
    predicted_variance, true_variance = (
        _field(spec, field, states).var(axis=0).mean() for states in (predicted, truth)
    )
    return float(predicted_variance / true_variance)


def _field(spec: Spec, field: str, states: np.ndarray) -> np.ndarray:
    """Return the channels of a field in float64."""
    position = [known.name for known in spec.fields].index(field)
    return states[:, list(spec.field_channels[position])].astype(np.float64)
