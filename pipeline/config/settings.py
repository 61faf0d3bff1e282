"""The configuration of a run. Every key, type and range is checked before any work starts."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline.config.mixture import MixtureSettings, with_first_data_set
from pipeline.config.parsing import validated_model
from pipeline.config.sbatch_options import SbatchOptions
from pipeline.data.lineage.limits import Limits
from pipeline.data.origin import DeclaredOrigin
from pipeline.data.plan import MAX_SHARDS, recorded_samples
from simsurrogate.errors import UserError

#: Integers up to 2^53 are exact in float64. No count of this pipeline is larger.
Count = Annotated[int, Field(gt=0, le=2**53)]
CountFromZero = Annotated[int, Field(ge=0, le=2**53)]
#: Each split has 2^40 indices of trajectories.
_Trajectories = Annotated[int, Field(gt=0, le=2**40)]
_NumRanks = Annotated[int, Field(gt=0, le=10**6)]
_Seed = Annotated[int, Field(ge=0, lt=2**64)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Samples(_Section):
    """The number of trajectories in each split and in one shard."""

    train: _Trajectories
    valid: _Trajectories
    test: _Trajectories
    test_extrapolation: Annotated[int, Field(ge=0, le=2**40)]
    calibration: Annotated[int, Field(ge=0, le=2**40)] = 0
    per_shard: _Trajectories


class Output(_Section):
    """The `steps` + 1 frames of a trajectory, evenly spaced from 0 to `duration` (s).

    A stored cell holds `coarsen` of the solver's cells along each axis, or along all axes for one number.
    """

    duration: PositiveFloat
    steps: Count
    coarsen: Count | list[Count] = 1
    coarsen_method: Literal["automatic", "cell_averages"] = "automatic"


class QuantitySettings(_Section):
    """A quantity of interest that reduces the channel `of` over `region`, see `QuantityOfInterest`.

    `region` holds the lower and the upper end (m) along some axes; without an entry an axis counts whole.
    `threshold` belongs to the reduction `time_above`.
    """

    name: str
    of: str
    reduce: Literal["max", "min", "mean", "time_above"]
    region: dict[str, tuple[float, float]] = {}
    threshold: float | None = None

    @model_validator(mode="after")
    def _threshold_if_used(self) -> QuantitySettings:
        if (self.threshold is not None) != (self.reduce == "time_above"):
            text = "is missing" if self.threshold is None else "has no effect"
            remedy = "Add threshold" if self.threshold is None else "Leave out threshold, or type time_above"
            raise UserError(
                f"threshold of the quantity {self.name} {text} with reduce: {self.reduce}. Only time_above "
                f"has a threshold. {remedy}"
            )
        return self


class Storage(_Section):
    """The precision of fields on disk, the allowed share of failed trajectories and the allowed error."""

    precision: Literal["float32", "float64"]
    max_failed_share: Annotated[float, Field(ge=0, le=1)]
    max_error: PositiveFloat


class Finish(_Section):
    """A second-order method after AdamW: `steps`, each of at most `iterations` on one batch.

    With the method `none`, only the defaults of the other two options are accepted.
    """

    method: Literal["none", "lbfgs", "levenberg_marquardt"]
    steps: Count = 10
    iterations: Count = 100

    @field_validator("steps", "iterations")
    @classmethod
    def _unused_at_default(cls, value: int, info: ValidationInfo) -> int:
        default = cls.model_fields[str(info.field_name)].default
        if info.data.get("method") == "none" and value != default:
            raise UserError(
                f"has no effect with training.finish.method=none. Only its default {default} is accepted. "
                f"Type training.finish.{info.field_name}={default}, or choose a method with "
                "training.finish.method=lbfgs"
            )
        return value


#: The smallest bound of the gradient norm. AdamW adds 1e-8 to the size of each gradient, so a gradient of
#: this size has no effect.
_LEAST_CLIP = 1e-6
#: The smallest learning rate: a step of this size changes no weight of usual size in float32.
_LEAST_RATE = 1e-10


class Training(_Section):
    """The training loop; `batch_size` counts windows over all ranks.

    `seed` determines initial weights and batches. Its default is the root seed, which determines the data.
    The weights of the model folder `start_from` replace the random initial weights. The layers of `freeze`
    keep them. With an `adapter_rank`, all weights keep them, and changes of this rank are trained.
    `other_grids` are further data sets of the same system, on other grids.
    """

    seed: _Seed
    start_from: Path | None = None
    freeze: list[str] = []
    adapter_rank: CountFromZero = 0
    other_grids: list[Path] = []
    steps: Count
    batch_size: Count
    learning_rate: Annotated[float, Field(ge=_LEAST_RATE)]
    warmup_steps: CountFromZero
    schedule: Literal["cosine", "linear", "constant"]
    weight_decay: Annotated[float, Field(ge=0)]
    gradient_clip: Annotated[float, Field(ge=_LEAST_CLIP)]
    max_skipped_steps: CountFromZero
    unroll: Count
    symmetries: Literal["all", "none"] | list[str]
    noise: Annotated[float, Field(ge=0)]
    ema: Annotated[float, Field(ge=0, lt=1)]
    gradient_accumulation_steps: Count
    balance_every: CountFromZero
    precision: Literal["float32", "float64", "bfloat16"]
    compile: bool
    finish: Finish
    validate_every: Count
    checkpoint_every: Count
    keep_checkpoints: Count
    device: Literal["auto", "cpu", "cuda"]
    tensorboard: bool

    @property
    def total_steps(self) -> int:
        """The steps of AdamW and of the second-order method."""
        return self.steps + (self.finish.steps if self.finish.method != "none" else 0)


class Evaluation(_Section):
    """The evaluation, in batches of `batch_size` trajectories; `figures` trajectories per split are drawn.

    The solver's time and error are measured on the first `worth` trajectories of the split `test`, with all
    frames or the last frame alone; the surrogate's time with compiled predictions on request. `other_grids`
    are data sets of the same system on other grids.
    """

    batch_size: Count
    figures: CountFromZero
    worth: CountFromZero
    worth_frames: Literal["all", "last"]
    compiled: bool
    other_grids: list[Path] = []


Stage = Literal["generate", "validate", "train", "evaluate"]
#: The stages that run on this machine; adopt makes a data set in place of generate.
LocalStage = Stage | Literal["adopt"]
#: The jobs of a chain. `finish` runs generate again after the tasks of an array, to complete the data set.
JobName = Literal["generate", "finish", "validate", "train", "evaluate"]


class Launcher(_Section):
    """The machine that runs the chain, the number of ranks of each job, and the launch lines.

    `mpirun` is the launch line of all stages, or holds the lines of `all` stages and of single stages.

    The other keys apply to Slurm only. `parts` is the number of tasks of generate's job array, of which
    `parts_at_once` run at the same time, or all with null. `setup` holds the shell lines before each stage.
    `retries` is the number of times that a failed job starts again. `mail` is the address that gets one mail
    at the end of the chain. `sbatch` holds options without their dashes, for `all` jobs or for a single job.
    """

    name: Literal["local", "slurm"]
    ranks: dict[JobName, _NumRanks]
    mpirun: list[str] | dict[Stage | Literal["all"], list[str]] | None = None
    parts: Annotated[int, Field(gt=0, le=MAX_SHARDS)] = 1
    parts_at_once: Count | None = None
    setup: list[str] = []
    retries: Annotated[int, Field(ge=0, le=100)] = 0
    mail: str | None = None
    sbatch: dict[JobName | Literal["all"], SbatchOptions] = {}

    @field_validator("ranks")
    @classmethod
    def _one_rank_by_default(cls, ranks: dict[JobName, int]) -> dict[JobName, int]:
        return dict.fromkeys(get_args(JobName), 1) | ranks

    def launch_line(self, stage: Stage) -> list[str]:
        """Return the words of a stage's launch line, to which `-n RANKS` is added."""
        lines = self.mpirun if isinstance(self.mpirun, dict) else {"all": self.mpirun}
        line = lines.get(stage, lines.get("all"))
        return ["mpirun"] if line is None else line


class Settings(_Section):
    """The whole configuration of a run.

    `solver` and `surrogate` hold the name of a class and its keyword arguments, which `pipeline.config.build`
    checks against the signature of the class. `source`, `format`, `description` and `origin` belong to
    `adopt`. Of several data sets, `dataset` is the first one.
    """

    run: Path
    dataset: Path
    mixture: MixtureSettings = MixtureSettings()
    source: Path | None = None
    format: Literal["well", "pdebench", "npy", "xarray", "csv_particles"] | None = None
    description: Path | None = None
    origin: DeclaredOrigin = DeclaredOrigin()
    model: Annotated[
        str,
        Field(
            pattern=r"^\w[\w.+-]*$",
            description="a name of letters, digits, _, ., + and -, with a letter, a digit or _ first",
        ),
    ]
    seed: _Seed
    group_size: _NumRanks
    ensemble: Annotated[int, Field(gt=0, le=1000)]
    part: tuple[CountFromZero, Count]
    overwrite: bool
    allow_failed: bool
    dry_run: bool
    solver: dict[str, Any]
    samples: Samples
    output: Output
    quantities: tuple[QuantitySettings, ...] = ()
    storage: Storage
    surrogate: dict[str, Any]
    lineage: Limits = Limits()
    training: Training
    evaluation: Evaluation
    launcher: Launcher

    @field_validator("part")
    @classmethod
    def _within_range(cls, part: tuple[int, int]) -> tuple[int, int]:
        if part[0] >= part[1]:
            raise UserError(
                f"parts of {part[1]} are numbered from 0 to {part[1] - 1}. Type part=[0,{part[1]}]"
            )
        return part

    def dataset_settings(self) -> dict[str, Any]:
        """Return the options that determine every byte of the data set, and the version of the code.

        For a solver in a user's file, the result holds the name of the file without its folder. The option
        `program` says how this machine starts an external program, see `Solver.program_identity`.
        """
        dataset_options = self.model_dump(
            mode="json",
            include={"seed", "solver", "samples", "output", "storage"},
            exclude={"storage": {"max_failed_share", "max_error"}},
        )
        dataset_options["samples"] = recorded_samples(dataset_options["samples"])
        dataset_options["solver"].pop("program", None)
        if dataset_options["solver"].get("path"):
            dataset_options["solver"] = dataset_options["solver"] | {
                "path": Path(dataset_options["solver"]["path"]).name
            }
        if self.quantities:
            dataset_options["quantities"] = [quantity.model_dump(mode="json") for quantity in self.quantities]
        return dataset_options | {"code_version": importlib.metadata.version("simsurrogate")}

    def with_data_of(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings as plain data for a run record, with the sections that describe a data set.

        `configuration` is the configuration in the manifest of the data set that a stage reads.
        """
        settings = self.model_dump(mode="json")
        sections = {name: configuration[name] for name in ("solver", "samples", "output")}
        sections["quantities"] = configuration.get("quantities", [])
        return settings | sections | {"storage": settings["storage"] | configuration["storage"]}


def read(configuration: dict[str, Any]) -> Settings:
    """Return the settings of a plain nested mapping, as Hydra composes it.

    Raises:
        UserError: each wrong key, type or value, one per line, with the nearest legal key.
    """
    settings: Settings = validated_model(Settings, with_first_data_set(configuration), "")
    return settings
