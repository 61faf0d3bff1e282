"""A stage with one mistake after another: `python -m tests.support.mistakes STAGE RUN OVERRIDE...`.

One process runs the stage with each override in turn, because the imports take longer than the refusals. The
process prints a JSON list with the exit code and the messages for each override.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys

from hydra.core.global_hydra import GlobalHydra

from pipeline import cli


def run_with_mistake(stage: str, run: str, override: str) -> tuple[int, str]:
    """Run a stage with an override, and return the exit code and the error messages."""
    sys.argv = [stage, override, f"run={run}"]
    stderr, exit_code = io.StringIO(), 0
    with contextlib.redirect_stderr(stderr):
        try:
            cli.main(importlib.import_module(f"pipeline.{stage}").run)
        except SystemExit as exit_error:
            exit_code = int(exit_error.code or 0)
        finally:
            GlobalHydra.instance().clear()
    return exit_code, stderr.getvalue()


if __name__ == "__main__":
    chosen_stage, folder, *overrides = sys.argv[1:]
    refusals = [run_with_mistake(chosen_stage, folder, override) for override in overrides]
    print(json.dumps(refusals))
