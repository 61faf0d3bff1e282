"""Data sets of heat conduction in a rod that `adopt` makes out of arrays, with or without a planted fault."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np

from pipeline import adopt, validate
from pipeline.config.settings import Settings
from pipeline.data.card import figures
from pipeline.data.manifest import read_document
from pipeline.data.validation import CheckRecord, Validation
from simsurrogate.errors import UserError
from tests.support.in_process import settings_of

STEP, CELLS, FRAMES = 0.1, 24, 8
#: The trajectories of the splits train, valid and test, in the order of the arrays; 8 of them are a shard.
NUM_TRAIN, NUM_VALID, NUM_TEST = 32, 8, 8
NUM_TRAJECTORIES = NUM_TRAIN + NUM_VALID + NUM_TEST

DESCRIPTION = """
fields: {u: {unit: K}}
axes: {x: {unit: m, extent: 1.0, boundary: periodic}}
times: {unit: s, step: 0.1}
parameters: {nu: {unit: m^2/s, low: 0.005, high: 0.01}}
in_place: true
splits: {train: 32, valid: 8, test: 8}
"""


def temperatures(
    num_trajectories: int = NUM_TRAJECTORIES, frames: int = FRAMES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return temperatures near 300 K (N, T, X) in a periodic rod, and the diffusivities (N,).

    The exact solution of u_t = nu u_xx for random initial amplitudes of four waves.
    """
    rng = np.random.default_rng(seed)
    diffusivity = rng.uniform(0.005, 0.01, num_trajectories)
    points, times = (np.arange(CELLS) + 0.5) / CELLS, STEP * np.arange(frames)
    states = np.full((num_trajectories, frames, CELLS), 300.0)
    for wave in range(1, 5):
        number = 2 * np.pi * wave
        decay = np.exp(-diffusivity[:, None, None] * number**2 * times[:, None])
        for function in (np.sin, np.cos):
            amplitude = rng.normal(size=num_trajectories)[:, None, None]
            states += amplitude * decay * function(number * points)
    return states.astype(np.float32), diffusivity


@cache
def _settings() -> Settings:
    """Return the default settings, whose composition takes longer than a validation."""
    return settings_of(Path("run"))


def validation_of(
    folder: Path, states: np.ndarray, diffusivity: np.ndarray, media: np.ndarray | None = None
) -> dict[str, CheckRecord]:
    """Return the worst record of each check by its name, for a data set of these arrays.

    `media` (N, X) is a coefficient field.
    """
    source, run, description = folder / "source", folder / "run", DESCRIPTION
    source.mkdir()
    np.save(source / "u.npy", states)
    np.save(source / "nu.npy", diffusivity)
    if media is not None:
        np.save(source / "k.npy", media)
        description = description.replace("fields: {", "fields: {k: {unit: W/m/K}, ")
    (folder / "adopt.yaml").write_text(description)
    settings = _settings().model_copy(update={"run": run, "dataset": run / "dataset"})
    paths = {"source": source, "description": folder / "adopt.yaml"}
    with mock.patch.object(figures, "draw", return_value=[]):
        adopt.run(settings.model_copy(update=paths))
    with suppress(UserError):
        validate.run(settings)
    document = read_document(run / "dataset" / "validation.json", Validation)
    assert document.outcome == ("failed" if document.failed_checks else "passed")
    # Of several records of a check, the first has the worst outcome.
    return {record.check: record for record in reversed(document.results)}


def failed(records: dict[str, CheckRecord]) -> list[str]:
    """Return the names of the failed checks."""
    return sorted(name for name, record in records.items() if record.outcome == "failed")


def warned(records: dict[str, CheckRecord]) -> list[str]:
    """Return the names of the checks with a warning."""
    return sorted(name for name, record in records.items() if record.outcome == "warning")
