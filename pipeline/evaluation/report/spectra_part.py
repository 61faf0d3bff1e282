"""The part of the report on energy spectra and fluctuations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.report.part import PartFigure, ReportPart
from pipeline.evaluation.schema import ERROR_PARTS
from pipeline.evaluation.words import number_text, predictor_name
from pipeline.plots.energy_spectra import FieldSpectra, draw
from pipeline.plots.labels import unit_words
from pipeline.plots.saving import save

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.evaluation.schema import Metrics, SplitResult

#: Baselines without structure in space have no spectrum to draw.
_CONSTANT = "mean"


def spectra_part(metrics: Metrics, split: str, folder: Path) -> ReportPart | None:
    """Return the spectra at the end of the rollout, or None without spectra; the picture goes to `folder`."""
    result = metrics.splits[split]
    if not result.spectra:
        return None
    fields = [_field_spectra(metrics, result, name) for name in result.spectra]
    paths = [
        save(draw(spectra, metrics.surrogate), folder / f"{split}-spectra-{name}.svg")
        for name, spectra in zip(result.spectra, fields, strict=True)
    ]
    caption = (
        f"Energy spectrum at t = {metrics.time[-1]:.3g} s, mean over {result.trajectories} trajectories "
        "(top), and the surrogate's energy over that of the truth, median and 10 to 90 % of the trajectories "
        "(bottom)."
    )
    sentences = []
    for name, spectra in zip(result.spectra, fields, strict=True):
        sentences.append(_scale_sentence(metrics.surrogate, name, spectra))
        sentences += _ranking_sentences(metrics, result, name)
    return ReportPart(
        "spectra",
        "Energy on each scale",
        [sentence for sentence in sentences if sentence],
        [PartFigure(path, caption) for path in paths],
    )


def _field_spectra(metrics: Metrics, result: SplitResult, field: str) -> FieldSpectra:
    spectrum = result.spectra[field]
    unit = unit_words(result.metrics["rmse"][field].unit)
    names = [name for name in spectrum.energy if name not in (*ERROR_PARTS, _CONSTANT)]
    return FieldSpectra(
        title=field.replace("_", " "),
        unit=unit and (f"{unit}²" if unit.isalpha() else f"({unit})²"),
        wave_number=np.array(spectrum.wave_number),
        length_unit=spectrum.length_unit,
        energy={
            name if name in ("truth", "surrogate") else predictor_name(name, metrics.surrogate): _floats(
                spectrum.energy[name]
            )
            for name in names
        },
        ratio=(_floats(spectrum.ratio.median), _floats(spectrum.ratio.q10), _floats(spectrum.ratio.q90)),
    )


def _scale_sentence(surrogate: str, field: str, spectra: FieldSpectra) -> str:
    """Return the sentence on the first scale on which the energy is wrong by more than a factor of 2."""
    median = spectra.ratio[0]
    is_known = np.isfinite(median)
    name = field.replace("_", " ")
    if not is_known.any():
        return ""
    is_wrong = is_known & ((median < 0.5) | (median > 2))
    if not is_wrong.any():
        return f"The energy of {name} is right within a factor of 2 on all scales (median)."
    shell = int(np.flatnonzero(is_wrong)[0])
    length = 2 * np.pi / spectra.wave_number[shell]
    ratio = median[shell]
    if not ratio > 0:
        amount = "zero"
    elif ratio < 1:
        amount = f"{number_text(1 / ratio)} times smaller than that of the truth"
    else:
        amount = f"{number_text(ratio)} times larger than that of the truth"
    waves = f"waves of {number_text(length)} {spectra.length_unit}"
    text = f"On {waves} the energy of {name} in {surrogate} is {amount}"
    return text + ("; longer waves are right within a factor of 2 (medians)." if shell else " (median).")


def _ranking_sentences(metrics: Metrics, result: SplitResult, field: str) -> list[str]:
    """Return the sentence on predictors whose order by error and by fluctuation energy differs."""
    ratios = result.metrics["fluctuation_energy_ratio"][field].rollout_end
    errors: dict[str, float | None] = {
        str(name): result.errors[name]["rollout"]["relative_l2"][field].median[-1]
        for name in result.headline
        if name not in (*ERROR_PARTS, _CONSTANT)
    }
    by_error = _ranking([(error, name) for name, error in errors.items()])
    by_energy = _ranking(
        [
            (None if (ratio := ratios[name].median) is None or ratio <= 0 else abs(np.log(ratio)), name)
            for name in errors
        ]
    )
    if not by_error or not by_energy:
        return []
    names = {name: predictor_name(name, metrics.surrogate) for name in errors}
    own = ratios["surrogate"].median
    text = (
        f"At the end of the rollout the fluctuations of {field.replace('_', ' ')} in {metrics.surrogate} "
        f"have {number_text(own)} times the energy of the truth (median)."
    )
    if by_error[0] != by_energy[0]:
        text += (
            f" By relative L2 error {names[by_error[0]]} is the best, and by fluctuation energy "
            f"{names[by_energy[0]]}: a smaller error can mean a smoother prediction."
        )
    return [text]


def _ranking(values: Sequence[tuple[float | None, str]]) -> list[str]:
    """Return the names in increasing order of their values, without names whose values are not finite."""
    finite = [(value, name) for value, name in values if value is not None]
    return [name for _, name in sorted(finite)]


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
