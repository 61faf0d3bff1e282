"""`python -m tests.support.mistakes STAGE RUN OVERRIDE...` types each override to the stage in turn.

One process types all overrides, as the imports take longer than the refusals. It prints a JSON list with the
exit code and the messages of each.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys

from hydra.core.global_hydra import GlobalHydra

from pipeline import cli


def refusal(stage: str, run: str, override: str) -> tuple[int, str]:
    """Return the exit code and the error messages of the stage with this override."""
    sys.argv = [stage, override, f"run={run}"]
    errors, code = io.StringIO(), 0
    with contextlib.redirect_stderr(errors):
        try:
            cli.main(importlib.import_module(f"pipeline.{stage}").run)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            GlobalHydra.instance().clear()
    return code, errors.getvalue()


if __name__ == "__main__":
    chosen_stage, folder, *overrides = sys.argv[1:]
    refusals = [refusal(chosen_stage, folder, override) for override in overrides]
    print(json.dumps(refusals))
