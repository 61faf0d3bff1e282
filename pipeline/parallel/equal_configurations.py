"""The refusal of ranks with different configurations, before any work starts."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Mapping

from simsurrogate.errors import UserError
from simsurrogate.files import differences, digest


def refuse_other_configurations(
    configuration: Mapping[str, object], gather: Callable[[str], list[str]]
) -> None:
    """Compare the configurations and the code versions of all ranks, on all ranks together.

    Args:
        configuration: the configuration of this rank, as plain data.
        gather: a function that returns the text of each rank, on all ranks.

    Raises:
        UserError: the ranks differ; all ranks raise the same message, which names the keys that differ.
    """
    content = {**configuration, "code_version": importlib.metadata.version("simsurrogate")}
    if len(set(gather(digest(content)))) == 1:
        return
    contents = [json.loads(text) for text in gather(json.dumps(content))]
    rank, other_content = next(
        (rank, other_content) for rank, other_content in enumerate(contents) if other_content != contents[0]
    )
    changes = "; ".join(differences(contents[0], other_content))
    raise UserError(
        f"the ranks have different configurations: {changes} (rank 0 -> rank {rank}). All ranks of a stage "
        "must have the same command line and the same version. Start one command on all ranks, such as "
        "mpirun -n 2 python -m pipeline.generate KEY=VALUE"
    )
