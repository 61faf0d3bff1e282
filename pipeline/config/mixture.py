"""The section `mixture` of the settings: the shares of several data sets in the batches of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from simsurrogate.errors import UserError

#: The largest difference of the sum of typed shares from 1.
_ROUND_OFF = 1e-6

_Share = Annotated[float, Field(ge=0, le=1)]


class MixtureSettings(BaseModel):
    """The data sets after the first of `dataset=[a,b,...]`, and the share of each data set in the batches.

    `weights` are the shares at the start of training, in the order of `dataset`. With the schedule
    `constant` they stay. With `annealed` they change linearly with the step to `final_weights`. With
    `adaptive` they come half way closer to `final_weights` at each validation whose error on measured data is
    not smaller than before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    datasets: list[Path] = []
    weights: list[_Share] = []
    schedule: Literal["constant", "annealed", "adaptive"] = "constant"
    final_weights: list[_Share] = []

    @field_validator("weights", "final_weights")
    @classmethod
    def _sums_to_one(cls, weights: list[float], info: ValidationInfo) -> list[float]:
        total = math.fsum(weights)
        if weights and abs(total - 1) > _ROUND_OFF:
            shares = ",".join(f"{weight / total:.6g}" for weight in weights) if total else "0.5,0.5"
            raise UserError(
                f"has the sum {total:g}. The shares of the data sets have the sum 1. Type "
                f"mixture.{info.field_name}=[{shares}]"
            )
        return weights

    @model_validator(mode="after")
    def _final_weights_if_used(self) -> MixtureSettings:
        if bool(self.final_weights) != (self.schedule != "constant"):
            text = "has no effect with" if self.final_weights else "is missing for"
            remedy = (
                "Type mixture.schedule=annealed or leave out mixture.final_weights"
                if self.final_weights
                else "Type mixture.final_weights=[0,1], for example"
            )
            raise UserError(
                f"mixture.final_weights {text} mixture.schedule={self.schedule}. The schedules annealed and "
                f"adaptive need the final shares, and constant has none. {remedy}"
            )
        return self

    def refuse_wrong_numbers(self) -> None:
        """Refuse weights that do not have one number for each data set, before a training.

        Raises:
            UserError: weights are missing or too many.
        """
        count = 1 + len(self.datasets)
        lists = [("weights", self.weights)] if count > 1 or self.weights else []
        lists += [("final_weights", self.final_weights)] if self.final_weights else []
        for name, weights in lists:
            if len(weights) != count:
                equal = ",".join([f"{1 / count:.7g}"] * count)
                raise UserError(
                    f"mixture.{name} has {len(weights)} numbers, and dataset= names {count} data sets. Each "
                    f"data set has one share. Type mixture.{name}=[{equal}]"
                )


def with_first_data_set(options: Any) -> Any:
    """Return the options with the first of several data sets as `dataset`, the others in `mixture.datasets`.

    Raises:
        UserError: the list is empty, or names a data set twice.
    """
    if not isinstance(options, Mapping) or not isinstance(options.get("dataset"), list | tuple):
        return options
    paths = [str(path) for path in options["dataset"]]
    if not paths or len(set(paths)) < len(paths):
        raise UserError(
            f"dataset=[{','.join(paths)}] names "
            + ("a data set twice" if paths else "no data set")
            + ". Each data set has one place in the list. Type dataset=[runs/a/dataset,runs/b/dataset]"
        )
    section = options.get("mixture") or {}
    return {**options, "dataset": paths[0], "mixture": {**section, "datasets": paths[1:]}}
