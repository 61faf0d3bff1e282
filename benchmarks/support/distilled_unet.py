"""A U-Net that learns the predictions of another model instead of the data."""

from __future__ import annotations

from pathlib import Path

import torch

import surrogates
from surrogates.contract import Batch, Problem
from surrogates.unet import UNet


class DistilledUNet(UNet):
    """A U-Net of all frames. The target of a training window is the prediction of a larger model.

    Options:
        width: channels on the finest grid.
        teacher: the folder of the larger model.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531).
    """

    def __init__(self, problem: Problem, *, width: int, teacher: str):
        super().__init__(problem, width=width, levels=3, predicts="all_frames")
        # Not a part of this module: its weights are neither trained nor saved.
        object.__setattr__(self, "teacher", surrogates.load(Path(teacher)))

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the loss `rollout` against the prediction of the larger model from the first frame."""
        spec = self.problem.spec
        values = dict(zip(spec.coefficient_channels, batch["coefficient_fields"].unbind(1), strict=True))
        values |= dict(zip(spec.parameter_names, batch["parameters"].unbind(1), strict=True))
        times = batch["time"][0].numpy(force=True)
        with torch.no_grad():
            target = self.teacher.predict(batch["state"][:, 0], values, times).mean  # type: ignore[operator, union-attr]
        return super().forward(batch | {"state": target})
