"""The compiled forward of a surrogate, used only if it computes the same loss and gradient."""

from __future__ import annotations

from typing import cast

import torch

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.device.equivalence import excess_message, relative_errors, tolerance
from surrogates.contract import Batch, Surrogate


def compiled(surrogate: Surrogate, batch: Batch, options: Training, ranks: Ranks) -> torch.nn.Module:
    """Return the compiled surrogate, which shares its weights, or the surrogate itself after a failure.

    Loss and gradient of `batch` must agree to half the digits of the precision, on every rank. Rank 0 prints
    the reason for a disagreement or a failed compilation, for example without a C++ compiler.
    """
    # Without the reset, code compiled for earlier models would count against the limit of this model.
    torch.compiler.reset()
    candidate = cast(torch.nn.Module, torch.compile(surrogate, dynamic=False))
    try:
        errors = relative_errors((candidate, options), (surrogate, options), batch)
        reason = excess_message(errors, tolerance(options))
    # All errors of the compiler derive from RuntimeError.
    except RuntimeError as error:
        reason = f"compiling fails: {str(error).strip().splitlines()[0]}"
    surrogate.zero_grad()
    failure_flags = ranks.gather(float(bool(reason)))
    if not any(failure_flags):
        return candidate
    if ranks.is_first:
        reason = reason or f"rank {failure_flags.index(1.0)} cannot use the compiled forward"
        print(f"training.compile=true is ignored: {reason}", flush=True)
    return surrogate
