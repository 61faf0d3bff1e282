"""Joins the ranks by whatever launcher started them; each prints `RANK SIZE SUM AGREED THREADS`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from pipeline.training import distributed

if __name__ == "__main__":
    with distributed.joined("cpu", Path(tempfile.gettempdir())) as ranks:
        total = ranks.sum(torch.tensor([ranks.rank + 1.0])).item()
        agreed = ranks.agree(f"said by {ranks.rank}")
        line = f"{ranks.rank} {ranks.size} {total:g} {agreed.replace(' ', '_')} {torch.get_num_threads()}\n"
        print(line, end="", flush=True)
