"""The model card, written by train and completed by evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.config.overrides import typed
from pipeline.config.titles import problem_title, title_of
from pipeline.data.lineage import guard
from pipeline.data.lineage.family import origin_texts
from pipeline.data.plan import SPLITS
from pipeline.evaluation.intervals.words import confidence_sentences, interval_sentences
from pipeline.evaluation.model_card.front_matter import dataset_name, front_matter
from pipeline.evaluation.report.data_error import data_errors, error_text
from pipeline.evaluation.report.verdict import verdict_of
from pipeline.evaluation.trained_model import is_trained_on
from pipeline.evaluation.words import end_percent, interval_text, percent, verdict
from pipeline.evaluation.worth_words import worth_verdict
from pipeline.plots.labels import rounded_text, unit_words
from pipeline.runs import provenance
from pipeline.runs.model_family import family_of_model
from simsurrogate.files import write_whole
from surrogates import store
from surrogates.description import recorded_problem

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from pipeline.data.lineage.family import Family, ModelNode
    from pipeline.evaluation.schema import Metrics
    from pipeline.runs.folder import RunFolder
    from simsurrogate.spec import Spec
    from surrogates.contract import Problem


def write(
    folder: RunFolder,
    dataset: Dataset,
    metrics: Metrics | None = None,
    warnings: Sequence[str] = (),
) -> None:
    """Write `README.md` next to the weights; the file appears under its name only when it is whole.

    Args:
        folder: the paths of the run and of the model.
        dataset: the data set of the training or, with `metrics`, of the evaluation.
        metrics: the evaluation; None for a model that is not evaluated.
        warnings: the warnings of the evaluation.
    """
    model = store.description(folder.model_folder)
    solver = str(dataset.configuration["solver"]["name"])
    trained = recorded_problem(model)
    problem = problem_title(solver, trained.spec)
    configuration = model["configuration"]
    members = store.num_members(folder.model_folder)
    title = f"{title_of('surrogate', model['surrogate'])} for {problem}"
    if members:
        title = f"Ensemble of {members}: {title}"
    family = family_of_model(folder.model_folder)
    own_node = family.models[model["sha256"]]
    statement = guard.sentence(own_node)
    sections = [
        *([f"**{statement}**\n"] if statement else []),
        f"# {title}\n",
        *_summary(metrics, warnings),
        _use(trained.spec),
        _data(dataset, trained, configuration, solver) + _origins(family, own_node),
        _evaluation(folder, metrics),
        _limits(trained),
        _training(folder, dataset, model),
    ]
    content = front_matter(
        name=folder.model,
        surrogate=model["surrogate"],
        solver=solver,
        problem=problem,
        dataset=configuration["dataset"],
        metrics=metrics,
    )
    write_whole(folder.model_card, content + "\n" + "\n".join(sections))


def _summary(metrics: Metrics | None, warnings: Sequence[str]) -> list[str]:
    """Return the verdict and the warnings of the evaluation."""
    if metrics is None:
        return []
    result = verdict_of(metrics)
    lines = [f"**{result.words}.** {result.sentence}\n"]
    if warnings:
        lines.append("\n".join(f"- Warning: {warning}" for warning in warnings) + "\n")
    return lines


def _use(spec: Spec) -> str:
    """Return the section on loading the model."""
    inputs = [*spec.coefficient_channels, *spec.parameter_names]
    names = ", ".join(f'"{name}": ...' for name in inputs)
    return (
        "## Use\n\n```python\nimport simsurrogate\n\n"
        'surrogate = simsurrogate.load(".")  # the folder of this file\n'
        f"prediction = surrogate.predict(initial_state, {{{names}}}, times)\n```\n\n"
        f"The initial state has the channels {', '.join(spec.channels)}, in physical units.\n"
    )


def _data(dataset: Dataset, trained: Problem, configuration: Mapping[str, Any], solver: str) -> str:
    """Return the section on the data of the training, and their own error unless `dataset` is another one."""
    spec = trained.spec
    has_training_data = is_trained_on(configuration, dataset)
    counts = (configuration.get("data") or {}).get("trajectories") or {
        split: dataset.num_trajectories(split) for split in SPLITS if has_training_data
    }
    trained_on = configuration["dataset"]
    lines = [
        f"- data set: `{dataset_name(solver, trained_on)}`, SHA-256 `{trained_on}`",
        f"- equation: `{spec.equation or 'not stated'}`",
    ]
    if mixture := configuration.get("mixture"):
        lines.append(f"- {mixture_text(mixture)}")
    if counts:
        texts = [f"{count} {split}" for split, count in counts.items() if count]
        lines.append(f"- trajectories: {', '.join(texts)}")
    lines.append(f"- frames: every {trained.time_step:g} s, up to {trained.duration:g} s")
    data_error = data_errors(dataset) if has_training_data else {}
    for split in ("train", "test_extrapolation"):
        if split in data_error:
            texts = [
                f"{field.replace('_', ' ')} {error_text(error, dataset.times.tolist())}"
                for field, error in data_error[split].items()
            ]
            source = next(iter(data_error[split].values())).source
            title = f"error of the data themselves, {split.replace('_', ' ')}"
            lines.append(f"- {title}: {', '.join(texts)}, {source}")
    return "## Data\n\n" + "\n".join(lines) + "\n"


def _origins(family: Family, model: ModelNode) -> str:
    """Return the lines on the origin of the data of the training, and on the generation of the model."""
    lines = [f"- generation: {model.generation}"]
    for identity in model.data:
        texts = origin_texts(family, identity)
        lines += [f"- origin of {identity[:12]}: {text}" for text in texts]
    return "\n".join(lines) + "\n"


def mixture_text(mixture: Mapping[str, Any]) -> str:
    """Return the data sets of a mixture and their shares in the batches, in words."""
    shares = [
        ", ".join(f"{share:.3g}" for share in mixture[key])
        for key in ("weights", "final_weights")
        if key in mixture
    ]
    names = ", ".join(f"`{identity}`" for identity in mixture["datasets"])
    text = f"mixture of {len(mixture['datasets'])} data sets, SHA-256 {names}, shares {' -> '.join(shares)}"
    return f"{text} ({mixture['schedule']})" if "schedule" in mixture else text


def _evaluation(folder: RunFolder, metrics: Metrics | None) -> str:
    """Return the section with the errors of the surrogate and of the baselines, and the worth."""
    if metrics is None:
        command = f"python -m pipeline.evaluate {typed('run', folder.path)} model={folder.model}"
        return f"## Evaluation\n\nThis model is not evaluated. Type `{command}`.\n"
    lines = [f"## Evaluation\n\nData set: SHA-256 `{metrics.dataset}`.\n"]
    for split, result in metrics.splits.items():
        rows = [
            (
                f"**{metrics.surrogate}**" if predictor == "surrogate" else predictor,
                percent(headline.one_step.median),
                end_percent(result, headline.rollout_end.median),
                interval_text(interval) if (interval := headline.rollout_end_interval) else "",
                end_percent(result, headline.rollout_end.q90),
                end_percent(result, headline.rollout_end.max),
            )
            for predictor, headline in result.headline.items()
        ]
        headings = (
            "", "one step, median", "end of rollout, median", "95 % interval", "90 % quantile", "worst"
        )  # fmt: skip
        lines += [
            f"Relative L2 error on {result.trajectories} trajectories of the split {split}. The interval is "
            "that of the median over the trajectories, by bootstrap:\n",
            _table(headings, rows),
            f"{verdict(metrics, split)}\n",
        ]
    if metrics.worth is not None:
        lines.append(f"Worth, on one thread of {metrics.worth.processor}: {worth_verdict(metrics.worth)}\n")
    if metrics.intervals is not None:
        lines.append(" ".join(interval_sentences(metrics.intervals)) + "\n")
    if metrics.confidence is not None:
        lines.append(" ".join(confidence_sentences(metrics.confidence)) + "\n")
    return "\n".join(lines)


def _limits(trained: Problem) -> str:
    """Return the section on the limits of use: ranges, sites, times and boundaries of the training data."""
    spec = trained.spec
    rows = [
        (
            parameter.name.replace("_", " "),
            rounded_text(parameter.low),
            f"{rounded_text(parameter.high)} {unit_words(parameter.unit)}".rstrip(),
        )
        for parameter in spec.parameters
    ]
    sites = " x ".join(map(str, spec.shape)) + (" particles" if spec.has_particles else " cells")
    boundaries = ", ".join(f"{axis.name} {axis.boundary}" for axis in spec.axes)
    lines = [
        "## Limits of use\n",
        "The model is meant for inputs that are like the training data. `predict` warns outside of their "
        "ranges, and `predict(..., strict=True)` refuses.\n",
        f"- sites: {sites}" + ("" if spec.has_particles else f"; boundaries: {boundaries}"),
        f"- times: up to {trained.duration:g} s, in steps of {trained.time_step:g} s",
        "- Errors of single trajectories exceed the median error; the table has the worst one.\n",
    ]
    if rows:
        lines.append(_table(("parameter", "from", "to"), rows))
    return "\n".join(lines)


def _training(folder: RunFolder, dataset: Dataset, model: Mapping[str, Any]) -> str:
    """Return the section on configuration, cost and versions, with the cost of the data of the training."""
    cost = f"training {provenance.cost_of(provenance.attempts(folder.path, 'train', folder.model)).text}"
    if is_trained_on(model["configuration"], dataset):
        data_run = folder.dataset.parent
        attempts = [*provenance.attempts(data_run, "generate"), *provenance.attempts(data_run, "validate")]
        cost = f"data {provenance.cost_of(attempts).text}; {cost}"
    configuration = {
        "surrogate": {"name": model["surrogate"], **model["options"]},
        "training": model["configuration"]["training"],
        "seed": model["configuration"]["seed"],
    }
    step = model["step"]
    steps = step if isinstance(step, int) else ", ".join(map(str, step))
    versions = ", ".join(f"{name} {version}" for name, version in model["versions"].items())
    lines = [
        "## Training\n",
        f"- weights: {model['num_parameters']:,}, of step {steps}; rollout error "
        f"{percent(model['valid_error'])} on the split valid",
        f"- cost: {cost}",
        f"- versions: {versions}\n",
        f"```yaml\n{yaml.safe_dump(configuration, sort_keys=False)}```\n",
    ]
    return "\n".join(lines)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"
