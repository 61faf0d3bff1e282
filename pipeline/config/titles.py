"""The names of solvers and surrogates as people say them, from the first lines of their YAML files."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simsurrogate.spec import Spec


def title_of(group: str, name: str) -> str:
    """Return the title of a member of a group, such as `Fourier neural operator (FNO)` for surrogate=fno.

    The title is the first comment of the member's YAML file up to the first colon. The title of a member
    without such a file is its name, in words.
    """
    path = files("configs") / group / f"{name}.yaml"
    if path.is_file():
        first_line, *_ = path.read_text(encoding="utf-8").splitlines()
        title, colon, _ = first_line.removeprefix("# ").partition(": ")
        if colon:
            return title
    return name.replace("_", " ")


def problem_title(solver: str, spec: Spec) -> str:
    """Return the title of a problem, such as `heat conduction in 2-D`.

    `solver` is the name of the solver of the data, which titles the problem. Data without one of the shipped
    solvers have the name of their spec.
    """
    title = title_of("solver", solver) if spec.name == solver else spec.name.replace("_", " ")
    if not title[1:2].isupper():
        title = title[:1].lower() + title[1:]
    if spec.has_particles:
        return f"{title} ({spec.shape[0]} particles in {len(spec.sites.directions)}-D)"
    if spec.shape == (1,):
        return title
    return f"{title} in {len(spec.shape)}-D"
