"""Where the tests that need a GPU run, and why they are skipped elsewhere."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="GPUs are used by torch")

DEVICE = "cuda"
gpu = [pytest.mark.gpu,
       pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch finds no CUDA device")]
