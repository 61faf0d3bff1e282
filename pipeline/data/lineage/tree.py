"""The family tree of a model or a data set as text, and its boxes and arrows for a figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.data.lineage.family import Family, origin_texts

_BRANCH, _LAST, _LINE, _SPACE = "├─ ", "└─ ", "│  ", "   "


def tree_text(family: Family, key: str) -> str:
    """Return the tree of the ancestors of a model or a data set, one in each line."""
    return "\n".join(_lines(family, key, "", "", set()))


def box_text(family: Family, key: str) -> str:
    """Return a model or a data set in a few short lines."""
    if key in family.models:
        model = family.models[key]
        return f"model {model.name}\n{key[:12]}\ngeneration {model.generation}"
    kinds = " + ".join(dict.fromkeys(part.origin.kind for part in family.data[key].parts))
    count = sum(sum(part.trajectories.values()) for part in family.data[key].parts)
    return f"data {family.data[key].name}\n{key[:12]}\n{count} trajectories: {kinds}"


def oldest_first(family: Family, keys: Iterable[str]) -> list[str]:
    """Return the models and data sets with these hashes and all their ancestors, each after its parents."""
    ordered: dict[str, None] = {}
    pending = [(key, False) for key in keys]
    while pending:
        key, follows_its_parents = pending.pop()
        if follows_its_parents:
            ordered[key] = None
        elif key not in ordered:
            pending.append((key, True))
            pending += [(parent, False) for parent in reversed(family.parents(key)) if parent not in ordered]
    return list(ordered)


def _lines(family: Family, key: str, start: str, further: str, seen: set[str]) -> Iterator[str]:
    """Yield the line of a node and the lines of its ancestors. Ancestors of a repeated node are left out."""
    notes = []
    if key in family.models:
        model = family.models[key]
        name = f"model {model.name} {key[:12]}, generation {model.generation}"
        if model.accepted:
            notes.append(f"accepted by {', '.join(model.accepted)}")
    else:
        name = f"data {family.data[key].name} {key[:12]}"
        notes += origin_texts(family, key)
    is_repeated = key in seen
    yield f"{start}{name}{' (see above)' if is_repeated else ''}"
    if is_repeated:
        return
    seen.add(key)
    parents = family.parents(key)
    for note in notes:
        yield f"{further}{_LINE if parents else _SPACE}{note}"
    for number, parent in enumerate(parents, start=1):
        is_last = number == len(parents)
        branch, space = (_LAST, _SPACE) if is_last else (_BRANCH, _LINE)
        yield from _lines(family, parent, further + branch, further + space, seen)
