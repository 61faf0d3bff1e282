"""The generate stage with a printed peak memory, MiB: `python -m tests.support.peak_memory OVERRIDES`."""

import resource

from pipeline import cli, generate

if __name__ == "__main__":
    cli.main(generate.run)
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
