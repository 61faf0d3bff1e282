"""Pictures of a trajectory: truth, prediction and error, next to the input of the surrogate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.evaluation.report.part import MapGroup, PartFigure
from pipeline.evaluation.report.trajectories.examples import Example, caption_of
from pipeline.plots import particles
from pipeline.plots.comparison import Channel, draw_comparison
from pipeline.plots.labels import even_frames, label, rounded_text, time_texts, unit_words
from pipeline.plots.lines import draw_line, draw_profile
from pipeline.plots.maps import FieldMap, Scale, draw_map
from pipeline.plots.saving import save

if TYPE_CHECKING:
    from pipeline.evaluation.report.context import ReportContext
    from simsurrogate.spec import Axis, Spec

#: A map of one axis and time is this much wider than high.
_SPACE_TIME_EXTENT = (1.5, 1.0)
#: The map of an input has at most this part of the pixels of all maps.
_INPUT_SHARE = 12


def map_group(
    spec: Spec, example: Example, channel: int, *, max_frames: int, max_pixels: int, has_inputs: bool
) -> MapGroup:
    """Return truth, prediction and error of one channel as maps.

    Two axes give maps with a slider of times, three axes their middle slice along the last axis, and one axis
    gives maps of position and time.

    Args:
        spec: the spec of the data.
        example: the trajectory.
        channel: the index of the channel.
        max_frames: the largest number of times after the first.
        max_pixels: the largest number of pixels of truth, prediction and error together.
        has_inputs: whether the first frame and the coefficient fields are shown, too.
    """
    name, unit = spec.channels[channel], spec.channel_units[channel]
    truth, prediction = example.truth[:, channel], example.prediction[:, channel]
    caption = caption_of(example, spec)
    if truth.ndim == 2:
        frames, times = np.arange(len(truth)), [""]
        truth_frames, predicted_frames = truth.T[None], prediction.T[None]
        extent = _SPACE_TIME_EXTENT
        end = rounded_text(example.cases.time[-1])
        place = f"{_range_text(spec.axes[0])} to the right, time from 0 to {end} s upwards"
    else:
        frames = np.array([0, *even_frames(len(truth), max_frames)])
        times = time_texts(example.cases.time[frames].tolist())
        truth_frames, predicted_frames = (_slice(values[frames]) for values in (truth, prediction))
        extent = (spec.extent[0], spec.extent[1])
        place = f"{_range_text(spec.axes[0])} to the right, {_range_text(spec.axes[1])} upwards"
        if truth.ndim == 4:
            axis = spec.axes[2]
            centre = rounded_text(axis.centres[axis.size // 2])
            place += f", slice at {axis.name} = {centre} {unit_words(axis.unit)}".rstrip()
    with np.errstate(invalid="ignore", over="ignore"):
        error_frames = predicted_frames - truth_frames
    scale = Scale.of(truth_frames)
    options: dict[str, Any] = {"unit": unit, "extent": extent, "max_pixels": max_pixels // 3}
    maps = [
        draw_map("truth", truth_frames, scale, **options),
        draw_map("prediction", predicted_frames, scale, **options),
        draw_map("error: prediction − truth", error_frames, Scale.symmetric(error_frames), **options),
    ]
    inputs = []
    if has_inputs and truth.ndim > 2:
        small = {**options, "max_pixels": max_pixels // _INPUT_SHARE}
        inputs = [draw_map(f"input: {_words(name)} at t = 0", truth_frames[:1], scale, **small)]
        inputs += _coefficient_maps(spec, example, small)
    return MapGroup(
        title=f"{_words(name)}, {example.rank}",
        maps=maps,
        times=times,
        caption=f"{caption} Axes: {place}.",
        inputs=inputs,
    )


def line_figures(context: ReportContext, example: Example) -> list[PartFigure]:
    """Return the figures of bodies, of quantities over time, or of fields along one axis, if any."""
    spec = context.spec
    caption = caption_of(example, spec)
    stem = context.figure_folder / f"{example.split}-{example.position:05d}"
    if spec.has_particles:
        unit = spec.channel_units[0]
        plane = particles.draw_plane(example.truth, example.prediction, unit, f"bodies, {example.rank}")
        distances = particles.draw_distances(
            example.truth, example.prediction, example.cases.time, unit, f"bodies, {example.rank}"
        )
        return [
            PartFigure(save(plane, stem.with_name(f"{stem.name}-bodies.svg")), caption),
            PartFigure(
                save(distances, stem.with_name(f"{stem.name}-distances.svg")),
                "Distance of the predicted from the true positions over time.",
            ),
        ]
    is_series = context.surrogate.learns_quantities
    if len(spec.shape) > 1:
        return []
    axis = spec.axes[0]
    x, x_label = (
        (example.cases.time, "time (s)") if is_series else (axis.centres, label(axis.name, axis.unit))
    )

    def line(states: np.ndarray, channel: int) -> np.ndarray:
        """Return a quantity at all times, or a field at the last time."""
        values: np.ndarray = states[:, channel, 0] if is_series else states[-1, channel]
        return values

    figures = []
    for index, (name, unit) in enumerate(zip(spec.channels, spec.channel_units, strict=True)):
        figure = draw_profile(
            x,
            line(example.truth, index),
            line(example.prediction, index),
            x_label=x_label,
            y_label=label(name, unit),
            title=f"{_words(name)}, {example.rank}"
            if is_series
            else f"{_words(name)} at the end, {example.rank}",
            initial=None if is_series else example.truth[0, index],
            deviation=None if example.deviation is None else line(example.deviation, index),
        )
        path = save(figure, stem.with_name(f"{stem.name}-{name}.svg"))
        figures.append(PartFigure(path, f"{_words(name)}, {example.rank} by error." if index else caption))
    return figures


def input_figures(context: ReportContext, example: Example) -> list[PartFigure]:
    """Return a figure of each coefficient field along one axis; none on other sites."""
    spec = context.spec
    if len(spec.shape) > 1 or spec.has_particles:
        return []
    (axis,) = spec.axes
    figures = []
    for name, unit, values in _coefficients(spec, example):
        figure = draw_line(
            axis.centres, values, label(axis.name, axis.unit), label(name, unit), f"input: {_words(name)}"
        )
        path = context.figure_folder / f"{example.split}-{example.position:05d}-{name}.svg"
        figures.append(PartFigure(save(figure, path), f"Input: the coefficient field {_words(name)}."))
    return figures


def save_comparisons(context: ReportContext, example: Example) -> None:
    """Write a PNG of truth, prediction and error at a few times for each channel, for use elsewhere.

    Bodies have one PNG of their paths, and quantities of interest have none.
    """
    spec = context.spec
    if context.surrogate.learns_quantities:
        return
    stem = f"{example.split}-{example.position:05d}"
    if spec.has_particles:
        title = f"bodies, {example.rank} by error"
        figure = particles.draw_plane(example.truth, example.prediction, spec.channel_units[0], title)
        save(figure, context.figure_folder / f"{stem}-bodies.png")
        return
    for index, (name, unit) in enumerate(zip(spec.channels, spec.channel_units, strict=True)):
        title = f"{_words(name)}, {example.rank} by error"
        channel = Channel(name, unit, spec.axes)
        truth, prediction = example.truth[:, index], example.prediction[:, index]
        figure = draw_comparison(truth, prediction, example.cases.time, channel, title)
        save(figure, context.figure_folder / f"{stem}-{name}.png")


def _coefficient_maps(spec: Spec, example: Example, options: Mapping[str, Any]) -> list[FieldMap]:
    """Return the coefficient fields as maps."""
    maps = []
    for name, unit, values in _coefficients(spec, example):
        frames = _slice(values[None])
        maps.append(
            draw_map(
                f"input: {_words(name)}",
                frames,
                Scale.of(frames),
                **{**options, "unit": unit},
            )
        )
    return maps


def _coefficients(spec: Spec, example: Example) -> list[tuple[str, str, np.ndarray]]:
    """Return name, unit and values (*sites) of each channel of the coefficient fields."""
    units = [field.unit for field in spec.coefficient_fields for _ in spec.components(field)]
    names = spec.coefficient_channels
    return [(name, unit, example.cases.inputs[name][0]) for name, unit in zip(names, units, strict=True)]


def _slice(frames: np.ndarray) -> np.ndarray:
    """Return frames of two axes: the middle slice along a third axis."""
    return frames[..., frames.shape[-1] // 2] if frames.ndim == 4 else frames


def _range_text(axis: Axis) -> str:
    """Return `x from 0 to 1 m`."""
    unit = unit_words(axis.unit)
    return f"{axis.name} from {rounded_text(axis.lower)} to {rounded_text(axis.upper)} {unit}".rstrip()


def _words(name: str) -> str:
    return name.replace("_", " ")
