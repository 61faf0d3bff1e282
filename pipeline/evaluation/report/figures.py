"""The figures of the report as PNG files, with their captions."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from pipeline.evaluation.cases import Cases, load, predict
from pipeline.evaluation.words import percent
from pipeline.plots.comparison import Channel, draw_comparison, label, unit_words
from pipeline.plots.curves import draw_errors, draw_invariants, draw_training, read_log
from pipeline.plots.particles import draw_comparison as draw_particle_comparison
from simsurrogate.files import write_whole
from surrogates import store

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from pipeline.evaluation.schema import Metrics, SplitResult
    from surrogates.contract import Surrogate

_DPI = 110


@dataclass(frozen=True)
class ReportFigure:
    """A PNG file; `section` is the name of a split, or `training`."""

    path: Path
    section: str
    caption: str


def draw(
    folder: Path, surrogate: Surrogate, dataset: Dataset, metrics: Metrics, num_trajectories: int
) -> list[ReportFigure]:
    """Draw the error over time, the invariants and `num_trajectories` comparisons of each split; return all.

    The last figures show the training: its log.csv, and those of an ensemble's members, lie in the model
    folder, two folders up.
    """
    drawn = []
    for split, result in metrics.splits.items():
        times = metrics.time
        figure = draw_errors(result.errors, times[1:], metrics.fields, metrics.surrogate)
        caption = "Relative L2 error over time: median (line) and 10 to 90 % of the trajectories (band)."
        drawn.append(_save(figure, folder / f"{split}-errors.png", split, caption))
        if dataset.spec.invariants:
            figure = draw_invariants(result.invariants, times, dataset.spec.invariants)
            caption = (
                "Distance between the invariants of predicted and true states over time: median (line) and "
                "10 to 90 % of the trajectories (band); dashed: size in the truth."
            )
            drawn.append(_save(figure, folder / f"{split}-invariants.png", split, caption))
        for number, rank in chosen_trajectories(result, num_trajectories):
            cases = load(dataset, split, [number])
            error = percent(result.by_trajectory.rollout_end[number])
            caption = f"Trajectory {number} ({rank}): relative L2 error {error} at the end of the rollout."
            for name, figure in _compare(surrogate, dataset, cases, f"{rank} by error"):
                path = folder / f"{split}-{number:05d}-{name}.png"
                drawn.append(_save(figure, path, split, f"{caption} {_parameter_values(dataset, cases)}"))
    model = folder.parent.parent
    # Only the members that the model lists: an ensemble that has shrunk leaves folders behind.
    members = [store.member_folder(model, number) for number in range(store.num_members(model))]
    for trained in members or [model]:
        if not (trained / "log.csv").is_file():
            continue
        member = "" if trained == model else f", {trained.name}"
        caption = f"Loss on the training batches and error on the validation split{member}."
        path = folder / f"training{member.replace(', ', '-')}.png"
        drawn.append(_save(draw_training(read_log(trained / "log.csv")), path, "training", caption))
    return drawn


def chosen_trajectories(result: SplitResult, count: int) -> list[tuple[int, str]]:
    """Return `count` trajectories by number, with the rank of their rollouts in words.

    The first is the median trajectory, then come the worst, the best, and others evenly between them.
    """
    errors = [np.inf if error is None else error for error in result.by_trajectory.rollout_end]
    order = np.argsort(errors, kind="stable")
    total = len(order)
    ranks = [(total - 1) // 2, total - 1, 0]
    ranks += np.linspace(0, total - 1, max(count - 1, 2)).round().astype(int).tolist()
    words = {0: "best", total - 1: "worst", (total - 1) // 2: "median"}
    different = list(dict.fromkeys([*ranks, *range(total)]))[:count]
    return [(int(order[rank]), f"{words.get(rank, f'number {rank + 1}')} of {total}") for rank in different]


def _compare(
    surrogate: Surrogate, dataset: Dataset, cases: Cases, words: str
) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each channel of the one trajectory in `cases`, or of its bodies."""
    truth, spec = cases.state[0], dataset.spec
    prediction = np.concatenate([truth[:1], predict(surrogate, cases, 0, len(truth) - 1)[0]])
    if spec.has_particles:
        yield (
            "bodies",
            draw_particle_comparison(truth, prediction, cases.time, spec.channel_units, f"bodies, {words}"),
        )
        return
    for index, (name, unit) in enumerate(zip(spec.channels, spec.channel_units, strict=True)):
        channel = Channel(name, unit, spec.axes)
        title = f"{name.replace('_', ' ')}, {words}"
        yield name, draw_comparison(truth[:, index], prediction[:, index], cases.time, channel, title)


def _parameter_values(dataset: Dataset, cases: Cases) -> str:
    """The scalar parameters of the one trajectory in `cases`, with units."""
    values = []
    for parameter in dataset.spec.parameters:
        value = f"{cases.given[parameter.name][0]:.3g} {unit_words(parameter.unit)}".rstrip()
        values.append(f"{label(parameter.name, '1')} {value}")
    return ", ".join(values)


def _save(figure: Figure, path: Path, section: str, caption: str) -> ReportFigure:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    write_whole(path, png.getvalue())
    return ReportFigure(path, section, caption)
