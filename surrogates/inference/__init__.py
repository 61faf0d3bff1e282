"""The arithmetic of predictions: fast products, chunks of batches, layouts of weights, and compiled code."""

from surrogates.inference.arithmetic import fast_arithmetic
from surrogates.inference.chunks import CHUNK_BYTES, in_chunks
from surrogates.inference.compiled import Compilable
from surrogates.inference.layout import arranged
from surrogates.inference.products import fast_matmul

__all__ = ["CHUNK_BYTES", "Compilable", "arranged", "fast_arithmetic", "fast_matmul", "in_chunks"]
