"""The speed of the training of a model in a run folder, and its log in the format of MLCommons."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.mlperf.log import TrainingDescription, log_text
from pipeline.evaluation.mlperf.speed import TrainingSpeed, TrainingTimes
from pipeline.runs import provenance
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole
from simsurrogate.machine import processor_name
from surrogates import store

if TYPE_CHECKING:
    from pipeline.runs.folder import RunFolder


def write_training_log(
    folder: RunFolder, description: Mapping[str, Any], solver: str
) -> tuple[TrainingSpeed, ...]:
    """Write evaluation/mlperf.log, and return the speed of each network of the model.

    The members of an ensemble are networks of their own, one after the other in the log. Networks without a
    log of their training have no speed, and a damaged log is reported. Without any log the file is removed.

    Args:
        folder: the run folder with the model.
        description: the content of model.json.
        solver: the name of the solver or of the problem.
    """
    model_folder = folder.model_folder
    members = [store.member_folder(model_folder, index) for index in range(store.num_members(model_folder))]
    configuration = description["configuration"]
    options, counts = configuration["training"], configuration.get("data", {}).get("trajectories", {})
    attempts = provenance.attempts(folder.path, "train", folder.model)
    last_attempt = provenance.last_complete_attempt(attempts)
    head = TrainingDescription(
        benchmark=f"{solver}/{description['surrogate']}",
        platform=f"{processor_name()}, {last_attempt.ranks if last_attempt else 1} ranks",
        started=attempts[0].started if attempts else datetime.datetime.fromtimestamp(0, datetime.UTC),
        seed=configuration["seed"],
        options=options,
        num_train=counts.get("train", 0),
        num_valid=counts.get("valid", 0),
    )
    speeds, texts = [], []
    for network_folder in members or [model_folder]:
        if not all((network_folder / name).is_file() for name in ("log.csv", "timing.csv")):
            continue
        name = folder.model + (f"/{network_folder.name}" if members else "")
        try:
            times = TrainingTimes(network_folder)
        except UserError as error:
            print(f"note: the speed of the training of {name} is not known. {error}", flush=True)
            continue
        speed = times.speed(name, int(options["batch_size"]))
        if speed is not None:
            speeds.append(speed)
            texts.append(log_text(head, times, speed))
    path = folder.evaluation / "mlperf.log"
    if texts:
        write_whole(path, "".join(texts))
    else:
        path.unlink(missing_ok=True)
    return tuple(speeds)
