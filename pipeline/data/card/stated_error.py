"""The section of the data card on the self-stated error, which `validate` adds to the card."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.accuracy import ErrorOverTime, SelfStatedError
from pipeline.data.card.sections import write_section
from pipeline.data.manifest import Manifest


def write(card: Path, manifest: Manifest, stated_error: SelfStatedError) -> None:
    """Write the section into the data card."""
    write_section(card, "Self-stated error", section(manifest, stated_error))


def section(manifest: Manifest, stated_error: SelfStatedError) -> str:
    """Return the content of the section in Markdown."""
    duration = float(manifest.header.times[-1])
    headings = [
        "split",
        "field",
        "kind",
        f"median at {duration:g} s",
        "worst",
        "median of the largest",
        "worst",
    ]
    rows = [
        [split, field, kind, *_cells(error)]
        for split, fields in stated_error.splits.items()
        for field, errors in fields.items()
        for kind, error in (("space", errors.space), ("time", errors.time))
        if error is not None
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in [headings, ["---"] * len(headings), *rows])
    counts = ", ".join(f"{count} of {split}" for split, count in stated_error.trajectories.items())
    frames = (
        " Frames beyond the predictable time do not count, and the last frame is the last one that counts."
        if stated_error.frames == "predictable"
        else ""
    )
    return (
        f"The error of each field relative to its norm in the frame, from {counts} that were "
        f"solved again more accurately: at the last frame, and the largest over time.{frames}\n\n"
        f"- Error in space: {stated_error.space}.\n- Error in time: {stated_error.time}.\n\n{table}"
    )


def _cells(error: ErrorOverTime) -> list[str]:
    values = (error.last_median, error.last_worst, error.largest_median, error.largest_worst)
    return [_percent(value) for value in values]


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %"
