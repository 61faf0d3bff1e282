"""The front matter of a model card: YAML with the keys that hubs of models document.

Source: the model card metadata specification of Hugging Face (huggingface.co/docs/hub/model-cards), with
`model-index` for results. There is no license, because the pipeline knows none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pipeline.evaluation.schema import Metrics

#: The names of the metrics in `model-index`, by the statistic of the headline.
_METRIC = "relative_l2"


def front_matter(
    *, name: str, surrogate: str, solver: str, problem: str, dataset: str, metrics: Metrics | None
) -> str:
    """Return the front matter with its delimiters.

    Args:
        name: the name of the model.
        surrogate: the name of the surrogate.
        solver: the name of the solver of the data.
        problem: the title of the problem, such as `heat conduction in 2-D`.
        dataset: the identity of the data set of the training.
        metrics: the evaluation; None for a model that is not evaluated.
    """
    content: dict[str, Any] = {
        "library_name": "simsurrogate",
        "tags": list(dict.fromkeys(["simsurrogate", "surrogate-model", "physics", solver, surrogate])),
        "datasets": [dataset_name(solver, dataset)],
        "metrics": [_METRIC],
    }
    if metrics is not None and (results := _results(problem, solver, metrics)):
        content["model-index"] = [{"name": name, "results": results}]
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---\n"


def dataset_name(solver: str, identity: str) -> str:
    """Return the name of a data set: its solver and the start of its identity."""
    return f"{solver}-{identity[:12]}"


def _results(problem: str, solver: str, metrics: Metrics) -> list[dict[str, Any]]:
    """Return an entry of `model-index` for each split. Errors that are not finite are left out."""
    entries = []
    for split, result in metrics.splits.items():
        headline = result.headline["surrogate"]
        values = (
            ("Relative L2 error at the end of the rollout, median", headline.rollout_end.median),
            ("Relative L2 error at the end of the rollout, 90 % quantile", headline.rollout_end.q90),
            ("Relative L2 error of one step, median", headline.one_step.median),
        )
        found = [
            {"type": _METRIC, "value": float(f"{value:.6g}"), "name": name}
            for name, value in values
            if value is not None
        ]
        if found:
            entries.append(
                {
                    "task": {"type": "simulation-surrogate", "name": f"Rollout of {problem}"},
                    "dataset": {
                        "type": dataset_name(solver, metrics.dataset),
                        "name": f"{problem}, {result.trajectories} trajectories",
                        "split": split,
                        "revision": metrics.dataset,
                    },
                    "metrics": found,
                }
            )
    return entries
