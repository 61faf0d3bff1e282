"""The part of the report on what a prediction depends on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.evaluation.intervals.words import attribution_sentences, percent
from pipeline.evaluation.report.part import PartFigure, PartTable, ReportPart
from pipeline.plots.attribution import draw_maps, draw_shares
from pipeline.plots.saving import save

if TYPE_CHECKING:
    from pipeline.evaluation.intervals.attribution import Attribution
    from simsurrogate.spec import Spec


def attribution_part(attribution: Attribution | str, spec: Spec, folder: Path) -> ReportPart:
    """Return the part on attributions, with figures in `folder`, or with the reason why there is none."""
    title = "What a prediction depends on"
    if isinstance(attribution, str):
        return ReportPart("attribution", title, [attribution])
    result = attribution.result
    path = save(draw_shares(result.shares, attribution.mode_shares), folder / "attribution-shares.svg")
    caption = "Share of each input in the integrated gradients" + (
        "."
        if attribution.mode_shares is None
        else "; share of the Fourier modes in the spectral convolutions."
    )
    figures = [PartFigure(path, caption)]
    if not spec.has_particles and len(next(iter(attribution.inputs.values())).ravel()) > 1:
        units = {
            f"initial {name}": unit for name, unit in zip(spec.channels, spec.channel_units, strict=True)
        }
        units |= {name: field.unit for field in spec.coefficient_fields for name in spec.components(field)}
        maps = (
            attribution.inputs,
            attribution.gradients,
            attribution.shuffled,
            attribution.integrated,
        )
        sensitivities = (attribution.sensitivities, attribution.shuffled_sensitivities)
        figure = draw_maps(maps, sensitivities, spec.axes, attribution.site, units)
        path = save(figure, folder / "attribution-maps.png")
        figures.append(
            PartFigure(
                path,
                f"Input fields, and the dependence of the {result.output} (mark) at t = {result.time:.4g} s "
                "on them: gradients for a change of one standard deviation, the same of the network with "
                "shuffled weights, which must look different, and integrated gradients. Below: change of the "
                "whole predicted field by a parameter, for one standard deviation.",
            )
        )
    rows = [[name.replace("_", " "), percent(share)] for name, share in result.shares.items()]
    table = PartTable("Share of each input in the integrated gradients", ("input", "share"), rows)
    sentences = list(attribution_sentences(result))
    return ReportPart("attribution", title, sentences, figures, [table])
