"""`python -m tests.support.mistakes RUN OVERRIDE...` types each override to the generate stage in turn.

One process types all overrides, as the imports take longer than the refusals. It prints a JSON list with the
exit code and the messages of each.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

from hydra.core.global_hydra import GlobalHydra

from pipeline import cli, generate


def refusal(run: str, override: str) -> tuple[int, str]:
    """Return the exit code and the error messages of the stage with this override."""
    sys.argv = ["generate", override, f"run={run}"]
    errors, code = io.StringIO(), 0
    with contextlib.redirect_stderr(errors):
        try:
            cli.main(generate.run)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            GlobalHydra.instance().clear()
    return code, errors.getvalue()


if __name__ == "__main__":
    folder, *overrides = sys.argv[1:]
    refusals = [refusal(folder, override) for override in overrides]
    print(json.dumps(refusals))
