"""An external program for tests, in the standard library alone, so that it starts in milliseconds.

    python -I -S line.py input.json [FAULT [FILE]]

u(x, t) = a sin(2 pi x) exp(-k t) at the cells of a line, one line of `density.txt` for each time. With a
random seed, the cells start with random values. FILE is a marker of faults that happen once.
"""

import json
import math
import os
import random
import signal
import sys
import time

FAULT = sys.argv[2] if len(sys.argv) > 2 else ""


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        values = json.load(file)
    (cells,) = values["cells"].values()
    rng = random.Random(values.get("random_seed", 0))
    start = [
        values["amplitude"] * math.sin(2 * math.pi * (i + 0.5) / cells)
        + (rng.uniform(0, 1) if "random_seed" in values else 0.0)
        for i in range(cells)
    ]
    frames = [[u * math.exp(-values["rate"] * t) for u in start] for t in values["times"]]
    if FAULT == "nan":
        frames[-1][0] = math.nan
    if FAULT == "short":
        frames.pop()
    if FAULT == "word":
        frames[0][0] = "high"
    if FAULT != "nothing":
        with open("density.txt", "w", encoding="utf-8") as file:
            file.writelines(" ".join(map(repr, frame)).replace("'", "") + "\n" for frame in frames)
        with open("material.txt", "w", encoding="utf-8") as file:
            file.write(" ".join(repr(values["rate"] * (i + 1)) for i in range(cells)))


def fail() -> None:
    """Fail as FAULT says, before there is any output."""
    if FAULT == "exit":
        print("line: the mesh is tangled\nline: giving up", file=sys.stderr)
        sys.exit(3)
    if FAULT == "signal":
        os.abort()
    if FAULT == "once" and not os.path.exists(sys.argv[3]):
        open(sys.argv[3], "w").close()
        sys.exit("line: the licence server does not answer")
    if FAULT in ("hang", "stubborn"):
        # A child in a session of its own, which may ignore SIGTERM.
        if os.fork() == 0:
            os.setsid()
            if FAULT == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(sys.argv[3], "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {os.getcwd()}\n")
        time.sleep(600)


if __name__ == "__main__":
    if "--version" in sys.argv:
        print("line 1.2")
    else:
        fail()
        main()
