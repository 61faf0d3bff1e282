"""The train stage; each rank prints the number of its predictions of trajectories with the ensemble."""

from __future__ import annotations

from typing import Any

from pipeline import cli, train
from surrogates.deep_ensemble import Ensemble

original = Ensemble._predict
num_predicted: list[int] = []


def counted_predict(self: Ensemble, initial_state: Any, *arguments: Any) -> Any:
    """Count the trajectories of a prediction."""
    num_predicted.append(len(initial_state))
    return original(self, initial_state, *arguments)


if __name__ == "__main__":
    Ensemble._predict = counted_predict  # type: ignore[method-assign]
    cli.main(train.run)
    print(f"predicted {sum(num_predicted)}\n", end="", flush=True)
