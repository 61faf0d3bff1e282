"""`python -m pipeline` tells what there is: stages, solvers, surrogates, experiments, commands."""

from __future__ import annotations

import ast
from importlib.resources import files
from importlib.resources.abc import Traversable

from rich.console import Console
from rich.table import Table

_STAGES = ("generate", "validate", "train", "evaluate", "chain")
_EXAMPLES = (
    ("python -m pipeline.chain experiment=smoke", "all stages in seconds, here"),
    ("mpirun -n 4 python -m pipeline.generate solver=heat run=runs/heat", "one stage on four ranks"),
    ("python -m pipeline.train run=runs/heat surrogate=unet", "another surrogate on the same data"),
    ("python -m pipeline.chain -m experiment=smoke surrogate=fno,unet", "several surrogates, with a table"),
    ("python -m pipeline.compare runs/smoke", "all models of a run side by side"),
    ("python -m pipeline.chain experiment=heat_fno launcher=slurm", "all stages as a chain of Slurm jobs"),
    ("python -m pipeline.generate solver=heat --cfg job", "every key with its value; each can be overridden"),
)


def main() -> None:
    """Prints the overview; it reads the files' first lines and imports neither solver nor surrogate."""
    console = Console(highlight=False)
    stages = [(name, _docstring(files("pipeline") / f"{name}.py")) for name in _STAGES]
    _print(console, "Stages", "python -m pipeline.STAGE KEY=VALUE ...", stages)
    for group, title in (("solver", "Solvers"), ("surrogate", "Surrogates"), ("experiment", "Experiments")):
        _print(console, title, f"{group}=NAME", _choices(group))
    console.print("\n[bold]Examples[/]")
    for command, purpose in _EXAMPLES:
        console.print(f"  [dim]# {purpose}[/]\n  [cyan]{command}[/]", soft_wrap=True)


def _choices(group: str) -> list[tuple[str, str]]:
    folder = files("configs") / group
    found = sorted(folder.iterdir(), key=lambda file: file.name) if folder.is_dir() else []
    return [(file.name[:-5], _comment(file)) for file in found if file.name.endswith(".yaml")]


def _comment(file: Traversable) -> str:
    """The first comment that is no directive to Hydra."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and not line.startswith("# @package"):
            return line.lstrip("# ").strip()
    return ""


def _docstring(file: Traversable) -> str:
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].replace("\n", " ")


def _print(console: Console, title: str, usage: str, rows: list[tuple[str, str]]) -> None:
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
