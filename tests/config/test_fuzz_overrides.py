"""Random command lines are accepted or refused with a message, within bounds of time and memory."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import configs
from tests.support import forked

#: Bounds of one command line: seconds, and memory beyond that of the imports.
SECONDS, MEMORY_BYTES = 30, 2**30
CONFIGS = Path(configs.__path__[0])

Refusal = Callable[[list[str]], tuple[int, str]]


def flat_keys(mapping: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a configuration, groups included."""
    for name, value in mapping.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from flat_keys(value, f"{prefix}{name}.")


def _keys_of(path: str, prefix: str = "") -> list[str]:
    mapping = yaml.safe_load((CONFIGS / path).read_text())
    return list(flat_keys({name: value for name, value in mapping.items() if name != "defaults"}, prefix))


KEYS = [
    *(
        key
        for key in _keys_of("config.yaml")
        if not key.startswith("hydra") and key not in ("run", "dry_run")
    ),
    *_keys_of("solver/heat.yaml", "solver."),
    *_keys_of("surrogate/fno.yaml", "surrogate."),
    *_keys_of("launcher/local.yaml", "launcher."),
]
#: Another equation or surrogate, with its own keys.
CHOICES = [
    *((f"solver={name}", _keys_of(f"solver/{name}.yaml", "solver.")) for name in ("navier_stokes", "nbody")),
    *(
        (f"surrogate={name}", _keys_of(f"surrogate/{name}.yaml", "surrogate."))
        for name in ("unet", "deeponet")
    ),
]

NUMBERS = st.one_of(
    st.integers(-3, 40).map(str),
    st.integers(1, 1000).map(str),
    st.floats(0.01, 10).map(repr),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.sampled_from(["0", "-0.0", "1e400", "1e-320", "9" * 5000, "true", "0x10", "1_000"]),
)
WORDS = st.one_of(
    st.sampled_from(
        [
            "null",
            "''",
            "auto",
            "cuda",
            "none",
            "${run}",
            "${seed",
            "${oc.env:HOME}",
            "???",
            "~",
            "/",
            "..",
            "\\",
            "a" * 5000,
        ]
    ),
    st.text(min_size=1, max_size=8).map(lambda text: "'" + text.replace("\\", "").replace("'", "") + "'"),
    st.text(max_size=8),
)
VALUES = st.recursive(
    NUMBERS | WORDS,
    lambda values: (
        st.lists(values, max_size=4).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(st.sampled_from(["x", "kind", "min", "train", "a b"]), values, max_size=3).map(
            lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=6,
)

RANGES = st.lists(NUMBERS, min_size=1, max_size=3).map(lambda items: f"[{','.join(items)}]")


@st.composite
def overrides(draw: st.DrawFn) -> list[str]:
    """Return one or two overrides, sometimes of another equation or surrogate."""
    choice, own_keys = draw(st.sampled_from([("", []), *CHOICES]))
    keys = st.sampled_from(own_keys or KEYS)
    changed = [
        draw(st.sampled_from(["", "", "", "", "+", "++", "~"]))
        + draw(keys)
        + "="
        + draw(NUMBERS | RANGES | VALUES)
        for _ in range(draw(st.integers(1, 2)))
    ]
    return [*([choice] if choice else []), *changed]


def answer(output: Path, connection: Connection, folder: str) -> None:
    """Check one command line after another, and send the exit code and the messages of each."""
    forked.call(output, _answer, MEMORY_BYTES, "", connection, folder)


def _answer(connection: Connection, folder: str) -> None:
    from hydra.core.global_hydra import GlobalHydra

    from pipeline import chain, cli

    os.chdir(folder)
    while True:
        sys.argv = ["chain", *connection.recv(), "dry_run=true", "run=run"]
        stderr, exit_code = io.StringIO(), 0
        try:
            with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
                cli.main(chain.run)
        except SystemExit as system_exit:
            exit_code = int(system_exit.code or 0)
        except BaseException as error:
            exit_code = 1
            stderr.write(f"Traceback: {error!r}")
        finally:
            GlobalHydra.instance().clear()
        connection.send((exit_code, stderr.getvalue()))


@pytest.fixture(scope="module")
def refusal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusal]:
    """Yield a function that returns the exit code and the messages of a command line."""
    parent = tmp_path_factory.mktemp("refusal")
    folder, log = parent / "work", parent / "log"
    folder.mkdir()
    connection, other_end = forked.fork_server().Pipe()
    process = forked.start_forked(answer, log, other_end, str(folder))
    other_end.close()

    def ask(arguments: list[str]) -> tuple[int, str]:
        connection.send(arguments)
        assert connection.poll(SECONDS), f"{arguments}: no answer within {SECONDS} s"
        try:
            result: tuple[int, str] = connection.recv()
        except EOFError:
            raise AssertionError(f"{arguments}: {log.read_text()[-2000:]}") from None
        assert not list(folder.iterdir()), f"{arguments} wrote {list(folder.iterdir())}"
        return result

    yield ask
    process.kill()
    forked.exit_code_within(process)


def check(arguments: list[str], refusal: Refusal) -> int:
    """Check that a command line is accepted, or refused with one message, and return the exit code."""
    exit_code, message = refusal(arguments)
    assert "Traceback" not in message, f"{arguments}: {message[-3000:]}"
    assert exit_code in (0, 2), f"{arguments}: {exit_code} {message}"
    assert exit_code == 0 or message.startswith("error: "), f"{arguments}: {message}"
    return exit_code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"training.steps={'9' * 5000}"], "5000 digits"),
        ([f"training.steps={'9' * 900}"], "at most 9007199254740992"),
        (["solver=navier_stokes", "solver.resolution=1000000000"], "an integer of at most 1048576"),
        (["solver=navier_stokes", "solver.resolution=1000000"], "sites take at least"),
        (["solver.resolution=100000000"], "at least 2 and of at most 1048576"),
        (["solver.resolution=1000000", "output.steps=1"], "2 frames on 1000000000000 sites take at least"),
        (["solver.heaters.count=1000000000"], "at least 0 and of at most 1000"),
        (["solver.diffusivity={kind: inclusions, num_inclusions: 1000000}"], "of at most 100000"),
        (["solver.diffusivity.modes=1000", "solver.extent=[1,1,1]"], "1000 modes along each of 3 axes needs"),
        (["solver.initial={kind: harmonics, count: 1000000}"], "at least 1 and of at most 1000"),
        (["solver.scheme=rkl2", "solver.time_step=1e-300"], "into 1e+299 steps. At most 1e+09 steps"),
        (["solver=nbody", "solver.integrator=leapfrog", "solver.time_step=1e-30"], "At most 1e+09 steps"),
        (["samples.train=10000000000", "samples.per_shard=100000"], "10000000016 trajectories of 11 frames"),
        (["samples.train=10000000000"], "shards. A data set has at most 1048576 shards"),
        (["output.steps=10000000000"], "10000000001 frames on 4096 sites take at least 11.6 PiB on disk"),
        (["surrogate=deeponet", "surrogate.functions=1000000000"], "of memory are free here"),
        (["surrogate=unet", "surrogate.width=10000000000000000000000"], "more weights than any machine"),
        (["surrogate=unet", "surrogate.width=1000000"], "weights on 1 rank, 5 numbers of 4 bytes"),
        (["surrogate.layers=1000000"], "more than 5000 arrays of weights"),
        (["experiment=heat_parametric", "surrogate=pinn", "surrogate.points=1000000"], "points of a window"),
        (
            ["training.batch_size=1000000"],
            "a batch of 1000000 windows of 2 frames on 4096 sites needs at least",
        ),
        (["evaluation.batch_size=100000", "samples.test=100000"], "the evaluation of 100000 trajectories"),
        (["ensemble=1000000"], "at most 1000"),
        (["launcher.ranks.train=1000000000"], "at most 1000000"),
    ],
    ids=lambda value: "-".join(value)[:60] if isinstance(value, list) else "",
)
def test_sizes_are_refused_with_numbers(arguments: list[str], message: str, refusal: Refusal) -> None:
    exit_code, text = refusal(arguments)
    assert exit_code == 2, text
    assert message in text
    assert text.startswith("error: ")
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("argument", ["evaluation.figures=1000000000000", "~launcher.ranks.generate"])
def test_more_figures_than_trajectories_and_default_ranks_are_allowed(
    argument: str, refusal: Refusal
) -> None:
    assert refusal([argument]) == (0, "")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("number", "seed"),
    [(40, 0), pytest.param(6000, 1, marks=pytest.mark.soak)],
    ids=["short", "long"],
)
def test_random_overrides_are_accepted_or_refused_with_a_message(
    number: int, seed: int, refusal: Refusal
) -> None:
    from hypothesis import seed as seeded

    exit_codes: list[int] = []

    @seeded(seed)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(overrides())
    def run(arguments: list[str]) -> None:
        exit_codes.append(check(arguments, refusal))

    run()
    print(
        f"{len(exit_codes)} command lines, {exit_codes.count(0)} accepted and {exit_codes.count(2)} refused"
    )
