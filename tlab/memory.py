"""Whether a model will fit: its size from the weights' own headers, beside the memory that is free.

Refuses: loading anything. It reads a few kilobytes of each file.
"""

from __future__ import annotations

import json
import math
import os
import struct
from typing import TYPE_CHECKING

import torch

from tlab import hub
from tlab.errors import ModelTooLarge, shown

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["available_bytes", "check_fits", "n_parameters"]

# What a short run needs beside the weights.
_HEADROOM = 1.2
_LONGEST_HEADER = 100_000_000


def check_fits(name: str, folder: Path | None, dtype: torch.dtype, device: str) -> None:
    """Return quietly if the model fits into the free memory, or if its size cannot be told.

    Raises:
        ModelTooLarge: it does not.

    """
    n_params = n_parameters(folder) if folder is not None else hub.n_parameters(name)
    free = available_bytes(device)
    if n_params is None or free is None:
        return
    needed = int(n_params * dtype.itemsize * _HEADROOM)
    if needed > free:
        raise ModelTooLarge(
            f"model too large: expected at most {free / 1e9:.1f} GB, got {shown(name)} with {n_params / 1e6:,.0f} "
            f"million parameters, which need about {needed / 1e9:.1f} GB in {str(dtype).removeprefix('torch.')}; "
            f"take a smaller model, or dtype=torch.bfloat16"
        )


def n_parameters(folder: Path) -> int | None:
    """Return the number of parameters that a folder's safetensors files announce; `None` if they cannot be read."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                if length > _LONGEST_HEADER:
                    return None
                header = json.loads(file.read(length))
        except (OSError, ValueError, struct.error):
            return None
        total += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return total or None


def available_bytes(device: str) -> int | None:
    """Return the free memory of a device; `None` where the system does not say."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as file:  # noqa: PTH123  no path of ours
            found = next((int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable")), None)
    except OSError:
        found = None
    if found is None and "SC_PHYS_PAGES" in os.sysconf_names:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return found
