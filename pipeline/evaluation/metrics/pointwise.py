"""Errors of one field at one frame, in the unit of the field.

Shape letters: B trajectories, D components of the field; `*sites` are the cells or the particles. Each
function has the arguments `prediction` and `truth` (B, D, *sites) in float64, and returns an array (B,).
"""

from __future__ import annotations

import numpy as np

from simsurrogate.spec import Spec


def rmse(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return sqrt(⟨|p − u|²⟩), the mean over the sites of the squared length of the difference.

    Source: RMSE of PDEBench (arXiv:2210.07182, appendix B) for a scalar field.
    """
    result: np.ndarray = np.sqrt(_squared_length(prediction - truth).mean(axis=1))
    return result


def max_error(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the largest |p − u| over the sites.

    Source: maximum error of PDEBench; LInfinity of The Well for a scalar field.
    """
    result: np.ndarray = np.sqrt(_squared_length(prediction - truth).max(axis=1))
    return result


def mean_error(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return |⟨p⟩ − ⟨u⟩|, the error of the mean over the box, for each trajectory.

    The mean times the volume is the amount of a conserved quantity. Source: cRMSE of PDEBench, which is the
    root mean square of this error over the trajectories.
    """
    difference = (prediction - truth).reshape(*truth.shape[:2], -1).mean(axis=2)
    result: np.ndarray = np.sqrt(np.square(difference).sum(axis=1))
    return result


def boundary_rmse(prediction: np.ndarray, truth: np.ndarray, spec: Spec) -> np.ndarray:
    """Return the RMSE over the cells next to the boundary, of all axes that are not periodic.

    A cell next to several boundaries counts once for each of them. Source: bRMSE of PDEBench.
    """
    squares, count = np.zeros(len(truth)), 0
    for axis, description in enumerate(spec.axes):
        if description.boundary == "periodic":
            continue
        for cell in (0, -1):
            layers = [np.take(states, cell, axis=axis + 2) for states in (prediction, truth)]
            squared_lengths = _squared_length(layers[0] - layers[1])
            squares += squared_lengths.sum(axis=1)
            count += squared_lengths.shape[1]
    return np.sqrt(squares / count)


def fluctuation_energy_ratio(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return ⟨|p − ⟨p⟩|²⟩ / ⟨|u − ⟨u⟩|²⟩, the predicted over the true energy of the fluctuations in space.

    For a velocity it is the ratio of kinetic energies about the mean flow. A prediction that is too smooth
    has a ratio below 1, although its L2 error may be the smallest. The result is NaN for a constant truth.
    """
    energies = [np.square(_fluctuation(states)).sum(axis=(1, 2)) for states in (prediction, truth)]
    predicted_energy = np.where(_is_constant(prediction, energies[0]), 0.0, energies[0])
    ratio: np.ndarray = predicted_energy / np.where(_is_constant(truth, energies[1]), np.nan, energies[1])
    return ratio


def correlation(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of prediction and truth over the sites and components.

        Σ (p − ⟨p⟩)·(u − ⟨u⟩) / sqrt(Σ |p − ⟨p⟩|² Σ |u − ⟨u⟩|²)

    A constant prediction has the correlation 0. The result is NaN for a constant truth.
    """
    fluctuations = [_fluctuation(states) for states in (prediction, truth)]
    norms = [np.sqrt(np.square(fluctuation).sum(axis=(1, 2))) for fluctuation in fluctuations]
    covariance = (fluctuations[0] * fluctuations[1]).sum(axis=(1, 2))
    product = norms[0] * np.where(_is_constant(truth, norms[1] ** 2), np.nan, norms[1])
    result: np.ndarray = np.where(product == 0, 0.0, covariance / product)
    return result


def _squared_length(difference: np.ndarray) -> np.ndarray:
    """Return the squared length of the vector at each site, (B, sites)."""
    result: np.ndarray = np.square(difference).sum(axis=1).reshape(len(difference), -1)
    return result


def _fluctuation(states: np.ndarray) -> np.ndarray:
    """Return the states minus their mean over the sites, (B, D, sites)."""
    flat = states.reshape(*states.shape[:2], -1)
    fluctuation: np.ndarray = flat - flat.mean(axis=2, keepdims=True)
    return fluctuation


def _is_constant(states: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Return whether the energy (B,) of the fluctuations of states is that of rounded float32 numbers."""
    size = np.square(states).reshape(len(states), -1).sum(axis=1)
    is_constant: np.ndarray = energy <= 1e-14 * size
    return is_constant
