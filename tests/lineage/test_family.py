"""The family tree over four generations with a mixture: as text, as a picture, and by a reader of PROV-O."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rdflib

from pipeline.data import croissant
from pipeline.data.lineage.family import DataNode, Family, ModelNode, Part
from pipeline.data.lineage.tree import box_text, oldest_first, tree_text
from pipeline.data.manifest import read_complete_manifest
from pipeline.data.origin import Origin
from pipeline.plots.models import draw_tree
from pipeline.plots.saving import save
from simsurrogate.errors import UserError


def key(letter: str, number: int) -> str:
    return f"{letter}{number}".ljust(64, "0")


def rollouts(generation: int) -> DataNode:
    origin = Origin(kind="surrogate", name="fno", model=key("a", generation), generation=generation)
    return DataNode(name="heat", parts=(Part(origin=origin, trajectories={"train": 4}),))


def four_generations() -> Family:
    """Return four models: the first of simulation and measurements, each later one of rollouts and both."""
    simulated = Part(
        origin=Origin(kind="solver", name="heat", version="1"), trajectories={"train": 8, "test": 2}
    )
    measured = Part(origin=Origin(kind="measurement", source="rig 2"), trajectories={"train": 3})
    real = {
        key("d", 1): DataNode(name="heat", parts=(simulated,)),
        key("d", 2): DataNode(name="rod", parts=(measured,)),
    }
    family = Family(data=real, models={key("a", 1): ModelNode(name="fno", generation=1, data=tuple(real))})
    for generation in (1, 2, 3):
        data = {key("e", generation): rollouts(generation)}
        parents = (key("e", generation), key("d", 2))
        model = {key("a", generation + 1): ModelNode(name="fno", generation=generation + 1, data=parents)}
        family = family | Family(data=data, models=model)
    return family


TREE = """\
model fno a40000000000, generation 4
├─ data heat e30000000000
│  │  output of the surrogate fno a30000000000, generation 3, not verified (4 train)
│  └─ model fno a30000000000, generation 3
│     ├─ data heat e20000000000
│     │  │  output of the surrogate fno a20000000000, generation 2, not verified (4 train)
│     │  └─ model fno a20000000000, generation 2
│     │     ├─ data heat e10000000000
│     │     │  │  output of the surrogate fno a10000000000, generation 1, not verified (4 train)
│     │     │  └─ model fno a10000000000, generation 1
│     │     │     ├─ data heat d10000000000
│     │     │     │     solver heat 1 (8 train, 2 test)
│     │     │     └─ data rod d20000000000
│     │     │           measurement, rig 2 (3 train)
│     │     └─ data rod d20000000000 (see above)
│     └─ data rod d20000000000 (see above)
└─ data rod d20000000000 (see above)"""


def test_the_tree_is_printed_and_drawn(tmp_path: Path) -> None:
    family = four_generations()
    family.check("here")
    assert family.newest_model == key("a", 4)
    assert tree_text(family, key("a", 4)) == TREE
    order = oldest_first(family, [key("a", 4)])
    assert [name[:2] for name in order] == ["d1", "d2", "a1", "e1", "a2", "e2", "a3", "e3", "a4"]
    arrows = [(parent, child) for child in order for parent in family.parents(child)]
    texts = {item: box_text(family, item) for item in order}
    picture = save(draw_tree(texts, arrows), tmp_path / "tree.svg").read_text()
    assert picture.count("3 trajectories: measurement") == 1
    assert all(key("a", number)[:12] in picture for number in (1, 2, 3, 4))


def test_a_reader_of_prov_finds_the_same_tree(rollout_run: Path) -> None:
    manifest = read_complete_manifest(rollout_run / "dataset")
    origin = {"kind": "surrogate", "name": "fno", "model": key("a", 4), "generation": 4}
    manifest = manifest.model_copy(
        update={
            "configuration": manifest.configuration | {"origin": origin},
            "ancestors": four_generations(),
        }
    )
    graph = rdflib.Graph()
    graph.parse(data=json.dumps(croissant.describe(manifest, "2020-02-29")), format="json-ld")
    prov = rdflib.Namespace("http://www.w3.org/ns/prov#")
    root = next(graph.subjects(rdflib.RDF.type, rdflib.URIRef("https://schema.org/Dataset")))
    found = {
        str(child).rpartition(":")[2]: {
            str(item).rpartition(":")[2]
            for item in graph.objects(child, prov.wasDerivedFrom)
            if isinstance(item, rdflib.URIRef)
        }
        for child in (*graph.transitive_objects(root, prov.wasDerivedFrom),)
        if isinstance(child, rdflib.URIRef)
    }
    family = four_generations()
    assert found == {item: set(family.parents(item)) for item in (*family.models, *family.data)}
    assert [str(item) for item in graph.objects(root, prov.wasDerivedFrom)] == [f"urn:sha256:{key('a', 4)}"]
    (agent,) = graph.objects(rdflib.URIRef(f"urn:sha256:{key('d', 1)}"), prov.wasAttributedTo)
    assert str(graph.value(agent, prov.label)) == "solver heat 1"


def test_a_cycle_is_refused_by_name() -> None:
    family = four_generations()
    model = family.models[key("a", 1)].model_copy(update={"data": (key("e", 2),)})
    broken = Family(data=family.data, models=family.models | {key("a", 1): model})
    with pytest.raises(
        UserError, match=r"here: the lineage has a cycle: .*model fno a1000.* <- .*set heat e2000"
    ):
        broken.check("here")


def test_a_missing_ancestor_is_refused_by_name() -> None:
    family = four_generations()
    data = {name: node for name, node in family.data.items() if name != key("d", 2)}
    with pytest.raises(
        UserError, match=r"lineage of the model fno .* names the ancestor d20000000000, which is"
    ):
        Family(data=data, models=family.models).check("here")


def test_a_generation_that_is_too_low_is_refused() -> None:
    family = four_generations()
    model = family.models[key("a", 3)].model_copy(update={"generation": 1})
    with pytest.raises(UserError, match=r"a30000000000 has the generation 1, and its ancestors require 3"):
        Family(data=family.data, models=family.models | {key("a", 3): model}).check("here")
