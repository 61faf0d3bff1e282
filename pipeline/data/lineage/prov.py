"""A family as entities of PROV-O (W3C Recommendation, 30 April 2013), for the JSON-LD of croissant.json."""

from __future__ import annotations

from typing import Any

from pipeline.data.lineage.family import Family, ModelNode


def described_ancestors(family: Family, key: str) -> dict[str, Any]:
    """Return the terms of PROV-O that say what a data set or a model was derived from.

    Each ancestor is an entity with the identifier `urn:sha256:HASH`. It is described where it is named first;
    later the identifier alone stands for it. A solver is an agent, and a measurement an entity.
    """
    return _terms(family, key, set())


def _terms(family: Family, key: str, described: set[str]) -> dict[str, Any]:
    sources = [_entity(family, parent, described) for parent in family.parents(key)]
    agents = []
    for part in family.data[key].parts if key in family.data else ():
        if part.origin.kind == "solver":
            agents.append({"@type": "prov:SoftwareAgent", "prov:label": part.origin.text})
        elif not part.origin.model:
            sources.append({"@type": "prov:Entity", "prov:label": part.origin.text})
    terms = {"prov:wasDerivedFrom": sources, "prov:wasAttributedTo": agents}
    return {term: values for term, values in terms.items() if values}


def _entity(family: Family, key: str, described: set[str]) -> dict[str, Any]:
    entity: dict[str, Any] = {"@id": f"urn:sha256:{key}"}
    if key in described:
        return entity
    described.add(key)
    node = family.node(key)
    is_model = isinstance(node, ModelNode)
    label = f"model {node.name}, generation {node.generation}" if is_model else f"data set {node.name}"
    return {**entity, "@type": "prov:Entity", "prov:label": label, **_terms(family, key, described)}
