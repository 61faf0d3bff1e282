"""One thread per test process: the tensors of these tests are too small to gain from several."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
