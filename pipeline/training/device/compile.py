"""torch.compile of a surrogate's forward, taken only where it computes what the surrogate computes."""

from __future__ import annotations

from typing import cast

import torch

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.device.equivalence import bound_of, excess, relative_errors
from surrogates.contract import Batch, Surrogate


def compiled(surrogate: Surrogate, batch: Batch, options: Training, ranks: Ranks) -> torch.nn.Module:
    """The compiled surrogate, which shares its weights; the surrogate itself where that will not do.

    Loss and gradient of `batch` must agree to half the digits of the precision, on every rank. Rank 0 says
    so where they do not, and where compiling fails, as it does without a C++ compiler.
    """
    # What other models of this process were compiled to counts against this one's versions.
    torch.compiler.reset()
    faster = cast(torch.nn.Module, torch.compile(surrogate, dynamic=False))
    try:
        errors = relative_errors((faster, options), (surrogate, options), batch)
        told = excess(errors, bound_of(options))
    # What the compiler raises, its own errors included, derives from it.
    except RuntimeError as error:
        told = f"compiling fails: {str(error).strip().splitlines()[0]}"
    surrogate.zero_grad()
    everyone = ranks.gather(float(bool(told)))
    if not any(everyone):
        return faster
    if ranks.is_first:
        told = told or f"rank {everyone.index(1.0)} cannot use it"
        print(f"training.compile=true is left out: {told}", flush=True)
    return surrogate
