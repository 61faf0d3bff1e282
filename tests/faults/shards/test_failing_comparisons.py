"""Shards that crash, stop or inflate the HDF5 library: one message, and the reading process continues."""

from __future__ import annotations

import time
from pathlib import Path

import h5py
import pytest

from pipeline.data.format import compare_structures, structure
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, read_document
from simsurrogate.errors import UserError
from tests.faults.driving import VICTIM

#: A comparison that fails as the HDF5 library fails on some hostile files. Other releases of the library fail
#: on other files, so no file can stand for all releases.
FAILING_COMPARISON = """
import os, signal, sys, time
sys.path.insert(0, {folder!r})
import compare_structures

def fail(*_):
    {failure}

compare_structures.difference_and_offsets = fail
compare_structures.main()
"""


@pytest.mark.fault(
    "a hostile shard crashes, stops or inflates the HDF5 library",
    cause="SIGSEGV, a wait without end, and an allocation of 2 GiB in the comparison of structures",
    result="refused with one message",
    lost="nothing",
)
@pytest.mark.parametrize(
    ("failure", "seconds", "difference"),
    [
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            50,
            "the HDF5 library ends with SIGSEGV when it reads the file",
        ),
        ("time.sleep(60)", 2, "the HDF5 library takes more than 2 s to read it"),
        ("bytearray(2**31)", 50, "the comparison with the expected structure fails: MemoryError"),
    ],
    ids=["crashes", "stops", "inflates"],
)
def test_a_failure_of_the_library_is_reported_in_one_message(
    failure: str, seconds: int, difference: str, run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = run_copy / "failing_comparison.py"
    folder = str(Path(compare_structures.__file__).parent)
    program.write_text(FAILING_COMPARISON.format(folder=folder, failure=failure))
    monkeypatch.setattr(compare_structures, "__file__", str(program))
    monkeypatch.setattr(structure, "_TIMEOUT_SECONDS", seconds)
    shard = run_copy / "dataset" / VICTIM
    # Equal structures are read without the library.
    with h5py.File(shard, "r+") as file:
        file.attrs.modify("complete", False)
    header = read_document(run_copy / "dataset" / "manifest.json", Manifest).header
    start = time.monotonic()
    with pytest.raises(UserError) as error_info:
        Structures(header).locations(shard, 2)
    assert time.monotonic() - start < 30
    message = str(error_info.value)
    assert f"{shard} has another structure than the shards of its data set: {difference}. " in message
    assert "\n" not in message
