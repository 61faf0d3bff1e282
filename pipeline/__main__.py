"""The command `simsurrogate STAGE KEY=VALUE ...`, and the overview of all commands."""

from __future__ import annotations

import ast
import importlib.metadata
import runpy
import sys
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

from rich.console import Console
from rich.table import Table

from pipeline.parallel.parent import end_with_mpirun
from simsurrogate.discovery import installed_entry_points
from simsurrogate.memory import explain_limited_address_space

_COMMANDS = (
    "generate", "adopt", "validate", "train", "evaluate", "worth", "chain", "compare", "check", "lineage",
)  # fmt: skip
_EXAMPLES = (
    ("simsurrogate chain experiment=smoke", "all stages in seconds, on this machine"),
    ("mpirun -n 4 simsurrogate generate solver=heat run=runs/heat", "one stage on four ranks"),
    (
        "simsurrogate adopt source=arrays run=runs/mine description=adopt.yaml",
        "a data set out of your own files",
    ),
    ("simsurrogate train run=runs/heat surrogate=unet", "another surrogate on the same data"),
    ("simsurrogate chain -m experiment=smoke surrogate=fno,unet", "several surrogates, with a table"),
    ("simsurrogate compare runs/smoke", "a table of all models of a run"),
    ("simsurrogate worth run=runs/heat_fno evaluation.worth=8", "time and error next to those of the solver"),
    ("simsurrogate lineage run=runs/heat", "the ancestors of the models of a run, as a tree"),
    ("simsurrogate check solver.path=my_solver.py", "what a solver of your own does wrong, in words"),
    ("simsurrogate chain experiment=heat_fno launcher=slurm", "all stages as a chain of Slurm jobs"),
    ("simsurrogate generate solver=heat --cfg job", "every key with its value; each can be overridden"),
    (
        'eval "$(simsurrogate completion)"',
        "complete commands, keys and names in bash and zsh",
    ),
)


def main() -> None:
    """Print the overview or run a stage: the console command `simsurrogate`.

    `simsurrogate train KEY=VALUE` runs the same stage as `python -m pipeline.train KEY=VALUE`, but never
    imports a folder `solvers`, `surrogates` or `configs` of the working folder.
    """
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print_overview()
    elif arguments[0] == "--version":
        print(f"simsurrogate {importlib.metadata.version('simsurrogate')}")
    elif arguments[0] == "completion":
        from pipeline import completion  # only completions read YAML files here

        completion.main(arguments[1:], _COMMANDS)
    elif arguments[0] in _COMMANDS:
        end_with_mpirun()
        explain_limited_address_space()
        sys.argv[1:] = arguments[1:]
        runpy.run_module(f"pipeline.{arguments[0]}", run_name="__main__", alter_sys=True)
    else:
        print(
            f"error: {arguments[0]!r} is not a command. Commands are {', '.join(_COMMANDS)}, completion. "
            "Type simsurrogate for an overview",
            file=sys.stderr,
        )
        sys.exit(2)


def print_overview() -> None:
    """Print all stages, solvers, surrogates and experiments, without importing solvers or surrogates."""
    console = Console(highlight=False)
    stages = [(name, _first_paragraph(files("pipeline") / f"{name}.py")) for name in _COMMANDS]
    _print_table(
        console, "Commands", "simsurrogate COMMAND KEY=VALUE ... or python -m pipeline.COMMAND", stages
    )
    for group, title in (("solver", "Solvers"), ("surrogate", "Surrogates"), ("experiment", "Experiments")):
        _print_table(console, title, f"{group}=NAME", [*_yaml_members(group), *_announced_members(group)])
    console.print("\n[bold]Examples[/]")
    for command, purpose in _EXAMPLES:
        console.print(f"  [dim]# {purpose}[/]\n  [cyan]{command}[/]", soft_wrap=True)


def _announced_members(group: str) -> Sequence[tuple[str, str]]:
    """Return the members that installed packages announce."""
    return [
        (entry_point.name, f"from the installed package {entry_point.module.split('.')[0]}")
        for entry_point in installed_entry_points(f"{group}s")
    ]


def _yaml_members(group: str) -> list[tuple[str, str]]:
    folder = files("configs") / group
    paths = sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else []
    return [(path.name[:-5], _first_comment(path)) for path in paths if path.name.endswith(".yaml")]


def _first_comment(file: Traversable) -> str:
    """Return the first comment that is not a directive for Hydra."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and not line.startswith("# @package"):
            return line.lstrip("# ").strip()
    return ""


def _first_paragraph(file: Traversable) -> str:
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].replace("\n", " ")


def _print_table(console: Console, title: str, usage: str, rows: list[tuple[str, str]]) -> None:
    if not rows:
        return
    console.print(f"\n[bold]{title}[/]  [dim]{usage}[/]")
    table = Table(box=None, show_header=False, padding=(0, 2), pad_edge=True)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
