"""The run folder with every path of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.settings import Settings
from pipeline.data.plan import SPLITS
from simsurrogate.owned_files import refuse_links

#: A regular expression of the names of the figures of an evaluation.
EVALUATION_FIGURE_NAME = (
    rf"({'|'.join(SPLITS)})-(errors|invariants?|spectra|baselines|\d{{5,}})(-.+)?\.(png|svg)|worth\.(png|svg)|own-grid\.png"
    r"|parameter-.+\.svg|training(-member-\d+)?\.(png|svg)"
    r"|intervals-(marginal|joint)\.svg|confidence\.svg|attribution-(shares\.svg|maps\.png)"
)


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run: its folder, its data set (possibly of another run), and one of its models.

    RUN/dataset                     shards, receipts, manifest.json, validation.json
    RUN/validation.json             the validation of a data set that is not writable
    RUN/records/STAGE-NNN.json      one record for each attempt at a stage
    RUN/locks                       one lock for each model in training, and one for the chain
    RUN/models/MODEL                checkpoints, log.csv, model.*, calibration.*, README.md
    RUN/models/MODEL/evaluation     metrics.json, mlperf.log, figures, report.html
    RUN/comparison                  comparison.html, models.csv, models.json, figures
    RUN/jobs                        chain.json, setup.sh, retries and the logs of Slurm jobs
    """

    path: Path
    dataset: Path
    model: str

    @classmethod
    def of(cls, settings: Settings) -> RunFolder:
        """Return the paths that `run`, `dataset` and `model` of the settings name."""
        return cls(settings.run, settings.dataset, settings.model)

    @classmethod
    def at(cls, path: Path) -> RunFolder:
        """Return the paths of the run in a folder, without a model."""
        return cls(path, path / "dataset", "")

    def with_model(self, model: str) -> RunFolder:
        """Return the paths with another model of the run."""
        return replace(self, model=model)

    def refuse_links(self) -> None:
        """Refuse symbolic links below the run folder and below the data set.

        Both folders themselves may be links, unless the data set is RUN/dataset.

        Raises:
            UserError: there is a link.
        """
        dataset_in_run = self.path / "dataset"
        data_set_paths = [dataset_in_run] if self.dataset == dataset_in_run else []
        data_set_paths += [self.dataset / name for name in ("data", "receipts", "figures", "locks")]
        models = self.models if self.models.is_symlink() or not self.model else self.model_folder
        refuse_links([self.records, self.locks, self.jobs, models, *data_set_paths])

    @property
    def validations(self) -> tuple[Path, Path]:
        """The validation in the data set's folder, and that of a reader who may not write this folder."""
        return self.dataset / "validation.json", self.path / "validation.json"

    @property
    def records(self) -> Path:
        """The folder of the run records."""
        return self.path / "records"

    @property
    def models(self) -> Path:
        """The folder of all models."""
        return self.path / "models"

    @property
    def model_folder(self) -> Path:
        """The folder of the model."""
        return self.models / self.model

    @property
    def model_card(self) -> Path:
        """The model card next to the weights."""
        return self.model_folder / "README.md"

    @property
    def evaluation(self) -> Path:
        """The folder of the model's evaluation."""
        return self.model_folder / "evaluation"

    @property
    def report(self) -> Path:
        """The report of the model's evaluation."""
        return self.evaluation / "report.html"

    @property
    def comparison(self) -> Path:
        """The folder of the comparison of this run's models, and of the models of other runs."""
        return self.path / "comparison"

    @property
    def locks(self) -> Path:
        """The folder of the locks of models and of the chain."""
        return self.path / "locks"

    @property
    def jobs(self) -> Path:
        """The folder of the record and the logs of Slurm jobs."""
        return self.path / "jobs"

    @property
    def train_lock(self) -> Path:
        """The lock of the process that trains the model."""
        return self.locks / f"train-{self.model}.lock"

    @property
    def chain_lock(self) -> Path:
        """The lock of the process that submits jobs."""
        return self.locks / "chain.lock"

    @property
    def manifest_lock(self) -> Path:
        """The lock of the process that writes the data set's manifest."""
        return self.dataset / "locks" / "manifest.lock"

    def part_lock(self, part: int, num_parts: int) -> Path:
        """Return the lock of the process that generates a part of the data set."""
        return self.dataset / "locks" / f"generate-{part}-of-{num_parts}.lock"

    def locks_of_other_partitions(self, num_parts: int) -> list[Path]:
        """Return the locks of processes that divide the data set into another number of parts."""
        locks = (self.dataset / "locks").glob("generate-*.lock")
        return [path for path in locks if not path.stem.endswith(f"-of-{num_parts}")]

    @property
    def chain_record(self) -> Path:
        """The record of the chain's jobs."""
        return self.jobs / "chain.json"

    @property
    def retries(self) -> Path:
        """The folder with the number of new starts of each failed job, by Slurm's name of the job."""
        return self.jobs / "retries"

    @property
    def job_setup(self) -> Path:
        """The absolute path of the shell lines that every job runs first."""
        return self.jobs.absolute() / "setup.sh"

    @property
    def job_logs(self) -> Path:
        """The absolute path of the folder of the jobs' logs."""
        return self.jobs.absolute() / "logs"
