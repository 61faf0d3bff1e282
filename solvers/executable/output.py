"""The output files of an external program, and their arrays.

Shape letters: T frames, C channels, K coefficient fields; `*sites` as in the spec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Spec

#: A function that returns the array NAME from the output files of a folder, if it has this shape.
Read = Callable[[Path, str, tuple[int, ...]], np.ndarray]


class OutputError(Exception):
    """An output that is missing, incomplete, or not finite; the message says what is wrong."""


@dataclass(frozen=True)
class Hdf5Output:
    """One HDF5 file with a dataset for each channel.

    Attributes:
        kind: the format.
        file: the name of the file.
        names: the dataset of a channel; the default is the name of the channel.
        order: the order of the axes of each dataset; the default is the time before the axes of the spec.
    """

    kind: Literal["hdf5"]
    file: str
    names: dict[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetcdfOutput:
    """One NetCDF file (classic or NetCDF-4) with a variable for each channel, see `Hdf5Output`."""

    kind: Literal["netcdf"]
    file: str
    names: dict[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class NpyOutput:
    """A file of NumPy (.npy) for each channel: `names`, or CHANNEL.npy; see `Hdf5Output` for `order`."""

    kind: Literal["npy"]
    names: dict[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextOutput:
    """A text file for each channel: `names`, or CHANNEL.txt; see `Hdf5Output` for `order`.

    The file holds all numbers in the order of the array, the last axis fastest, separated by white space or
    commas. A line per frame is usual. The rest of a line after `#` is a comment.
    """

    kind: Literal["text"]
    names: dict[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()


Output = Hdf5Output | NetcdfOutput | NpyOutput | TextOutput


class OutputReader:
    """The reader of the output files of a program.

    Raises:
        UserError: a name leads out of the folder, belongs to no channel, or the order of the axes is wrong.
    """

    def __init__(self, output: Output, spec: Spec):
        self._spec = spec
        self._read: Read
        suffix = ""
        if isinstance(output, Hdf5Output | NetcdfOutput):
            _check_file(output.file)
            self._read = _Hdf5(output.file) if isinstance(output, Hdf5Output) else _Netcdf(output.file)
        else:
            self._read, suffix = (_npy, ".npy") if isinstance(output, NpyOutput) else (_text, ".txt")
        channels = [*spec.channels, *spec.coefficient_channels]
        if unknown_names := sorted(set(output.names) - set(channels)):
            raise UserError(
                f"solver.output.names has the entries {', '.join(unknown_names)}, which are no channels. The "
                f"channels are {', '.join(channels)}. Remove or rename the entries"
            )
        self._names = {channel: output.names.get(channel, channel + suffix) for channel in channels}
        if suffix:
            for name in self._names.values():
                _check_file(name)
        axes = ("time", *spec.axis_names)
        self._order = output.order or axes
        if sorted(self._order) != sorted(axes):
            raise UserError(
                f"solver.output.order=[{','.join(output.order)}] is not an order of the axes. Each of "
                f"{', '.join(axes)} is needed once. Type solver.output.order=[{','.join(axes)}] in the order "
                "of the arrays in the files"
            )

    def states(self, folder: Path, times: np.ndarray) -> np.ndarray:
        """Return the states (T, C, *sites), float64, at the times (T,).

        Raises:
            OutputError: an array is missing, has another shape, or holds a value that is not finite.
        """
        sizes = dict(zip(("time", *self._spec.axis_names), (len(times), *self._spec.shape), strict=True))
        states = np.empty((len(times), len(self._spec.channels), *self._spec.shape))
        for index, channel in enumerate(self._spec.channels):
            states[:, index] = self._array(folder, channel, self._order, sizes)
            is_finite = np.isfinite(states[:, index]).reshape(len(times), -1).all(axis=1)
            if not is_finite.all():
                frame = int(np.argmin(is_finite))
                raise OutputError(f"wrote a value of {channel} that is not finite, at {times[frame]:g} s")
        return states

    def coefficient_fields(self, folder: Path) -> np.ndarray:
        """Return the coefficient fields (K, *sites), float64.

        Raises:
            OutputError: an array is missing, has another shape, or holds a value that is not finite.
        """
        sizes = dict(zip(self._spec.axis_names, self._spec.shape, strict=True))
        order = [name for name in self._order if name != "time"]
        fields = np.empty((len(self._spec.coefficient_channels), *self._spec.shape))
        for index, channel in enumerate(self._spec.coefficient_channels):
            fields[index] = self._array(folder, channel, order, sizes)
            if not np.isfinite(fields[index]).all():
                raise OutputError(f"wrote a value of {channel} that is not finite")
        return fields

    def _array(self, folder: Path, channel: str, order: Sequence[str], sizes: dict[str, int]) -> np.ndarray:
        """Return the array of a channel with the axes in the order of `sizes`."""
        name = self._names[channel]
        try:
            values = self._read(folder, name, tuple(sizes[axis] for axis in order))
        except OutputError:
            raise
        # The libraries report damaged files by exceptions of many types.
        except Exception as error:
            raise OutputError(
                f"wrote {name}, which cannot be read: {type(error).__name__}: {error}"
            ) from error
        return values.transpose([order.index(name) for name in sizes])


def _check_file(name: str) -> None:
    """Refuse the name of an output file that leads out of the folder of the trajectory."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"solver.output names the file {name!r}. The program runs in a folder of its own and writes its "
            "output there. Type the name of the file alone"
        )


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        written = sorted(
            str(other.relative_to(folder))
            for other in folder.rglob("*")
            if other.is_file() and other.name not in ("stdout.txt", "stderr.txt")
        )
        files = f"The folder holds {', '.join(written[:5])}" if written else "The folder holds no file"
        raise OutputError(f"wrote no file {name}. {files}")
    return path


def _checked(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array-like object as float64, after a check of its shape and type."""
    if tuple(values.shape) != shape:
        raise OutputError(f"wrote {name} of the shape {tuple(values.shape)} instead of {shape}")
    if np.dtype(values.dtype).kind not in "fiu":
        raise OutputError(f"wrote {name} of the type {values.dtype}, which are no real numbers")
    return np.asarray(values[...], np.float64)


def _npy(folder: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    path = _existing(folder, name)
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise OutputError(f"wrote {name}, which NumPy cannot read: {error}") from None
    return _checked(name, values, shape)


def _text(folder: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    text = _existing(folder, name).read_text(errors="replace")
    words = [word for line in text.splitlines() for word in line.partition("#")[0].replace(",", " ").split()]
    try:
        # Fortran prints exponents of double precision with D.
        values = np.array([word.replace("D", "E").replace("d", "e") for word in words], np.float64)
    except ValueError as error:
        raise OutputError(f"wrote {name} with a word that is no number: {error}") from None
    if len(values) != np.prod(shape):
        raise OutputError(f"wrote {name} with {len(values)} numbers instead of {np.prod(shape)}, {shape}")
    return values.reshape(shape)


@dataclass(frozen=True)
class _Hdf5:
    file: str

    def __call__(self, folder: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return self.array(_existing(folder, self.file), name, shape)[0]

    def array(self, path: Path, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the values and the attributes of a dataset."""
        import h5py  # The import takes time, and starts MPI in an h5py that was built with MPI.

        try:
            with h5py.File(path, "r") as file:
                if not isinstance(file.get(name), h5py.Dataset):
                    raise OutputError(f"wrote {path.name} without {name}. It holds {', '.join(file)}")
                return _checked(f"{path.name}: {name}", file[name], shape), dict(file[name].attrs)
        except OSError as error:
            raise OutputError(f"wrote {path.name}, which HDF5 cannot read: {error}") from None


@dataclass(frozen=True)
class _Netcdf:
    file: str

    def __call__(self, folder: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
        path = _existing(folder, self.file)
        with path.open("rb") as file:
            is_classic = file.read(3) == b"CDF"
        values, attributes = (
            _classic_array(path, name, shape) if is_classic else _Hdf5(self.file).array(path, name, shape)
        )
        # The conventions of NetCDF: missing values, then scale and offset.
        for missing in ("_FillValue", "missing_value"):
            if missing in attributes:
                values = np.where(values == np.float64(np.ravel(attributes[missing])[0]), np.nan, values)
        scale, offset = (
            float(np.ravel(attributes.get(key, default))[0])
            for key, default in (("scale_factor", 1.0), ("add_offset", 0.0))
        )
        return values * scale + offset


def _classic_array(path: Path, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the values and the attributes of a variable of a classic NetCDF file."""
    from scipy.io import netcdf_file

    try:
        file = netcdf_file(path, "r", mmap=False)
    except (ValueError, TypeError, IndexError, EOFError) as error:
        raise OutputError(f"wrote {path.name}, which is no whole NetCDF file: {error}") from None
    with closing(file):
        if name not in file.variables:
            raise OutputError(f"wrote {path.name} without {name}. It holds {', '.join(file.variables)}")
        variable = file.variables[name]
        return _checked(f"{path.name}: {name}", variable.data, shape), dict(variable._attributes)
