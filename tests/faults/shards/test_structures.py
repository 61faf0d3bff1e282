"""Shards with another structure than that of the writer are refused; no other file is opened."""

from __future__ import annotations

import functools
import resource
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pytest

from pipeline.data.dataset import Dataset
from pipeline.data.format import structure
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, read_document
from simsurrogate.errors import UserError
from tests.faults.driving import VICTIM, forge, run_drift_in_process
from tests.support.disks import NEEDS_ROOT, mounted_disk
from tests.support.opened_files import watched
from tests.support.shards import arrays_of, offset_of

FIELD = "t0_fields/density"
SHAPE = (2, 4, 12)
#: The type float32 in an HDF5 file: class, normalisation and sign, bytes, places of its parts; then the bias.
FLOAT32 = bytes([0x11, 0x20, 0x1F, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23])
BIAS = struct.pack("<I", 127)


def editing(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    """Return the change of an open file as a change of its path."""

    @functools.wraps(change)
    def change_path(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return change_path


def replacing(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@editing
def mark_incomplete(file: h5py.File) -> None:
    file.attrs.modify("complete", False)


@editing
def remove_row(file: h5py.File) -> None:
    values = file[FIELD][:1]
    del file[FIELD], file["density"]
    file["density"] = file.create_dataset(FIELD, data=values)


@editing
def remove_field(file: h5py.File) -> None:
    del file["t1_fields/velocity"]


@editing
def add_field(file: h5py.File) -> None:
    file["t0_fields/more"] = np.zeros(3)


@editing
def exchange_links(file: h5py.File) -> None:
    del file["amplitude"]
    file["amplitude"] = file["scalars/speed"]


@editing
def change_unit(file: h5py.File) -> None:
    file[FIELD].attrs["units"] = "g"


@editing
def scale_values(file: h5py.File) -> None:
    file[FIELD].attrs["scale_factor"] = 2.0


@editing
def exchange_dimensions(file: h5py.File) -> None:
    for scale in (file["dimensions/time"], file["dimensions/x"]):
        scale.attrs.modify("NAME", np.bytes_(b"y"))


@editing
def move_cells(file: h5py.File) -> None:
    file["dimensions/x"][0] = 7


@editing
def declare_giant(file: h5py.File) -> None:
    del file[FIELD], file["density"]
    file["density"] = file.create_dataset(FIELD, (2**40, 2**10), "f4")


@editing
def declare_giant_chunks(file: h5py.File) -> None:
    del file[FIELD], file["density"]
    file["density"] = file.create_dataset(FIELD, SHAPE, "f4", chunks=SHAPE, compression="gzip")


def double_values(path: Path) -> None:
    """Change the exponent's bias, so that the library reads other numbers than the bytes hold."""
    replacing(path, FLOAT32 + BIAS, FLOAT32 + struct.pack("<I", 126))


def remove_implied_bit(path: Path) -> None:
    """Change the normalisation of the mantissa."""
    replacing(path, FLOAT32 + BIAS, FLOAT32.replace(b"\x20\x1f", b"\x00\x1f", 1) + BIAS)


def overlap(path: Path) -> None:
    offsets = [struct.pack("<Q", offset_of(path, f"scalars/{name}")) for name in ("amplitude", "speed")]
    replacing(path, *offsets)


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(2**21))


@pytest.mark.fault(
    "a shard has another structure",
    cause="changed type, link, attribute, coordinate, offset or shape, with a correct checksum",
    result="refused with the difference",
    lost="nothing",
)
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (mark_incomplete, "/ complete: False found, True expected"),
        (remove_row, f"{FIELD}: float32(1, 4, 12) found, float32(2, 4, 12) expected"),
        (remove_field, "t1_fields/velocity is missing"),
        (add_field, "t0_fields/more is not expected"),
        (exchange_links, "amplitude leads to another object than expected"),
        (change_unit, f"{FIELD} units: 'g' found, 'kg/m^3' expected"),
        (scale_values, f"{FIELD} scale_factor is not expected"),
        (exchange_dimensions, "NAME: "),
        (move_cells, "dimensions/x: [7. "),
        (declare_giant, f"{FIELD}: float32(1099511627776, 1024) found"),
        (declare_giant_chunks, f"{FIELD} is virtual, external, compact or chunked"),
        (double_values, "float64(2, 4, 12, 1) found, float32(2, 4, 12, 1) expected"),
        (remove_implied_bit, "is stored in another type or size than expected"),
        (overlap, "scalars/amplitude and scalars/speed overlap"),
        (append, "bytes expected"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_another_structure_is_refused_with_the_difference(
    change: Callable[[Path], None], difference: str, run_copy: Path
) -> None:
    change(run_copy / "dataset" / VICTIM)
    manifest = read_document(run_copy / "dataset" / "manifest.json", Manifest)
    with pytest.raises(UserError) as error_info:
        Structures(manifest.header).locations(run_copy / "dataset" / VICTIM, 2)
    message = str(error_info.value)
    assert f"{VICTIM} has another structure than the shards of its data set: " in message
    assert difference in message
    assert message.endswith(
        "Delete the file, and type the command of python -m pipeline.generate to regenerate it"
    )
    assert "\n" not in message


def link_externally(file: h5py.File, target: Path) -> None:
    file[FIELD] = h5py.ExternalLink(str(target), "/data")


def store_externally(file: h5py.File, target: Path) -> None:
    file.create_dataset(FIELD, SHAPE, "f4", external=[(str(target), 0, 384)])


def make_virtual(file: h5py.File, target: Path) -> None:
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[:] = h5py.VirtualSource(str(target), "data", SHAPE)
    file.create_virtual_dataset(FIELD, layout)


def make_unlimited_virtual(file: h5py.File, target: Path) -> None:
    """Let the shape depend on another file."""
    maximum = (None, *SHAPE[1:])
    layout = h5py.VirtualLayout(SHAPE, "f4", maxshape=maximum)
    source = h5py.VirtualSource(str(target), "data", SHAPE, maxshape=maximum)
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset(FIELD, layout)


@pytest.mark.fault(
    "a shard leads to another file",
    cause="external link, external storage or virtual dataset",
    result="refused; inotify sees no access to the other file",
    lost="nothing",
)
@pytest.mark.parametrize("change", [link_externally, store_externally, make_virtual, make_unlimited_virtual])
def test_no_file_outside_of_a_shard_is_opened(
    change: Callable[[h5py.File, Path], None], run_copy: Path, tmp_path: Path
) -> None:
    target = tmp_path / "secret.hdf5"
    with h5py.File(target, "w") as file:
        file["data"] = np.ones(SHAPE, "f4")

    def lead_outside(shard: Path) -> None:
        with h5py.File(shard, "r+") as file:
            del file[FIELD], file["density"]
            change(file, target)

    forge(run_copy, lead_outside)
    with watched(target) as watch:
        target.read_bytes()
        assert watch.was_opened()
        with pytest.raises(UserError, match=r"train-00001\.hdf5 has another structure"):
            read_all(run_copy)
        with pytest.raises(UserError, match=rf"{VICTIM}: structure: "):
            run_drift_in_process("validate", run_copy)
        assert not watch.was_opened()


@pytest.mark.fault(
    "a shard declares a giant array",
    cause="2^40 rows in a file of a few kB",
    result="refused; less than 64 MiB are allocated",
    lost="nothing",
)
def test_a_giant_shape_allocates_no_memory(run_copy: Path) -> None:
    forge(run_copy, declare_giant)
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own_before, children_before = (resource.getrusage(user).ru_maxrss for user in users)
    with pytest.raises(UserError, match=r"float32\(1099511627776, 1024\) found"):
        read_all(run_copy)
    own, children = (resource.getrusage(user).ru_maxrss for user in users)
    assert own - own_before < 2**16, "64 MiB"
    # Children of earlier tests in this process may have been larger.
    assert children <= max(2**20, children_before), "1 GiB"


def read_all(run: Path) -> list[np.ndarray]:
    """Return the states of the training split."""
    dataset = Dataset.open(run / "dataset")
    return [dataset.trajectory("train", position).state for position in range(4)]


def test_a_data_set_of_another_release_of_the_library_is_read(
    undamaged_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write a data set in the newest format of HDF5: other bytes of equal meaning."""
    with mock.patch.object(h5py, "File", functools.partial(h5py.File, libver="latest")):
        run_drift_in_process("generate", tmp_path)
    assert (tmp_path / "dataset" / VICTIM).read_bytes() != (undamaged_run / "dataset" / VICTIM).read_bytes()
    comparisons = []
    original = structure.subprocess.run
    monkeypatch.setattr(
        structure.subprocess,
        "run",
        lambda command, **options: comparisons.append(command) or original(command, **options),
    )
    run_drift_in_process("validate", tmp_path)
    assert len(comparisons) == 2, "one for shards of 2 rows, and one for the shard of 1 row"
    np.testing.assert_array_equal(read_all(tmp_path), read_all(undamaged_run))


@NEEDS_ROOT
def test_a_full_temporary_folder_is_reported(
    undamaged_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = read_document(undamaged_run / "dataset" / "manifest.json", Manifest).header
    with mounted_disk(tmp_path, "1m") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(UserError, match=r"cannot be verified in .*: \d+ bytes are free"):
            Structures(header).locations(undamaged_run / "dataset" / VICTIM, 2)


def test_equal_structures_are_verified_without_the_library(undamaged_run: Path) -> None:
    structures = Structures(read_document(undamaged_run / "dataset" / "manifest.json", Manifest).header)
    path = undamaged_run / "dataset" / VICTIM
    locations = structures.locations(path, 2)
    with mock.patch.object(h5py, "File", side_effect=AssertionError):
        assert structures.locations(undamaged_run / "dataset/data/train/train-00000.hdf5", 2) == locations
    for name, location in locations.items():
        np.testing.assert_array_equal(
            np.memmap(path, location.dtype, "r", location.offset, location.shape), arrays_of(path)[name]
        )
