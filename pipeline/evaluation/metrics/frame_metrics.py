"""All metrics of each field at each frame, and the sentences on metrics that do not apply.

Shape letters: B trajectories, T frames, C channels, M metrics, F fields, D components of a field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from pipeline.evaluation.metrics import pointwise
from pipeline.evaluation.metrics.divergence import relative_divergence
from pipeline.evaluation.metrics.spectrum import BANDS, Spectrum
from simsurrogate.spec import Spec

FrameMetric = Literal[
    "rmse",
    "max_error",
    "mean_error",
    "boundary_rmse",
    "rmse_low",
    "rmse_middle",
    "rmse_high",
    "fluctuation_energy_ratio",
    "correlation",
    "divergence",
]

#: The metrics without a unit; all others have the unit of the field.
RATIOS = frozenset({"fluctuation_energy_ratio", "correlation", "divergence"})

DEFINITIONS = {
    "rmse": "sqrt(mean |p - u|^2), mean over the sites of the squared length, in the unit of the field (RMSE "
    "of PDEBench)",
    "max_error": "the largest |p - u| over the sites (maximum error of PDEBench)",
    "mean_error": "|mean(p) - mean(u)|, means over the box: the error of a conserved quantity per volume "
    "(cRMSE of PDEBench)",
    "boundary_rmse": "the RMSE over the cells next to walls and open ends (bRMSE of PDEBench)",
    "rmse_low": "the part of the RMSE with |k| L / 2 pi below 4, L the longest axis; the squares of the "
    "three bands add up to that of the RMSE (bands of PDEBench's fRMSE)",
    "rmse_middle": "the same from 4 to below 12",
    "rmse_high": "the same from 12 on",
    "fluctuation_energy_ratio": "mean |p - mean(p)|^2 / mean |u - mean(u)|^2: below 1 the prediction is too "
    "smooth, above 1 too rough",
    "correlation": "Pearson's correlation of p and u over the sites and components",
    "divergence": "|div p| / |grad p|, norms over the sites, of a divergence-free field; `truth` is that of "
    "the data",
}

_MIN_CELLS = 4
_Function = Callable[[np.ndarray, np.ndarray], np.ndarray]


class FrameMetrics:
    """The metrics that apply to the fields of a spec.

    Attributes:
        names: the metrics that apply to at least one field.
        skipped: a sentence for each metric that applies to no field.
        spectrum: the spectrum of the grid; None for particles and grids with few cells.
    """

    def __init__(self, spec: Spec):
        self._spec = spec
        self.skipped: dict[str, str] = {}
        self.spectrum = self._spectrum()
        functions: dict[FrameMetric, _Function] = {"rmse": pointwise.rmse, "max_error": pointwise.max_error}
        functions |= self._grid_functions()
        self._functions = functions
        self._has_divergence = [field.divergence_free for field in spec.fields]
        if not any(self._has_divergence):
            self.skipped["divergence"] = "The data have no divergence-free vector field."
        bands: dict[FrameMetric, str] = dict(
            zip(("rmse_low", "rmse_middle", "rmse_high"), BANDS, strict=True)
        )
        if self.spectrum is None:
            self.skipped |= dict.fromkeys(bands, self.skipped["spectra"])
            bands = {}
        else:
            for name, band in bands.items():
                if not self.spectrum.has_band[band]:
                    self.skipped[name] = f"The grid has no wave numbers in the {band} band."
        self._bands = {name: BANDS.index(band) for name, band in bands.items() if name not in self.skipped}
        divergence: list[FrameMetric] = ["divergence"] if any(self._has_divergence) else []
        self.names: tuple[FrameMetric, ...] = (*functions, *self._bands, *divergence)

    def _spectrum(self) -> Spectrum | None:
        spec = self._spec
        if spec.has_particles:
            self.skipped["spectra"] = "Particles have no spectrum."
        elif min(spec.shape) < _MIN_CELLS:
            cells = " x ".join(map(str, spec.shape))
            self.skipped["spectra"] = (
                f"A spectrum needs at least {_MIN_CELLS} cells along each axis, and the grid has {cells}."
            )
        else:
            return Spectrum(spec)
        return None

    def _grid_functions(self) -> dict[FrameMetric, _Function]:
        """Return the functions of the metrics of fields on a grid of several cells."""
        spec = self._spec
        names = ("mean_error", "fluctuation_energy_ratio", "correlation", "boundary_rmse")
        if spec.has_particles:
            self.skipped |= dict.fromkeys(names, "Particles carry no field on a grid.")
            return {}
        if int(np.prod(spec.shape)) == 1:
            self.skipped |= dict.fromkeys(names, "Quantities of interest have a single site.")
            return {}
        functions: dict[FrameMetric, _Function] = {
            "mean_error": pointwise.mean_error,
            "fluctuation_energy_ratio": pointwise.fluctuation_energy_ratio,
            "correlation": pointwise.correlation,
        }
        if all(boundary == "periodic" for boundary in spec.boundaries):
            self.skipped["boundary_rmse"] = "The box is periodic in all directions and has no boundary."
        else:
            functions["boundary_rmse"] = lambda prediction, truth: pointwise.boundary_rmse(
                prediction, truth, spec
            )
        return functions

    def unit(self, name: str, field: int) -> str:
        """Return the unit of a metric of a field."""
        return "1" if name in RATIOS else self._spec.fields[field].unit

    def has(self, name: str, field: int) -> bool:
        """Return whether a metric applies to a field, given by its index."""
        return name != "divergence" or self._has_divergence[field]

    def __call__(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Return all metrics (B, T, M, F) of predictions of any floating type (B, T, C, *sites).

        NaN stands for a metric that does not apply to a field, or has no value: the correlation with a
        constant truth. A prediction that is not finite has infinite errors and the correlation 0.
        """
        num_trajectories, num_frames = truth.shape[:2]
        spec = self._spec
        results = np.full((num_trajectories, num_frames, len(self.names), len(spec.fields)), np.nan)
        for frame in range(num_frames):
            for field, channels in enumerate(spec.field_channels):
                p, u = (
                    np.asarray(states[:, frame, list(channels)], np.float64) for states in (prediction, truth)
                )
                is_finite = np.isfinite(p).reshape(len(p), -1).all(axis=1)
                with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                    for name, values in self._of_frame(p, u, field).items():
                        worst = 0.0 if name == "correlation" else np.inf
                        results[:, frame, self.names.index(name), field] = np.where(is_finite, values, worst)
        return results

    def _of_frame(self, p: np.ndarray, u: np.ndarray, field: int) -> dict[FrameMetric, np.ndarray]:
        """Return the metrics (B,) of one field at one frame, of states (B, D, *sites)."""
        results = {name: function(p, u) for name, function in self._functions.items()}
        if self.spectrum is not None and self._bands:
            difference = np.where(np.isfinite(p), p - u, 0.0)
            bands = self.spectrum.bands(self.spectrum.power(difference).sum(axis=1))
            results |= {name: np.sqrt(bands[:, index]) for name, index in self._bands.items()}
        if self._has_divergence[field]:
            results["divergence"] = relative_divergence(p, self._spec)
        return results

    def correlations(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Return the mean over the fields of the correlation at each frame, (B, T).

        Fields whose truth is constant have no correlation and do not count. Without such a field the result
        is 1.
        """
        result = np.empty(truth.shape[:2])
        for frame in range(truth.shape[1]):
            values = []
            for channels in self._spec.field_channels:
                p, u = (
                    np.asarray(states[:, frame, list(channels)], np.float64) for states in (prediction, truth)
                )
                with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                    correlation = pointwise.correlation(p, u)
                is_finite = np.isfinite(p).reshape(len(p), -1).all(axis=1)
                values.append(np.where(is_finite, correlation, 0.0))
            has_value = ~np.isnan(values)
            count = has_value.sum(axis=0)
            total = np.where(has_value, values, 0.0).sum(axis=0)
            result[:, frame] = np.where(count > 0, total / np.maximum(count, 1), 1.0)
        return result
