"""The parts with pictures of trajectories: one large picture, then the best, the median and the worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.evaluation.report.part import MapGroup, PartFigure, ReportPart
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


def example_part(context: ReportContext, example: Example, figures: Sequence[PartFigure]) -> ReportPart:
    """Return the part with truth, prediction and error of one trajectory, next to the input.

    The picture shows the first channel. The folder of the figures receives PNG files for use elsewhere.

    Args:
        context: the evaluated model.
        example: the trajectory.
        figures: the figures of lines of the trajectory and its input.
    """
    save_comparisons(context, example)
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
        if context.solver and (
            own_grid := own_grid_maps(context.solver, context.dataset, example.split, example.position)
        ):
            maps.append(own_grid)
    return ReportPart(
        "example",
        "Truth and prediction",
        sentences=["This trajectory has the median error: half of the trajectories are predicted better."],
        figures=figures,
        maps=maps,
    )


def cases_part(
    context: ReportContext,
    examples: Sequence[Example],
    anchor: str,
    title: str,
    median_figures: Sequence[PartFigure] | None = None,
) -> ReportPart | None:
    """Return the part with the best, the median, the worst and other trajectories.

    The result is None if the only picture would repeat that of `example_part`.

    Args:
        context: the evaluated model.
        examples: the trajectories, the median first.
        anchor: the name of the part in addresses.
        title: the heading.
        median_figures: the figures of lines of the median trajectory, if they were drawn before.
    """
    is_repeated = median_figures is not None and len(examples) == 1 and len(context.spec.channels) == 1
    if not examples or is_repeated:
        return None
    order = {name: index for index, name in enumerate(_CASE_ORDER)}
    ordered = sorted(examples, key=lambda example: order.get(example.rank.split()[0], len(order)))
    maps: list[MapGroup] = []
    figures: list[PartFigure] = []
    num_channels = len(context.spec.channels)
    num_groups = len(examples) * num_channels * len(context.metrics.splits)
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
        if median_figures is not None and example is examples[0]:
            figures += median_figures
        else:
            figures += line_figures(context, example)
    return ReportPart(anchor, title, figures=figures, maps=maps)
