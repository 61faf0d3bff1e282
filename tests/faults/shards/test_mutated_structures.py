"""Shards with 1 to 8 changed bytes of structure: refused, or read with the values that h5py reads."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.data.format import hdf5
from pipeline.data.format.layout import dataset_layouts
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, read_document
from simsurrogate.errors import UserError
from tests.faults.driving import ROOT, VICTIM

ROWS = 2
#: Reads all datasets of a shard, in a process that a hostile file may crash.
READER = """
import sys
import numpy as np
from tests.support.shards import arrays_of
np.savez(sys.argv[2], **arrays_of(sys.argv[1]))
"""


def structure_positions(path: Path, varying: list[str]) -> list[int]:
    """Return the positions of all bytes that are not values of trajectories."""
    is_structure = np.ones(path.stat().st_size, bool)
    with h5py.File(path, "r") as file:
        for name in varying:
            dataset = file[name]
            is_structure[dataset.id.get_offset() :][: dataset.nbytes] = False
    return np.flatnonzero(is_structure).tolist()


def mutated(content: bytes, positions: list[int], seed: int) -> bytes:
    """Return the bytes of a file with 1 to 8 changes of its structure."""
    rng = random.Random(seed)
    changed = bytearray(content)
    # Most bytes of the structure are zeros between its parts.
    used = [position for position in positions if content[position]]
    chosen = used if rng.random() < 0.8 else positions
    if rng.random() < 0.3:
        start = rng.choice(chosen)
        word = rng.choice([2**64 - 1, 2**63, 2**32, len(content), 0, rng.choice(positions)])
        width = rng.choice([2, 4, 8])
        replacement = (word % 2 ** (8 * width)).to_bytes(width, "little")
        for offset, byte in enumerate(replacement):
            if start + offset in set(positions):
                changed[start + offset] = byte
    else:
        for position in rng.sample(chosen, rng.randint(1, 8)):
            byte = content[position]
            changed[position] = rng.choice([0, 255, byte ^ 1 << rng.randrange(8), (byte + 1) % 256])
    return bytes(changed)


def wrong_outcome(path: Path, structures: Structures) -> str:
    """Return what is wrong with the reading of a file, or an empty text."""
    try:
        locations = structures.locations(path, ROWS)
    except UserError as error:
        message = str(error)
        is_clear = message.startswith(f"{path} has another structure") and "\n" not in message
        return "" if is_clear else f"unclear message: {message}"
    values = hdf5.memory_maps(path, locations)
    output = path.with_suffix(".npz")
    result = subprocess.run(
        [sys.executable, "-c", READER, path, output], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    if result.returncode:
        return f"the shard is accepted, h5py cannot read it: {result.stderr[-300:]!r}"
    expected = np.load(output)
    changed = [name for name, value in values.items() if value.tobytes() != expected[name].tobytes()]
    return f"h5py reads other values of {changed}" if changed else ""


@pytest.mark.fault(
    "a hostile shard",
    cause="1 to 8 changed bytes of structure, with a correct checksum",
    result="refused with one message, or read with the values that h5py reads",
    lost="nothing",
)
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "seeds", [range(10), pytest.param(range(10, 8000), marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_a_mutated_structure_is_refused_or_read_as_h5py_reads_it(
    seeds: range, undamaged_run: Path, tmp_path: Path
) -> None:
    original = undamaged_run / "dataset" / VICTIM
    header = read_document(undamaged_run / "dataset" / "manifest.json", Manifest).header
    layouts = dataset_layouts(header, ROWS)
    positions = structure_positions(original, [name for name, layout in layouts.items() if layout.is_varying])
    structures = Structures(header)
    structures.locations(original, ROWS)

    def run(seed: int) -> str:
        path = tmp_path / f"{seed}.hdf5"
        path.write_bytes(mutated(original.read_bytes(), positions, seed))
        problem = wrong_outcome(path, structures)
        path.unlink()
        return f"seed {seed}: {problem}" if problem else ""

    with ThreadPoolExecutor(2) as pool:
        problems = [problem for problem in pool.map(run, seeds) if problem]
    print(f"{len(seeds)} shards of changed structure")
    assert not problems, "\n".join(problems)
