"""A training in this process that a failure of the power ends, and that is started again."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline.training import loop
from tests.support.trainings.training_cases import train_model


def resumed_model(folder: Path, dataset: Path, *overrides: str, failed_step: int) -> Path:
    """Return the model folder after a tiny training that fails at a step, and is started again."""
    original_step = loop.train_step

    def failing_step(*arguments: object) -> tuple[float, float]:
        if arguments[2].step == failed_step:  # type: ignore[attr-defined]
            raise RuntimeError("the power failed")
        return original_step(*arguments)  # type: ignore[arg-type]

    with patch.object(loop, "train_step", failing_step), pytest.raises(RuntimeError, match="power"):
        train_model(folder, dataset, *overrides)
    return train_model(folder, dataset, *overrides)
