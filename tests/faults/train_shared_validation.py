"""The train stage, with the printed number of trajectories that each rank predicts with the ensemble."""

from __future__ import annotations

from typing import Any

from pipeline import cli, train
from surrogates.deep_ensemble import Ensemble

original_predict = Ensemble._predict
num_predicted: list[int] = []


def predict_and_count(self: Ensemble, initial_state: Any, *arguments: Any) -> Any:
    """Predict, and count the trajectories."""
    num_predicted.append(len(initial_state))
    return original_predict(self, initial_state, *arguments)


if __name__ == "__main__":
    Ensemble._predict = predict_and_count  # type: ignore[method-assign]
    cli.main(train.run)
    print(f"predicted {sum(num_predicted)}\n", end="", flush=True)
