"""The report's pictures as PNG files, with the words that stand below them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from pipeline.evaluation.measure import Cases, load, predict
from pipeline.evaluation.results import percent
from pipeline.plots.comparison import Channel, draw_comparison, label, unit_words
from pipeline.plots.curves import draw_errors, draw_invariants, draw_training, read_log
from pipeline.plots.particle_comparison import draw_bodies
from simsurrogate.files import write_whole
from surrogates import store

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from surrogates.contract import Surrogate

_DPI = 110


@dataclass(frozen=True)
class Picture:
    """A PNG file; `section` is a split's name, or `training`."""

    path: Path
    section: str
    caption: str


def draw(
    folder: Path, surrogate: Surrogate, dataset: Dataset, results: dict[str, Any], num_trajectories: int
) -> list[Picture]:
    """Draws, for each split, the error over time, that of the invariants, and `num_trajectories`
    comparisons; then the training.

    `results` is the content of metrics.json; the training's log.csv, and those of an ensemble's members,
    are looked for two folders up.
    """
    drawn = []
    for split in results["splits"]:
        figure = draw_errors(results, split, results["surrogate"])
        caption = "Relative L2 error over time: median (line) and 10 to 90 % of the trajectories (band)."
        drawn.append(_save(figure, folder / f"{split}-errors.png", split, caption))
        if dataset.spec.invariants:
            figure = draw_invariants(results, split, dataset.spec.invariants)
            caption = (
                "Invariants of the predicted states beside those of the true ones: their distance over time, "
                "median (line) and 10 to 90 % of the trajectories (band); dashed, the size in the truth."
            )
            drawn.append(_save(figure, folder / f"{split}-invariants.png", split, caption))
        for number, place in chosen_trajectories(results["splits"][split], num_trajectories):
            cases = load(dataset, split, [number])
            error = percent(results["splits"][split]["by_trajectory"]["roll_out_end"][number])
            caption = f"Trajectory {number} ({place}): relative L2 error {error} at the end of the roll-out."
            for name, figure in _compare(surrogate, dataset, cases, f"{place} by error"):
                path = folder / f"{split}-{number:05d}-{name}.png"
                drawn.append(_save(figure, path, split, f"{caption} {_values(dataset, cases)}"))
    model = folder.parent.parent
    # Those that the model counts: an ensemble that has shrunk leaves folders behind.
    members = [store.member_folder(model, number) for number in range(store.num_members(model))]
    for trained in members or [model]:
        if not (trained / "log.csv").is_file():
            continue
        member = "" if trained == model else f", {trained.name}"
        caption = f"Loss on the training batches and error on the validation split{member}."
        path = folder / f"training{member.replace(', ', '-')}.png"
        drawn.append(_save(draw_training(read_log(trained / "log.csv")), path, "training", caption))
    return drawn


def chosen_trajectories(found: dict[str, Any], count: int) -> list[tuple[int, str]]:
    """Trajectories by their place in the split, with words on how good their roll-outs are: the median
    one, then the worst and the best, then evenly between.
    """
    errors = [np.inf if error is None else error for error in found["by_trajectory"]["roll_out_end"]]
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
    """The name and the figure of each channel of the one trajectory in `cases`, or of its bodies."""
    truth = cases.state[0]
    prediction = np.concatenate([truth[:1], predict(surrogate, cases, 0, len(truth) - 1)[0]])
    if surrogate.problem.spec.has_particles:
        yield (
            "bodies",
            draw_bodies(truth, prediction, cases.time, dataset.spec.channel_units, f"bodies, {words}"),
        )
        return
    for place, (name, unit) in enumerate(zip(dataset.spec.channels, dataset.spec.channel_units, strict=True)):
        channel = Channel(name, unit, dataset.spec.axes)
        title = f"{name.replace('_', ' ')}, {words}"
        yield name, draw_comparison(truth[:, place], prediction[:, place], cases.time, channel, title)


def _values(dataset: Dataset, cases: Cases) -> str:
    """The scalar parameters of the one trajectory in `cases`, with units."""
    named = ((parameter, cases.parameters[parameter.name][0]) for parameter in dataset.spec.parameters)
    return ", ".join(
        f"{label(one.name, '1')} {value:.3g} {unit_words(one.unit)}".rstrip() for one, value in named
    )


def _save(figure: Figure, path: Path, section: str, caption: str) -> Picture:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    write_whole(path, drawn.getvalue())
    return Picture(path, section, caption)
