"""Hostile and damaged files: refused without opening another file, without memory, and without a trace."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline import adopt
from pipeline.adoption import reader_process
from simsurrogate.errors import UserError
from tests.adoption import sources
from tests.support.in_process import settings_of
from tests.support.opened_files import watched

_GIANT = 2**40
#: The memory that a reader may allocate for a hostile file, bytes.
_MAX_MEMORY = 100 * 10**6


def victim_of(folder: Path) -> Path:
    """Return a file outside the source, which no reader may open."""
    path = folder / "victim.hdf5"
    with h5py.File(path, "w") as file:
        file["values"] = sources.HEAT
    return path


def hdf5(folder: Path, layout: str, change: Callable[[h5py.File, Path], None]) -> tuple[Path, str]:
    """Return a source of a layout in HDF5 whose field was changed."""
    victim = victim_of(folder.parent)
    source, description = sources.LAYOUTS[layout](folder)
    with h5py.File(source, "r+") as file:
        change(file, victim)
    return source, description


def field_of(file: h5py.File) -> tuple[h5py.Group, str]:
    """Return the group and the name of the field in a file, after its removal."""
    path = next(path for path in ("t0_fields/u", "tensor", "0000/data", "u") if path in file)
    parent, name = file[path].parent, path.rpartition("/")[2]
    del parent[name]
    return parent, name


def link_externally(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    group[name] = h5py.ExternalLink(str(victim), "values")


def link_softly(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    file["elsewhere"] = h5py.ExternalLink(str(victim), "/")
    group[name] = h5py.SoftLink("/elsewhere/values")


def store_externally(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    group.create_dataset(name, (10, 4, 8, 8), np.float32, external=[(str(victim), 0, 10240)])


def make_virtual(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    layout = h5py.VirtualLayout(sources.HEAT.shape, np.float32)
    layout[...] = h5py.VirtualSource(str(victim), "values", sources.HEAT.shape)
    group.create_virtual_dataset(name, layout)


def declare_giant(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    group.create_dataset(name, (_GIANT, 4, 8, 8), np.float32, chunks=(1, 4, 8, 8))


def declare_giant_chunk(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    shape = (10, 4, 4096, 4096)
    group.create_dataset(name, shape, np.float32, chunks=shape, compression="gzip")


def compress_zeros(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    shape = (80, 4, 256, 256)
    group.create_dataset(name, data=np.zeros(shape, np.float32), chunks=(1, 4, 256, 256), compression="gzip")


def store_texts(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    group.create_dataset(name, (10, 4, 8, 8), h5py.string_dtype())


def store_references(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    group.create_dataset(name, (10, 4, 8, 8), h5py.ref_dtype)


def store_compounds(file: h5py.File, victim: Path) -> None:
    group, name = field_of(file)
    group.create_dataset(name, (10, 4, 8, 8), np.dtype([("real", "f4"), ("imaginary", "f4")]))


def expand(file: h5py.File, victim: Path) -> None:
    """Leave a field that varies along no axis of a grid of 4096 x 4096 points."""
    for name in "xy":
        attributes = dict(file[f"dimensions/{name}"].attrs)
        del file[f"dimensions/{name}"]
        points = file["dimensions"].create_dataset(name, data=np.linspace(0, 1, 4096), compression="gzip")
        points.attrs.update(attributes)
    del file["t1_fields"], file["t0_fields/source"]
    group, name = field_of(file)
    group.attrs["field_names"] = np.array([name], dtype=h5py.string_dtype())
    dataset = group.create_dataset(name, data=np.zeros((10, 4), np.float32))
    dataset.attrs["dim_varying"] = np.zeros(2, bool)


def repeat_names(file: h5py.File, victim: Path) -> None:
    group = file["t0_fields"]
    group.attrs["field_names"] = np.array(["u"] * 1000, dtype=h5py.string_dtype())


def truncated(folder: Path, layout: str) -> tuple[Path, str]:
    source, description = sources.LAYOUTS[layout](folder)
    source.write_bytes(source.read_bytes()[:-2000])
    return source, description


def broken_header(folder: Path, layout: str) -> tuple[Path, str]:
    source, description = sources.LAYOUTS[layout](folder)
    content = source.read_bytes()
    source.write_bytes(content[:8] + np.random.default_rng(0).bytes(len(content) - 8))
    return source, description


_HDF5_CHANGES = (
    link_externally,
    link_softly,
    store_externally,
    make_virtual,
    declare_giant,
    declare_giant_chunk,
    compress_zeros,
    store_texts,
    store_references,
    store_compounds,
)


def npy_objects(folder: Path) -> tuple[Path, str]:
    source, description = sources.npy(folder)
    np.save(source, np.array([print] * 4, object), allow_pickle=True)
    return source, description


def npy_giant(folder: Path) -> tuple[Path, str]:
    source, description = sources.npy(folder)
    content = source.read_bytes()
    declared, giant = b"(10, 4, 8, 8), }      ", b"(2199023255552, 4, 8), }"
    assert content.count(declared[:15]) == 1
    start = content.index(declared[:15])
    source.write_bytes(content[:start] + giant + content[start + len(giant) :])
    return source, description


def npy_long_header(folder: Path) -> tuple[Path, str]:
    source, description = sources.npy(folder)
    source.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{" * 1000)
    return source, description


def npz_bomb(folder: Path) -> tuple[Path, str]:
    np.savez_compressed(folder / "u.npz", u=np.zeros((80, 4, 256, 256), np.float32))
    return folder / "u.npz", sources.npy(folder)[1]


def npz_objects(folder: Path) -> tuple[Path, str]:
    np.savez(folder / "u.npz", u=np.array([print] * 4, object))
    return folder / "u.npz", sources.npy(folder)[1]


def npz_lying_size(folder: Path) -> tuple[Path, str]:
    source, description = sources.npz(folder)
    content = bytearray(source.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 2**31 - 1)
    source.write_bytes(content)
    return source, description


def linked_array(folder: Path) -> tuple[Path, str]:
    source, description = sources.npy_folder(folder)
    (folder / "u.npy").unlink()
    (folder / "u.npy").symlink_to(victim_of(folder.parent))
    return source, description


def pipe(folder: Path) -> tuple[Path, str]:
    source, description = sources.npy_folder(folder)
    (folder / "u.npy").unlink()
    os.mkfifo(folder / "u.npy")
    return source, description


def zarr_link(folder: Path) -> tuple[Path, str]:
    source, description = sources.zarr2(folder)
    chunk = next(path for path in (source / "u").iterdir() if path.name[0].isdigit())
    chunk.unlink()
    chunk.symlink_to(victim_of(folder.parent))
    return source, description


def zarr_changed(folder: Path, **keys: object) -> tuple[Path, str]:
    source, description = sources.zarr2(folder)
    path = source / "u" / ".zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    return source, description


def zarr_pickle(folder: Path) -> tuple[Path, str]:
    source, description = zarr_changed(folder, dtype="|O", filters=[{"id": "pickle", "protocol": 5}])
    chunk = next(path for path in (source / "u").iterdir() if path.name[0].isdigit())
    chunk.write_bytes(pickle.dumps(print))
    return source, description


def zarr_giant(folder: Path) -> tuple[Path, str]:
    return zarr_changed(folder, shape=[_GIANT, 4, 8, 8])


def zarr_giant_chunk(folder: Path) -> tuple[Path, str]:
    return zarr_changed(folder, chunks=[2**20, 4096, 8, 8])


def zarr_codec(folder: Path) -> tuple[Path, str]:
    return zarr_changed(folder, compressor={"id": "json2"})


def netcdf3_giant(folder: Path) -> tuple[Path, str]:
    source, description = folder / "waves.nc", sources.BOUNDARIES
    sources.waves_dataset().to_netcdf(source, engine="scipy")
    content = source.read_bytes()
    name = content.index(b"trajectory") + 12
    source.write_bytes(content[:name] + struct.pack(">i", 2**30) + content[name + 4 :])
    return source, description


def netcdf3_truncated(folder: Path) -> tuple[Path, str]:
    source, description = folder / "waves.nc", sources.BOUNDARIES
    sources.waves_dataset().to_netcdf(source, engine="scipy")
    source.write_bytes(source.read_bytes()[:3000])
    return source, description


def table(folder: Path, change: Callable[[str], str]) -> tuple[Path, str]:
    source, description = sources.csv_particles(folder)
    source.write_text(change(source.read_text()))
    return source, description


_FUNCTIONS = (
    npy_objects,
    npy_giant,
    npy_long_header,
    npz_bomb,
    npz_objects,
    npz_lying_size,
    linked_array,
    pipe,
    zarr_link,
    zarr_pickle,
    zarr_giant,
    zarr_giant_chunk,
    zarr_codec,
    netcdf3_giant,
    netcdf3_truncated,
)
#: The changes of files in HDF5, by layout.
_CHANGES = {
    "well": (*_HDF5_CHANGES, expand, repeat_names),
    "pdebench_tensor": (link_externally, store_externally, declare_giant, store_texts),
    "pdebench_groups": (link_softly, make_virtual),
    "netcdf4": (link_externally, make_virtual, declare_giant, store_texts),
}
_KINDS: dict[str, Callable[[Path], tuple[Path, str]]] = {
    **{function.__name__: function for function in _FUNCTIONS},
    **{
        f"{layout}_{change.__name__}": partial(hdf5, layout=layout, change=change)
        for layout, changes in _CHANGES.items()
        for change in changes
    },
    "table_long_line": partial(table, change=lambda text: "x" * 2**17 + text),
    "table_words": partial(table, change=lambda text: text.replace("\n1,", "\n=cmd(),", 1)),
    "table_missing_row": partial(table, change=lambda text: text[: text.rstrip().rindex("\n")]),
    "table_of_zeros": partial(table, change=lambda text: "\0" * 10**6),
    "well_truncated": partial(truncated, layout="well"),
    "well_broken_header": partial(broken_header, layout="well"),
    "netcdf4_truncated": partial(truncated, layout="netcdf4"),
}


_REFUSED_BY_THE_STAGE = ("linked_array", "pipe", "zarr_link")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the list to which every answer of a reader is appended."""
    received: list[dict[str, Any]] = []
    parse = reader_process.parse_json

    def parse_and_append(*arguments: Any) -> Any:
        received.append(parse(*arguments))
        return received[-1]

    monkeypatch.setattr(reader_process, "parse_json", parse_and_append)
    return received


@pytest.mark.fault(
    "a file to adopt is hostile or damaged",
    cause="links, external storage, virtual datasets, giant shapes, objects, bombs, damage",
    result="refused; no other file is opened, at most 100 MB are allocated, nothing is written",
    lost="nothing",
)
@pytest.mark.parametrize("kind", _KINDS)
def test_a_hostile_file_is_refused(kind: str, tmp_path: Path, answers: list[dict[str, Any]]) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    victim = victim_of(tmp_path)
    source, description = _KINDS[kind](folder)
    overrides = sources.adopt_overrides(tmp_path, source, description)
    with watched(victim) as watch:
        with pytest.raises(UserError) as error_info:
            adopt.run(settings_of(tmp_path / "run", *overrides))
        assert not watch.was_opened()
    assert "Traceback" not in str(error_info.value)
    # A link and a pipe are refused before a reader starts.
    assert bool(answers) != (kind in _REFUSED_BY_THE_STAGE)
    assert all(0 <= answer["allocated_bytes"] < _MAX_MEMORY for answer in answers)
    assert not (tmp_path / "run" / "dataset" / "data").exists()
    assert not (tmp_path / "run" / "dataset" / "manifest.json").exists()


def test_a_reader_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_process, "_TIMEOUT_SECONDS", 0.01)
    source, description = sources.npy(tmp_path)
    with pytest.raises(UserError, match=r"takes more than 0\.01 s"):
        adopt.run(settings_of(tmp_path / "run", *sources.adopt_overrides(tmp_path, source, description)))


def test_members_of_an_archive_are_never_extracted(tmp_path: Path) -> None:
    source, description = sources.npz(tmp_path)
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(source, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("../../escaped.npy", members["times.npy"])
    adopt.run(settings_of(tmp_path / "run", *sources.adopt_overrides(tmp_path, source, description)))
    assert not (tmp_path.parent / "escaped.npy").exists()
    assert not (tmp_path.parent.parent / "escaped.npy").exists()
