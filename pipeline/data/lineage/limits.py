"""The section `lineage` of the settings: what the guard accepts."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """The output of models and the data of unknown origin that train and evaluate accept.

    `max_model_share` limits the share of model output in the training trajectories, and `max_generation` its
    generation, see `pipeline.data.origin.Origin`. `allow_model_tests` accepts output of models in the splits
    that measure and calibrate a model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_model_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_generation: Annotated[int, Field(ge=0, le=10**6)] = 0
    allow_unknown: bool = False
    allow_model_tests: bool = False
