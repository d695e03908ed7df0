"""Whether a model will fit: its size from the weights' own headers, beside the memory that is free.

Refuses: loading anything. It reads a few kilobytes of each file.
"""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path

import torch

from tlab import hub
from tlab.errors import ModelTooLarge, shown

__all__ = ["available_bytes", "check_fits", "n_parameters"]

# What a short run needs beside the weights.
_HEADROOM = 1.2
_LONGEST_HEADER = 100_000_000
_HALF_BYTES = 2
# Of the kinds of number that a configuration names; others are taken for float32, which counts fewest parameters.
_ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
# Where a group says how much it may hold, how much it holds, and which of that is files that can be dropped.
_GROUPS = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def check_fits(name: str, folder: Path | None, dtype: torch.dtype, device: str) -> None:
    """Return quietly if the model fits into the free memory, or if its size cannot be told.

    Raises:
        ModelTooLarge: it does not, on the device or on the way there: weights pass through the main memory.

    """
    n_params = n_parameters(folder) if folder is not None else hub.n_parameters(name)
    if n_params is None:
        return
    weights = n_params * dtype.itemsize
    needs = {device: int(weights * _HEADROOM)}
    if device != "cpu":
        needs["cpu"] = weights
    for place, needed in needs.items():
        free = available_bytes(place)
        if free is not None and needed > free:
            where = "" if device == "cpu" else f" on {place}" if place != "cpu" else " of main memory on their way"
            narrower = ", or dtype=torch.bfloat16" if dtype.itemsize > _HALF_BYTES else ""
            raise ModelTooLarge(
                f"model too large: expected at most {free / 1e9:.1f} GB, got {shown(name)} with "
                f"{n_params / 1e6:,.0f} million parameters, which need about {needed / 1e9:.1f} GB{where} in "
                f"{str(dtype).removeprefix('torch.')}; take a smaller model{narrower}"
            )


def n_parameters(folder: Path) -> int | None:
    """Return the number of parameters that a folder's files of weights announce; `None` if they cannot be read.

    Safetensors say it. Pickles (`pytorch_model*.bin`) do not, and are not opened: their size says it nearly.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return _pickled_parameters(folder)
    total = 0
    for path in files:
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


def _pickled_parameters(folder: Path) -> int | None:
    try:
        size = sum(path.stat().st_size for path in folder.glob("pytorch_model*.bin"))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kind = (config.get("dtype") or config.get("torch_dtype")) if isinstance(config, dict) else None
    return size // _ITEM_BYTES.get(str(kind), 4) or None


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
    known = [one for one in (found, _group_bytes(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))) if one is not None]
    return min(known, default=None)


def _group_bytes(root: Path, membership: Path) -> int | None:
    """Return what the process's control groups leave it, as containers limit them; `None` if they set no limit.

    Args:
        root: where the groups are mounted, of version 1 or 2.
        membership: the file that names the process's own.

    """
    left = []
    for controller, path in _own_groups(membership):
        own = root / controller / path.strip("/")
        # A limit holds for all groups below; inside a container the own one is mounted as the root.
        above = [group for group in (own, *own.parents) if group.is_relative_to(root / controller)]
        left += [_left_in(group, *_GROUPS[controller]) for group in above]
    return min((one for one in left if one is not None), default=None)


def _own_groups(membership: Path) -> list[tuple[str, str]]:
    """Return the process's groups that may limit memory: which of the two kinds, and the path."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    split = [line.split(":", 2) for line in lines]
    return [
        ("memory" if one[1] else "", one[2])
        for one in split
        if len(one) == 3 and (one[1] == "" or "memory" in one[1].split(","))  # noqa: PLR2004  number, kinds, path
    ]


def _left_in(group: Path, limit: str, usage: str, dropped: str) -> int | None:
    try:
        most, used = (int((group / name).read_text(encoding="utf-8")) for name in (limit, usage))
    except (OSError, ValueError):  # there is none, or it says "max"
        return None
    try:
        listed = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        listed = {}
    return max(0, most - used + int(listed.get(dropped, 0)))
