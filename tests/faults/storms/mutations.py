"""Seeded damage to the files of a run: documents with wrong values, and binary files with wrong bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from simsurrogate.files import sha256_of

NESTED = "[" * 50_000
#: Values for a key of a document, and `CANARY`, which stands for a file that no stage may open.
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**30, 2**63, 1.5, float("nan"), float("inf"), -1e308),
    *("", "x", "x" * 100_000, "\x00", "ü\ud800", "../../canary", "CANARY", "!!python/name:os.system"),
    *([], {}, [None], {"a": 1}, [[[[[[1]]]]]], [1e9] * 1000),
)
#: The whole content of a document.
CONTENTS: tuple[bytes, ...] = (
    *(b"", b"null", b"[]", b"3", b'"x"', b"{}", b"\xff\xfe\x00", b'{"a": \xe9}', b"\x00" * 100),
    *(NESTED.encode(), b'{"a":' * 20_000, b"!!python/object/apply:os.abort []"),
    b"a: &a [x, x]\n"
    + b"".join(f"{y}: &{y} [*{x}, *{x}]\n".encode() for x, y in zip("abcdefghij", "bcdefghijk", strict=True)),
)


def damage(folder: Path, pattern: str, canary: Path, seed: int) -> str:
    """Damage one file of a folder, and return a description of the damage."""
    rng = random.Random(seed)
    path = rng.choice(sorted(folder.glob(pattern)))
    if path.suffix in (".json", ".yaml"):
        description = _damage_document(path, canary, rng)
    else:
        description = _damage_bytes(path, rng)
    if rng.random() < 0.7:
        correct_checksums(folder)
        description += ", checksums corrected"
    return f"{path.relative_to(folder)}: {description}"


def _damage_document(path: Path, canary: Path, rng: random.Random) -> str:
    original = path.read_bytes()
    kind = rng.randrange(6)
    if kind == 0:
        content = rng.choice(CONTENTS)
        path.write_bytes(content)
        return f"content {content[:40]!r}"
    if kind == 1:
        length = rng.randrange(len(original))
        path.write_bytes(original[:length])
        return f"truncated to {length} bytes"
    if kind == 2:
        position = rng.randrange(len(original))
        path.write_bytes(original[:position] + bytes([rng.randrange(256)]) + original[position + 1 :])
        return f"byte {position} changed"
    document = json.loads(original) if path.suffix == ".json" else yaml.safe_load(original)
    keys, container = _random_place(document, rng)
    if kind == 3:
        del container[keys[-1]]
        text = f"{keys} deleted"
    else:
        value = rng.choice(VALUES)
        container[keys[-1]] = str(canary / "secret.json") if value == "CANARY" else value
        text = f"{keys} = {str(value)[:40]!r}"
    dumped = json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document)
    path.write_text(dumped, encoding="utf-8", errors="surrogatepass")
    return text


def _random_place(document: Any, rng: random.Random) -> tuple[list[Any], Any]:
    """Return the keys of a random value, and the list or mapping that holds the value."""
    keys: list[Any] = []
    container = document
    while True:
        names = list(container) if isinstance(container, dict) else list(range(len(container)))
        keys.append(rng.choice(names))
        child = container[keys[-1]]
        if not isinstance(child, dict | list) or not child or rng.random() < 0.2:
            return keys, container
        container = child


def _damage_bytes(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    kind, position = rng.randrange(4), rng.randrange(len(content))
    if rng.random() < 0.5:
        position = min(position, rng.randrange(2048))  # the headers are at the start
    if kind == 0:
        path.write_bytes(content[:position])
        return f"truncated to {position} bytes"
    count = (1, 8, 64)[kind - 1]
    for index in range(position, min(position + count, len(content))):
        content[index] = rng.choice((0, 255, rng.randrange(256)))
    path.write_bytes(content)
    return f"{count} bytes from {position} changed"


def correct_checksums(run: Path) -> None:
    """Correct sizes, checksums and identities of all documents, as far as the documents can be read."""
    dataset = run / "dataset"
    _change_document(dataset / "manifest.json", lambda manifest: _correct_manifest(dataset, manifest))
    for receipt in (dataset / "receipts").glob("*.json"):
        shard = dataset / "data" / receipt.stem.split("-")[0] / f"{receipt.stem}.hdf5"
        _change_document(receipt, lambda entry, shard=shard: entry.update(_file_keys(shard)))
    with suppress(Exception):
        from pipeline.data.manifest import Manifest, read_document

        identity = read_document(dataset / "manifest.json", Manifest).identity
        _change_document(dataset / "validation.json", lambda entry: entry.update(identity=identity))
    for model in (run / "models").glob("*/model.json"):
        weights = model.with_name("model.safetensors")
        _change_document(
            model, lambda entry, weights=weights: entry.update(weights_sha256=sha256_of(weights))
        )


def _correct_manifest(dataset: Path, manifest: dict[str, Any]) -> None:
    from simsurrogate.files import digest

    manifest["configuration_hash"] = digest(manifest["configuration"])
    manifest["statistics_sha256"] = sha256_of(dataset / "stats.yaml")
    for shard in manifest["shards"]:
        shard.update(_file_keys(dataset / shard["file"]))


def _file_keys(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}


def _change_document(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with suppress(Exception):
        document = json.loads(path.read_bytes())
        with suppress(Exception):
            change(document)
        path.write_text(json.dumps(document), encoding="utf-8", errors="surrogatepass")
