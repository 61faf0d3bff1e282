"""Joins the ranks by whatever launcher started them; each prints `RANK SIZE SUM AGREED THREADS`.

THREADS are the most that PyTorch's or NumPy's products take.
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
        agreed = ranks.broadcast(f"said by {ranks.rank}")
        threads = max(torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info()))
        line = f"{ranks.rank} {ranks.size} {total:g} {agreed.replace(' ', '_')} {threads}\n"
        print(line, end="", flush=True)
