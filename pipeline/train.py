"""The train stage: from a validated data set to RUN/models/MODEL/model.safetensors."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext

from pipeline import cli
from pipeline.config import agreement
from pipeline.config.settings import Settings
from pipeline.evaluation.model_table import show_sweep
from pipeline.parallel import launch, stopping
from pipeline.parallel.equal_configurations import refuse_other_configurations
from pipeline.parallel.stopping import StoppedError
from pipeline.runs import lock, progress, records
from pipeline.runs.folder import RunFolder


def run(settings: Settings) -> float:
    """Train `surrogate` on `dataset`, from the newest checkpoint if there is one.

    With `ensemble=N` the ranks train N members side by side. Return the error of the best weights in rollouts
    over the valid split.

    Raises:
        UserError: the data set is missing or not validated; an option does not fit; the ranks differ in
            their configuration; the folder holds a model or checkpoints of another configuration, and
            `overwrite` is false.
        LockedError: another run trains this model.
        StoppedError: the stage received SIGUSR1 and has written a checkpoint.
    """
    # Imported here because torch takes seconds to import, and `--cfg job` and `--help` do not need torch.
    from pipeline.data.dataset import Dataset
    from pipeline.evaluation.model_card import card as model_card
    from pipeline.parallel.devices import unused_gpus
    from pipeline.parallel.ranks import init_ranks
    from pipeline.training.device.malloc import keep_freed_memory
    from pipeline.training.models import train_ensemble, train_model
    from pipeline.training.task import TrainingTask
    from surrogates import store
    from surrogates.inference import fast_matmul

    agreement.report_unused_keys("train")
    run_folder, is_ensemble = RunFolder.of(settings), settings.ensemble > 1
    dataset = Dataset.open(settings.dataset, run_folder.validations[1], allow_failed=settings.allow_failed)
    agreement.refuse_other_data(settings, settings.dataset, dataset.configuration, compares_seed=False)
    task = TrainingTask.of(dataset, settings)
    start_seconds = time.process_time()
    keep_freed_memory()
    with (
        stopping.listen() as request,
        records.run_record("train", run_folder, settings.with_data_of(dataset.configuration)) as metadata,
    ):
        with (
            init_ranks(settings.training.device, settings.run) as ranks,
            fast_matmul(ranks.device) as matmul_precision,
            lock.hold(run_folder.train_lock, key="model") if ranks.is_first else nullcontext(),
        ):
            refuse_other_configurations(settings.model_dump(mode="json"), ranks.gather_texts)
            metadata.update(device=str(ranks.device), float32_products=matmul_precision)
            if warning := unused_gpus(settings.training.device, ranks.device):
                metadata["warning"] = warning
                if ranks.is_first:
                    print(f"warning: {warning}", flush=True)
            metadata.started(ranks.nodes)
            folder, report = run_folder.model_folder, metadata.progress
            if is_ensemble:
                outcome = train_ensemble(
                    task, folder, count=settings.ensemble, ranks=ranks, report=report, request=request
                )
            else:
                outcome = train_model(task, folder, ranks=ranks, report=report, request=request)
            core_seconds = sum(ranks.gather(time.process_time() - start_seconds))
            metadata.update(outcome.entries, core_seconds=round(core_seconds, 2))
            is_done = ranks.is_first and outcome.done == outcome.total
            valid_error = ranks.broadcast(store.description(folder)["valid_error"] if is_done else math.nan)
        # Raised after the ranks have left their group, whose threads must end before the interpreter ends.
        if outcome.done < outcome.total:
            checkpoint_text = "checkpoints of the members, step" if is_ensemble else "a checkpoint of step"
            raise StoppedError(
                f"stopped on request with {checkpoint_text} {outcome.done} of {outcome.total}. "
                "Run the same command again to continue"
            )
        if launch.detect().rank == 0:
            is_new = not metadata.get("skipped", False)
            if is_new:
                model_card.write(run_folder, dataset)
            progress.report_output("train", run_folder.model_folder, "evaluate", is_new=is_new)
        return float(valid_error)


if __name__ == "__main__":
    cli.main(run, show_sweep)
