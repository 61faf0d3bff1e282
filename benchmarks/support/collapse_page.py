"""The page docs/studies/collapse.md, written from the measurements of a study."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.support import studies
from benchmarks.support.generations import POLICIES, Measurement
from benchmarks.support.markdown import table

#: A change of the error by less than this factor is within the differences between seeds.
_NOTABLE = 1.2

_HEAD = """\
# Model collapse of surrogates

This page is for people who train a surrogate on the output of another surrogate. `python -m
benchmarks.collapse.surrogates` writes it. The [small cases](../performance.md) of the literature, linear
regression and the fit of a Gaussian, are reproduced by `python -m benchmarks.collapse.small_cases`.

The surrogate of generation 1 learns trajectories of the solver. Each later generation starts from random
weights and learns rollouts of the generation before it. The initial states of the rollouts are new draws from
the solver's distribution. All generations are compared with the solver, on test trajectories of the solver.

| policy | training data of generation n | training steps |
| --- | --- | --- |
| replace | rollouts of generation n - 1 | constant |
| accumulate | the solver's data, and rollouts of generations 1 to n - 1 | n times those of generation 1 |
| accumulate, fixed budget | the same | constant |
| replace, verified | rollouts of generation n - 1 whose residual under the equation is small | constant |

- **error**: relative L2 error of rollouts, mean over trajectories, frames and fields.
- **small scales**: energy in the upper third of the wave numbers at the end, over that of the solver.
- **variance**: variance of the states over the trajectories at the end, over that of the solver.

With accumulate, each generation also trains longer, which lowers the error by itself: compare its later
generations with each other. Numbers are means over {seeds} seeds, with their range.
"""

_REMEDY = """
Keep the solver's data in every training, and give rollouts a place of their own in a mixture:
`dataset=[runs/solver/dataset,runs/rollouts/dataset]`. `train` refuses output of models until you type
`lineage.max_model_share` and `lineage.max_generation`; the model card then says so.
"""


def read_measurements(folder: Path) -> list[Measurement]:
    """Return all measurements in a study folder. The first generation counts for all policies."""
    found = [Measurement(**json.loads(path.read_text())) for path in sorted(folder.rglob("measurement.json"))]
    return [
        copy
        for measurement in found
        for copy in (
            [dataclasses.replace(measurement, policy=policy) for policy in POLICIES]
            if measurement.generation == 1
            else [measurement]
        )
    ]


def write(measurements: Sequence[Measurement], titles: Mapping[str, str], place: studies.Place) -> None:
    """Draw the figures, and write the page."""
    seeds = len({measurement.seed for measurement in measurements})
    sections = [_HEAD.format(seeds=seeds), "## Advice for users\n", *_advice(measurements, titles)]
    for system, title in titles.items():
        own = [measurement for measurement in measurements if measurement.system == system]
        path = place.save(draw(own, title), f"collapse-{system}")
        sections += [
            f"## {title.capitalize()}\n",
            f"![error, small scales, variance and spectra: {title}]({path})\n",
            table(
                ("policy", "generation", "error", "small scales", "variance", "kept", "remark"), _rows(own)
            ),
        ]
    place.write("collapse", "\n".join([*sections, studies.origin()]) + "\n")


def _rows(own: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """Return the rows of the first and the last generation of each policy."""
    rows = []
    for key, policy in POLICIES.items():
        line = [measurement for measurement in own if measurement.policy == key]
        for generation in (1, max(measurement.generation for measurement in line)):
            at = [measurement for measurement in line if measurement.generation == generation]
            remarks = {measurement.remark for measurement in at} - {""}
            rows.append(
                (
                    policy.title,
                    str(generation),
                    _cell(at, "error", percent=True),
                    _cell(at, "small_scales"),
                    _cell(at, "variance"),
                    _cell(at, "kept", percent=True),
                    "; ".join(sorted(remarks)),
                )
            )
    return rows


def _cell(at: Sequence[Measurement], name: str, percent: bool = False) -> str:
    values = [value for measurement in at if (value := getattr(measurement, name)) is not None]
    return studies.mean_and_range(values, percent) if values else ""


def growth(measurements: Sequence[Measurement], system: str, policy: str) -> list[float]:
    """Return the error of the last generation over that of the first, for each seed."""
    ratios = []
    for seed in sorted({measurement.seed for measurement in measurements}):
        errors = {
            measurement.generation: measurement.error
            for measurement in measurements
            if (measurement.system, measurement.policy, measurement.seed) == (system, policy, seed)
        }
        first, last = errors.get(1), errors[max(errors)] if errors else None
        # A generation without surrogate has no error: its line has collapsed.
        ratios.append(np.inf if first is None or last is None else last / first)
    return ratios


def _advice(measurements: Sequence[Measurement], titles: Mapping[str, str]) -> list[str]:
    """Return the growth of the error under each policy, and the advice that follows from it."""
    lines = []
    for key, policy in POLICIES.items():
        parts = []
        for system, title in titles.items():
            ratios = growth(measurements, system, key)
            if np.isinf(ratios).any():
                parts.append(f"ends without a surrogate for {title}")
            elif np.mean(ratios) > _NOTABLE:
                parts.append(f"multiplies the error by {studies.mean_and_range(ratios)} for {title}")
            else:
                parts.append(f"keeps the error for {title} (factor {studies.mean_and_range(ratios)})")
        lines.append(f"- **{policy.title}** {', and '.join(parts)}.")
    for key, name in (
        ("accumulate", "Keeping the solver's data and all rollouts"),
        ("fixed-budget", "Keeping them without more training steps"),
        ("verified", "Verifying rollouts by the residual"),
    ):
        better = [
            title
            for system, title in titles.items()
            if np.mean(growth(measurements, system, key)) < np.mean(growth(measurements, system, "replace"))
        ]
        effect = (
            f"is better than replace for {' and '.join(better)}" if better else "is not better than replace"
        )
        lines.append(f"- {name} {effect}.")
    return [*lines, _REMEDY]


def draw(own: Sequence[Measurement], title: str) -> Figure:
    """Draw each quantity against the generation, and the spectra of the last one.

    A line is the mean of the seeds, and a dot is a seed.
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    *panels, spectra = figure.subplots(2, 2).flat
    labels = ("relative L2 error of rollouts", "energy of small scales, over solver", "variance, over solver")
    for axes, name, label in zip(panels, ("error", "small_scales", "variance"), labels, strict=True):
        for index, (key, policy) in enumerate(POLICIES.items()):
            points = [
                (measurement.generation, getattr(measurement, name))
                for measurement in own
                if measurement.policy == key and getattr(measurement, name) is not None
            ]
            generations = sorted({generation for generation, _ in points})
            means = [
                np.mean([value for at, value in points if at == generation]) for generation in generations
            ]
            axes.plot(generations, means, color=f"C{index}", label=policy.title)
            axes.plot(*np.array(points).T, "o", color=f"C{index}", markersize=3)
        axes.set(xlabel="generation", ylabel=label)
        axes.set_yscale("log")
        if name != "error":
            axes.axhline(1, color="grey", linestyle=":", linewidth=1)
    _draw_spectra(spectra, own)
    panels[0].legend(fontsize="small")
    figure.suptitle(title)
    return figure


def _draw_spectra(axes: Axes, own: Sequence[Measurement]) -> None:
    """Draw the spectrum over that of the solver, of the first generation and of the last of each policy."""
    first = [measurement.spectrum for measurement in own if measurement.generation == 1]
    lines = [("generation 1", "black", first)]
    for index, (key, policy) in enumerate(POLICIES.items()):
        with_spectra = [item for item in own if item.policy == key and item.spectrum is not None]
        last = max(item.generation for item in with_spectra)
        spectra = [item.spectrum for item in with_spectra if item.generation == last]
        lines.append((f"{policy.title}, generation {last}", f"C{index}", spectra))
    for label, colour, spectra in lines:
        ratios = np.mean(np.array(spectra, dtype=float), axis=0)
        axes.plot(np.arange(1, len(ratios) + 1), ratios, color=colour, label=label)
    axes.axhline(1, color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="waves along an axis", ylabel="energy at the end, over solver", yscale="log")
    axes.legend(fontsize="small")
