"""Differences between predicted and true states in distribution: small scales, and variance over an ensemble.

Shape letters: B trajectories, C channels, S shells of wave numbers; `*sites` are the cells.
"""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.metrics.spectrum import Spectrum
from simsurrogate.spec import Spec


def shell_energies(spec: Spec, field: str, states: np.ndarray, largest_shell: int) -> np.ndarray:
    """Return the energy in each shell 1 to `largest_shell`, (S,), mean over the trajectories.

    Args:
        spec: the spec of the states.
        field: the field whose mean square is the energy.
        states: states (B, C, *sites).
        largest_shell: the largest wave number that the solver keeps, in waves along the longest axis.
    """
    spectrum = Spectrum(spec)
    shells = spectrum.shells(spectrum.power(_field(spec, field, states)))
    energies: np.ndarray = shells.sum(axis=1).mean(axis=0)[:largest_shell]
    return energies


def small_scale_ratio(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return the energy in the upper third of the shells (S,), predicted over true."""
    upper = slice(len(truth) - len(truth) // 3, None)
    return float(predicted[upper].sum() / truth[upper].sum())


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
