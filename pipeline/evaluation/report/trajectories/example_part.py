"""The parts with pictures of trajectories: one large picture, then the best, the median and the worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.evaluation.report.part import MapGroup, ReportPart
from pipeline.evaluation.report.trajectories.examples import Example
from pipeline.evaluation.report.trajectories.own_grid import own_grid_maps
from pipeline.evaluation.report.trajectories.pictures import line_figures, map_group, save_comparisons

if TYPE_CHECKING:
    from pipeline.evaluation.report.context import ReportContext

#: Upper bounds of the pixels of maps in the report, which bound its size.
MAX_MAIN_PIXELS = 900_000
MAX_CASE_PIXELS = 900_000
#: The largest numbers of times after the first in the large picture, and in each of the others.
_MAX_MAIN_TIMES, _MAX_CASE_TIMES = 20, 5
#: The order of the cases; others follow.
_CASE_ORDER = ("best", "median", "worst")


def example_part(context: ReportContext, example: Example) -> ReportPart:
    """Return the part with truth, prediction and error of one trajectory, next to the input.

    The picture shows the first channel. `figures` receives a PNG of every channel.
    """
    maps: list[MapGroup] = []
    if not (context.spec.has_particles or context.surrogate.learns_quantities):
        maps.append(
            map_group(
                context.spec,
                example,
                0,
                max_frames=_MAX_MAIN_TIMES,
                max_pixels=MAX_MAIN_PIXELS,
                has_inputs=True,
            )
        )
        save_comparisons(context, example)
        if context.solver and (
            own_grid := own_grid_maps(context.solver, context.dataset, example.split, example.position)
        ):
            maps.append(own_grid)
    return ReportPart(
        "example",
        "Truth and prediction",
        sentences=["This trajectory has the median error: half of the trajectories are predicted better."],
        figures=line_figures(context, example, is_main=True),
        maps=maps,
    )


def cases_part(context: ReportContext, examples: list[Example], anchor: str, title: str) -> ReportPart:
    """Return the part with the best, the median, the worst and other trajectories."""
    order = {name: index for index, name in enumerate(_CASE_ORDER)}
    ordered = sorted(examples, key=lambda example: order.get(example.rank.split()[0], len(order)))
    maps, figures = [], []
    num_channels = len(context.spec.channels)
    num_groups = max(1, len(examples) * num_channels * len(context.metrics.splits))
    has_maps = not (context.spec.has_particles or context.surrogate.learns_quantities)
    for example in ordered:
        if has_maps:
            maps += [
                map_group(
                    context.spec,
                    example,
                    channel,
                    max_frames=_MAX_CASE_TIMES,
                    max_pixels=MAX_CASE_PIXELS // num_groups,
                    has_inputs=False,
                )
                for channel in range(num_channels)
            ]
        figures += line_figures(context, example, is_main=False)
    return ReportPart(anchor, title, figures=figures, maps=maps)
