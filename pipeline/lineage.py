"""The family tree of the models and the data set of a run, as text and as a picture.

    python -m pipeline.lineage run=runs/heat      # prints the trees, and writes RUN/lineage.svg

The tree comes from the run folder alone: a model records all its ancestors. `model=NAME` chooses one model.
"""

from __future__ import annotations

import sys

from pipeline import cli
from pipeline.config import agreement
from pipeline.config.settings import Settings
from pipeline.data.lineage.family import Family
from pipeline.data.lineage.tree import box_text, oldest_first, tree_text
from pipeline.data.manifest import read_complete_manifest
from pipeline.runs.folder import RunFolder
from simsurrogate.files import is_read_only


def run(settings: Settings) -> None:
    """Print the family tree of each model of the run, or of its data set, and draw the trees.

    Raises:
        UserError: the run has neither a model nor a complete data set; an ancestor is missing, or the lineage
            has a cycle.
    """
    folder = RunFolder.of(settings)
    family, keys = _family_of(folder, settings.model if agreement.is_typed("model") else None)
    for key in keys:
        print(tree_text(family, key), flush=True)
    if is_read_only(folder.path):
        print(f"note: {folder.path} is not writable, so no picture is drawn", file=sys.stderr, flush=True)
        return
    # Imported here because matplotlib takes longer than the rest.
    from pipeline.plots.models import draw_tree
    from pipeline.plots.saving import save

    texts = {key: box_text(family, key) for key in oldest_first(family, keys)}
    arrows = [(parent, key) for key in texts for parent in family.parents(key)]
    path = folder.path / "lineage.svg"
    save(draw_tree(texts, arrows), path)
    print(f"lineage: wrote {path}. Next: open it in a browser", flush=True)


def _family_of(folder: RunFolder, model: str | None) -> tuple[Family, list[str]]:
    """Return the family of a run, and the hashes of its models, or of its data set if it has no model."""
    paths = sorted(path.parent for path in folder.models.glob("*/model.json"))
    if model is not None:
        paths = [folder.with_model(model).model_folder]
    if not paths:
        manifest = read_complete_manifest(folder.dataset)
        manifest.family.check(str(folder.dataset / "manifest.json"))
        return manifest.family, [manifest.identity]
    # Imported here because the import loads torch.
    from pipeline.runs.model_family import family_of_model

    family, keys = Family(), list[str]()
    for path in paths:
        own = family_of_model(path)
        family, keys = family | own, [*keys, own.newest_model]
    return family, keys


if __name__ == "__main__":
    cli.main(run)
