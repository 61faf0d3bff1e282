"""Checks of the values of one shard: NaN, overflows, values far from all others, and parameters."""

from __future__ import annotations

import numpy as np

from pipeline.data.checks.shard_under_test import VALUES_PER_CHUNK, ShardUnderTest
from pipeline.data.format.layout import field_path

#: The largest ratio of the value of one frame to those of all other frames of a shard.
_LARGEST_RATIO = 1e6
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def finite(shard_under_test: ShardUnderTest) -> str | None:
    """Check that no value is NaN or infinite; NaN in a field is allowed if the data have declared gaps."""
    with_gaps = set(shard_under_test.paths_with_gaps)
    for path, expected_layout in shard_under_test.layouts.items():
        if expected_layout.is_varying and expected_layout.dtype.kind == "f":
            flat_values = shard_under_test.arrays[path].reshape(-1)
            for start in range(0, flat_values.size, VALUES_PER_CHUNK):
                chunk = flat_values[start : start + VALUES_PER_CHUNK]
                is_wrong = np.isinf(chunk) if path in with_gaps else ~np.isfinite(chunk)
                positions = np.flatnonzero(is_wrong)
                if positions.size:
                    position = start + int(positions[0])
                    index = [
                        int(coordinate) for coordinate in np.unravel_index(position, expected_layout.shape)
                    ]
                    value = flat_values[position]
                    limit = float(np.finfo(expected_layout.dtype).max)
                    cause = "" if np.isnan(value) else f", an overflow: values are at most {limit:.2g}"
                    return f"{path}{index} is {value}{cause}"
    return None


def share_of_gaps(shard_under_test: ShardUnderTest) -> dict[str, float]:
    """Return the share of missing values of each field in a shard, by the name of the field."""
    shares = {}
    for field in shard_under_test.structures.header.fields("fields"):
        flat_values = shard_under_test.arrays[field_path(field)].reshape(-1)
        starts = range(0, flat_values.size, VALUES_PER_CHUNK)
        count = sum(int(np.isnan(flat_values[start : start + VALUES_PER_CHUNK]).sum()) for start in starts)
        shares[field.name] = count / max(flat_values.size, 1)
    return shares


def isolated_values(shard_under_test: ShardUnderTest) -> str | None:
    """Check that no frame of a field has a value that is far larger than those of all other frames."""
    for path, frame_sizes in shard_under_test.frame_sizes.items():
        sizes = frame_sizes.reshape(-1)
        frame, (second, first) = int(np.argmax(sizes)), np.sort(sizes)[-2:]
        if second > 0 and first > _LARGEST_RATIO * second:
            row, time = map(int, np.unravel_index(frame, frame_sizes.shape))
            return (
                f"{path} reaches {first:g} in frame {time} of row {row}, and {second:g} in all other frames"
            )
    return None


def float32_range(shard_under_test: ShardUnderTest) -> str | None:
    """Check that every value of a field lies inside the range of float32, the precision of most trainings.

    A value at the end of the range is a saturated overflow.
    """
    for path, frame_sizes in shard_under_test.frame_sizes.items():
        largest = float(frame_sizes.max(initial=0.0))
        if largest >= _LARGEST_FLOAT32:
            row, frame = map(int, np.unravel_index(int(np.argmax(frame_sizes)), frame_sizes.shape))
            return (
                f"{path} reaches {largest:.8g} in frame {frame} of row {row}. Values below "
                f"{_LARGEST_FLOAT32:.8g}, the largest float32, are allowed. Choose another unit"
            )
    return None


def parameter_range(shard_under_test: ShardUnderTest) -> str | None:
    """Check that parameters lie in their ranges, or in `test_extrapolation`, that one lies outside."""
    shard, is_outside = shard_under_test.shard, np.zeros(shard_under_test.receipt.trajectories, bool)
    for parameter in shard_under_test.manifest.spec.parameters:
        low, high = parameter.low, parameter.high
        values = shard_under_test.arrays[f"scalars/{parameter.name}"]
        wrong_values = values[(values < low) | (values > high)]
        if wrong_values.size and not shard.is_outside:
            return f"{parameter.name}={wrong_values[0]:g} found, a value in [{low:g}, {high:g}] expected"
        is_outside |= (values < low) | (values > high)
    if shard.is_outside and not is_outside.all():
        row = int(np.argmin(is_outside))
        return f"every scalar parameter of row {row} lies in its range, at least one outside expected"
    return None
