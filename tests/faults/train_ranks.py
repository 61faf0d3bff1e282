"""A process group under any launcher.

Each rank prints `RANK SIZE SUM BROADCAST THREADS`. THREADS is the largest number of threads in the matrix
products of PyTorch and NumPy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from threadpoolctl import threadpool_info

from pipeline.parallel.ranks import init_ranks

if __name__ == "__main__":
    with init_ranks("cpu", Path(tempfile.gettempdir())) as ranks:
        total = ranks.sum(torch.tensor([ranks.rank + 1.0])).item()
        message = ranks.broadcast(f"from_{ranks.rank}")
        threads = max(torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info()))
        line = f"{ranks.rank} {ranks.size} {total:g} {message} {threads}\n"
        print(line, end="", flush=True)
