"""The page docs/studies/hybrid.md, written from the results of a study."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from benchmarks.support import measured_data, studies
from benchmarks.support.markdown import table

#: The names of the methods in the text of the page. `measured` is the reference.
METHODS = {
    "simulation": "simulation only",
    "measured": "measured only",
    "mixed": "mixed",
    "fine-tuned": "pretrained, then fine-tuned",
}

_HEAD = """\
# Measured and simulated data

This page is for people who have few measurements and a simulation. `python -m benchmarks.hybrid` writes it.

The measurements are made by a solver with {finer} times as many cells along each axis. They have noise
({noise:g} K, where the temperatures are about 1 K), gaps ({gaps:.0%} of the values), and a conductivity that
is recorded too low: the true one is {off:g} times as large. The {simulated} simulated trajectories use the
recorded conductivity. Fourier neural operators predict all later frames in one pass from the first frame.
The first frame has no gaps, so missing values are only in the targets of the loss. The error is the relative
L2 error of predictions from measured first frames, against the true temperature: means over test trajectories
and frames, and over {seeds} seeds with their range.

- **simulation only** learns simulated trajectories.
- **measured only** learns measured trajectories.
- **mixed** draws half of each batch from both.
- **pretrained, then fine-tuned** continues the model of simulation only on measured trajectories.

{valid} further measured trajectories select the weights of each training with measured data.

**Saved** is the number of measured trajectories that measured data alone need for the same error, minus the
number in use. It is interpolated between the logarithms of numbers and errors.

## Advice for users

"""


@dataclass(frozen=True)
class Result:
    """The error of one training: `method` is a key of `METHODS`, `count` the number of measured ones."""

    method: str
    count: int
    seed: int
    error: float


def equal_error_count(counts: Sequence[int], errors: Sequence[float], error: float) -> float | None:
    """Return the number of measured trajectories with which measured data alone have an error.

    Numbers and errors are interpolated between their logarithms. An error that rises with the number is noise
    of the training, so an error counts only if all smaller numbers have larger errors. The result is None if
    no number reaches the error, and the smallest number if all reach it.
    """
    smallest = np.minimum.accumulate(np.asarray(errors, dtype=float))
    if error < smallest[-1]:
        return None
    falls = np.append(True, np.diff(smallest) < 0)
    logs = np.log(np.asarray(counts, dtype=float)[falls])
    return float(np.exp(np.interp(-np.log(error), -np.log(smallest[falls]), logs)))


def write(results: Sequence[Result], *, simulated: int, valid: int, place: studies.Place) -> None:
    """Draw the figure, and write the page."""
    counts = sorted({result.count for result in results} - {0})
    path = place.save(_draw(results, counts), "hybrid")
    head = _HEAD.format(
        finer=measured_data.FINER,
        noise=measured_data.NOISE,
        gaps=measured_data.GAPS,
        off=measured_data.OFF,
        simulated=simulated,
        valid=valid,
        seeds=len({result.seed for result in results}),
    )
    columns = ("measured trajectories", "share", *METHODS.values(), "saved, mixed", "saved, fine-tuned")
    lines = [
        head + "".join(f"- {line}\n" for line in _conclusions(results, counts)),
        f"![error against the share of measured data]({path})\n",
        table(columns, [_row(results, counts, count) for count in (0, *counts)]),
        studies.origin(),
    ]
    place.write("hybrid", "\n".join(lines) + "\n")


def _errors(results: Sequence[Result], method: str, count: int) -> list[float]:
    return [result.error for result in results if (result.method, result.count) == (method, count)]


def _row(results: Sequence[Result], counts: Sequence[int], count: int) -> list[str]:
    cells = [str(count), f"{count / counts[-1]:.2g}"]
    for method in METHODS:
        errors = _errors(results, method, count)
        cells.append(studies.mean_and_range(errors, percent=True) if errors else "")
    for method in ("mixed", "fine-tuned"):
        saved = _saved(results, counts, method, count) if count else None
        cells.append("" if saved is None else _count_text(saved, counts[-1] - count))
    return cells


def _needed(results: Sequence[Result], counts: Sequence[int], method: str, count: int) -> float:
    """Return the number of trajectories that measured data alone need for the mean error of a method.

    The result is infinity if no number of the study reaches the error.
    """
    reference = [float(np.mean(_errors(results, "measured", number))) for number in counts]
    needed = equal_error_count(counts, reference, float(np.mean(_errors(results, method, count))))
    return math.inf if needed is None else needed


def _saved(results: Sequence[Result], counts: Sequence[int], method: str, count: int) -> float:
    """Return the number of measured trajectories that a method saves, 0 for none."""
    return max(_needed(results, counts, method, count) - count, 0.0)


def _count_text(saved: float, most: int) -> str:
    """Return a number of saved trajectories in words; the study measures `most` of them at most."""
    return f"more than {most}" if math.isinf(saved) else f"{saved:.0f}" if saved >= 1 else "none"


def _conclusions(results: Sequence[Result], counts: Sequence[int]) -> Iterator[str]:
    """Yield a sentence about simulated data alone, and one about each method that uses both."""
    error = studies.mean_and_range(_errors(results, "simulation", 0), percent=True)
    needed = _needed(results, counts, "simulation", 0)
    if math.isinf(needed):
        text = f"{counts[-1]} measured trajectories alone do not reach it"
    elif needed <= counts[0]:
        text = f"{counts[0]} measured trajectories alone reach it"
    else:
        text = f"measured data alone need {needed:.0f} trajectories for it"
    yield f"Simulated data alone have an error of {error}; {text}."
    for method in ("mixed", "fine-tuned"):
        texts = [
            f"{_count_text(_saved(results, counts, method, count), counts[-1] - count)} with {count}"
            for count in counts
        ]
        yield f"Measured trajectories saved, {METHODS[method]}: {', '.join(texts)}."


def _draw(results: Sequence[Result], counts: Sequence[int]) -> Figure:
    """Draw the error against the number of measured trajectories: means (lines) and seeds (dots)."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for index, (method, title) in enumerate(METHODS.items()):
        colour = f"C{index}"
        if method == "simulation":
            error = float(np.mean(_errors(results, method, 0)))
            axes.axhline(error, color=colour, linestyle=":", label=title)
            continue
        means = [np.mean(_errors(results, method, count)) for count in counts]
        axes.loglog(counts, means, color=colour, label=title)
        for count in counts:
            errors = _errors(results, method, count)
            axes.plot([count] * len(errors), errors, "o", color=colour, markersize=4)
    axes.set(xlabel="measured trajectories", ylabel="relative L2 error")
    axes.set_xticks(counts, [f"{count}\n{count / counts[-1]:.0%}" for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_minor_formatter(PercentFormatter(1, decimals=0))
    axes.legend()
    return figure
