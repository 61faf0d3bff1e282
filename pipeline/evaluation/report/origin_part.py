"""The parts on the problem, on the origin of the model, and on the commands that repeat the evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.data.lineage.family import origin_texts
from pipeline.data.plan import SPLITS
from pipeline.evaluation.report.part import PartFigure, PartTable, ReportPart
from pipeline.evaluation.words import percent
from pipeline.plots.curves import draw_training, read_log
from pipeline.plots.labels import rounded_text, unit_words
from pipeline.plots.saving import save
from pipeline.runs import provenance
from pipeline.runs.model_family import family_of_model
from simsurrogate.errors import UserError
from simsurrogate.spec import Field, Parameter
from surrogates import store

if TYPE_CHECKING:
    from pipeline.evaluation.report.context import ReportContext
    from pipeline.runs.cost import Cost


def problem_part(context: ReportContext) -> ReportPart:
    """Return the part on the equation, the fields, the parameters and the grid."""
    spec, times = context.spec, context.metrics.time
    tables = []
    for caption, rows in (
        ("Predicted fields", spec.fields),
        ("Coefficient fields, given with each trajectory", spec.coefficient_fields),
        ("Parameters with their range", spec.parameters),
    ):
        if rows:
            tables.append(_quantities(caption, rows))
    if not spec.has_particles:
        tables.append(
            PartTable(
                "Grid",
                ("axis", "boundary", "cells", "from", "to"),
                [
                    (
                        axis.name,
                        axis.boundary,
                        str(axis.size),
                        rounded_text(axis.lower),
                        f"{rounded_text(axis.upper)} {unit_words(axis.unit)}".rstrip(),
                    )
                    for axis in spec.axes
                ],
                num_text_columns=2,
            )
        )
    sentence = (
        f"A trajectory has {len(times)} frames, from t = {rounded_text(times[0])} s to "
        f"{rounded_text(times[-1])} s. The first frame is the input, and the following {len(times) - 1} "
        "frames are predicted."
    )
    return ReportPart("problem", "The problem", sentences=[sentence], tables=tables, code=spec.equation)


def origin_part(context: ReportContext, data_cost: Cost, training_cost: Cost) -> ReportPart:
    """Return the part on the options, the training, the data and the versions of the model."""
    folder = context.folder
    attempts = provenance.attempts(folder.path, "train", folder.model)
    last_training = provenance.last_complete_attempt(attempts)
    model = store.description(folder.model_folder)
    configuration = model["configuration"]
    step = model["step"]
    ranks = ""
    if last_training:
        ranks = f" on {last_training.ranks} rank{'s' if last_training.ranks != 1 else ''}"
    versions = last_training.versions if last_training else model["versions"]
    library = last_training.mpi_library if last_training else None
    num_weights = sum(parameter.numel() for parameter in context.surrogate.parameters())
    family = family_of_model(folder.model_folder)
    node = family.models[model["sha256"]]
    origins = [f"{key[:12]}: {text}" for key in node.data for text in origin_texts(family, key)]
    terms = [
        ("surrogate", f"{context.metrics.surrogate}: {_pairs(model['options'])}"),
        ("trainable parameters", f"{num_weights:,}"),
        ("training", _pairs(configuration["training"])),
        *(("lineage", text) for text in lineage(configuration)),
        ("training time", f"{duration_text(provenance.seconds(attempts))}{ranks}"),
        ("cost", f"data {data_cost.text}; training {training_cost.text}"),
        (
            "weights",
            f"of step {step if isinstance(step, int) else ', '.join(map(str, step))}, the best on the valid "
            f"split: rollout error {percent(model['valid_error'])}",
        ),
        ("seed", str(configuration["seed"])),
        ("trajectories", _pairs({split: context.dataset.num_trajectories(split) for split in SPLITS})),
        ("data set", context.dataset.identity),
        *(("origin of the training data", text) for text in origins),
        ("generation", f"{node.generation}: one more than the highest generation of the training data"),
        *(("accepted", key) for key in node.accepted),
        ("versions", _pairs(versions) + (f"; {library}" if library else "")),
    ]
    return ReportPart("origin", "Origin of the model", terms=terms, figures=_training_figures(context))


def commands_part(context: ReportContext) -> ReportPart:
    """Return the part with the commands that repeat the evaluation."""
    folder = context.folder
    commands = provenance.commands(folder.dataset.parent, folder.path, folder.model)
    return ReportPart("commands", "Commands that reproduce this report", code="\n".join(commands))


def definitions_part(context: ReportContext) -> ReportPart:
    """Return the part with the definitions of all words."""
    terms = [(_words(term), definition) for term, definition in context.metrics.definitions.items()]
    return ReportPart("definitions", "Definitions", terms=terms)


def lineage(configuration: Mapping[str, Any]) -> list[str]:
    """Return the models from whose weights a training started, and the steps after which it was raised."""
    texts = [
        f"started from the weights {str(entry['weights_sha256'])[:12]} ({entry['steps']} steps, seed "
        f"{entry['seed']}, data set {str(entry['dataset'])[:12]})"
        for entry in reversed(configuration.get("lineage", []))
    ]
    if history := configuration.get("continued_after"):
        texts.insert(0, f"continued after step {', '.join(map(str, history))}")
    return texts


def duration_text(seconds: float) -> str:
    """Return a time in minutes and seconds."""
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes} min {remainder} s" if minutes else f"{remainder} s"


def _training_figures(context: ReportContext) -> list[PartFigure]:
    """Return the losses of the training, from log.csv of the model or of its members."""
    model_folder = context.folder.model_folder
    # The model lists its members, because a smaller ensemble keeps the folders of former members.
    members = [store.member_folder(model_folder, index) for index in range(store.num_members(model_folder))]
    figures = []
    for log_folder in members or [model_folder]:
        if not (log_folder / "log.csv").exists():
            continue
        try:
            log = read_log(log_folder / "log.csv")
        except UserError as error:
            print(f"note: the report has no figure of the training. {error}", flush=True)
            continue
        name = "" if log_folder == model_folder else f", {log_folder.name}"
        caption = f"Loss on the training batches and error on the validation split{name}."
        path = context.figure_folder / f"training{name.replace(', ', '-')}.svg"
        figures.append(PartFigure(save(draw_training(log), path), caption))
    return figures


def _quantities(caption: str, rows: Sequence[Field] | Sequence[Parameter]) -> PartTable:
    """Return the table of fields or parameters."""
    texts = []
    for row in rows:
        is_vector = isinstance(row, Field) and row.tensor_order == 1
        limits = (
            (f"{rounded_text(row.low)} to {rounded_text(row.high)}",) if isinstance(row, Parameter) else ()
        )
        name = f"{_words(row.name)}{' (vector)' if is_vector else ''}"
        texts.append((name, row.description, unit_words(row.unit), *limits))
    headings = ("name", "description", "unit", *(["range"] if isinstance(rows[0], Parameter) else []))
    return PartTable(caption, headings, texts, num_text_columns=3)


def _pairs(mapping: Mapping[str, object]) -> str:
    return ", ".join(f"{_words(name)} {value}" for name, value in mapping.items())


def _words(name: str) -> str:
    return name.replace("_", " ")
