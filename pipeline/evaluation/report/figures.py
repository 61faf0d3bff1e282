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
from pipeline.evaluation.report.own_grid import draw_own_grid
from pipeline.evaluation.words import percent
from pipeline.plots.comparison import Channel, draw_comparison, label, unit_words
from pipeline.plots.curves import draw_errors, draw_invariants, draw_training, read_log
from pipeline.plots.particles import draw_comparison as draw_particle_comparison
from pipeline.plots.worth import draw_worth
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole
from surrogates import store

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from pipeline.evaluation.schema import Metrics, SplitResult
    from pipeline.evaluation.worth_result import WorthResult
    from solvers.contract import Solver
    from surrogates.contract import Surrogate

_DPI = 110


@dataclass(frozen=True)
class ReportFigure:
    """A PNG file; `section` is the name of a split, `worth` or `training`."""

    path: Path
    section: str
    caption: str


def draw(
    folder: Path,
    surrogate: Surrogate,
    dataset: Dataset,
    metrics: Metrics,
    num_trajectories: int,
    *,
    solver: Solver | None,
) -> list[ReportFigure]:
    """Draw the worth, then errors, invariants and `num_trajectories` comparisons of each split; return all.

    With a `solver` of coarse data, the median test trajectory is also drawn on the solver's own grid. The
    last figures show the training from log.csv of the model or of the members. The model folder is two
    folders above `folder`.
    """
    report_figures = []
    if metrics.worth is not None:
        report_figures.append(_worth_figure(folder, metrics.surrogate, metrics.worth))
    if solver and "test" in metrics.splits and not surrogate.learns_quantities:
        for index, _ in chosen_trajectories(metrics.splits["test"], min(num_trajectories, 1)):
            if drawn := draw_own_grid(solver, dataset, "test", index):
                report_figures.append(_save(drawn[0], folder / "own-grid.png", "worth", drawn[1]))
    for split, result in metrics.splits.items():
        times = metrics.time
        figure = draw_errors(result.errors, times[1:], metrics.fields, metrics.surrogate)
        caption = "Relative L2 error over time: median (line) and 10 to 90 % of the trajectories (band)."
        report_figures.append(_save(figure, folder / f"{split}-errors.png", split, caption))
        if dataset.spec.frame_invariants:
            figure = draw_invariants(result.invariants, times, dataset.spec.frame_invariants)
            caption = (
                "Distance between the invariants of predicted and true states over time: median (line) and "
                "10 to 90 % of the trajectories (band); dashed: size in the truth."
            )
            report_figures.append(_save(figure, folder / f"{split}-invariants.png", split, caption))
        for index, rank in chosen_trajectories(
            result, 0 if surrogate.learns_quantities else num_trajectories
        ):
            cases = load(dataset, split, [index])
            error = percent(result.by_trajectory.rollout_end[index])
            caption = f"Trajectory {index} ({rank}): relative L2 error {error} at the end of the rollout."
            for name, figure in _comparison_figures(surrogate, dataset, cases, f"{rank} by error"):
                path = folder / f"{split}-{index:05d}-{name}.png"
                report_figures.append(
                    _save(figure, path, split, f"{caption} {_parameter_values(dataset, cases)}")
                )
    model_folder = folder.parent.parent
    # The model lists its members, because a smaller ensemble keeps the folders of former members.
    members = [store.member_folder(model_folder, index) for index in range(store.num_members(model_folder))]
    for log_folder in members or [model_folder]:
        if not (log_folder / "log.csv").exists():
            continue
        try:
            log = read_log(log_folder / "log.csv")
        except UserError as error:
            print(f"note: the report has no figure of the training. {error}", flush=True)
            continue
        member_text = "" if log_folder == model_folder else f", {log_folder.name}"
        caption = f"Loss on the training batches and error on the validation split{member_text}."
        path = folder / f"training{member_text.replace(', ', '-')}.png"
        report_figures.append(_save(draw_training(log), path, "training", caption))
    return report_figures


def chosen_trajectories(result: SplitResult, count: int) -> list[tuple[int, str]]:
    """Return the indices of `count` trajectories, with the ranks of their rollouts in words.

    The order is the median, the worst and the best trajectory, then trajectories of evenly spaced ranks.
    """
    errors = [np.inf if error is None else error for error in result.by_trajectory.rollout_end]
    order = np.argsort(errors, kind="stable")
    total = len(order)
    count = min(count, total)
    ranks = [(total - 1) // 2, total - 1, 0]
    ranks += np.linspace(0, total - 1, max(count - 1, 2)).round().astype(int).tolist()
    rank_names = {0: "best", total - 1: "worst", (total - 1) // 2: "median"}
    distinct_ranks = list(dict.fromkeys([*ranks, *range(total)]))[:count]
    return [
        (int(order[rank]), f"{rank_names.get(rank, f'number {rank + 1}')} of {total}")
        for rank in distinct_ranks
    ]


def _worth_figure(folder: Path, surrogate: str, worth: WorthResult) -> ReportFigure:
    *settings, _ = worth.settings
    times = worth.surrogate
    figure = draw_worth(
        [(setting.seconds, setting.error) for setting in settings],
        (times.query_seconds, times.error),
        (times.batch_seconds, times.error),
        surrogate,
        times.batch_size,
    )
    caption = (
        f"Time and error of the solver and of the surrogate on one thread of {worth.processor}: medians over "
        f"{len(worth.trajectories)} trajectories. Errors are relative to the reference, {worth.reference}."
    )
    return _save(figure, folder / "worth.png", "worth", caption)


def _comparison_figures(
    surrogate: Surrogate, dataset: Dataset, cases: Cases, rank: str
) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each channel of the single trajectory in `cases`, or of its bodies."""
    truth, spec = cases.state[0], dataset.spec
    prediction = np.concatenate([truth[:1], predict(surrogate, cases, 0, len(truth) - 1)[0]])
    if spec.has_particles:
        yield (
            "bodies",
            draw_particle_comparison(truth, prediction, cases.time, spec.channel_units, f"bodies, {rank}"),
        )
        return
    for index, (name, unit) in enumerate(zip(spec.channels, spec.channel_units, strict=True)):
        channel = Channel(name, unit, spec.axes)
        title = f"{name.replace('_', ' ')}, {rank}"
        yield name, draw_comparison(truth[:, index], prediction[:, index], cases.time, channel, title)


def _parameter_values(dataset: Dataset, cases: Cases) -> str:
    """Return the scalar parameters of the single trajectory in `cases`, with units."""
    values = []
    for parameter in dataset.spec.parameters:
        value = f"{cases.inputs[parameter.name][0]:.3g} {unit_words(parameter.unit)}".rstrip()
        values.append(f"{label(parameter.name, '1')} {value}")
    return ", ".join(values)


def _save(figure: Figure, path: Path, section: str, caption: str) -> ReportFigure:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    write_whole(path, png.getvalue())
    return ReportFigure(path, section, caption)
