"""How fast sweeps and captures are, beside TransformerLens and plain Hugging Face, in one run on one machine.

Prints a table in Markdown: seconds, the ratio, GFLOP/s that the sweep achieved, and their share of what plain matrix
products of such sizes reach here. The same numbers come out of both sides, which is checked.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM

import tlab
from tlab import metrics, weights
from tlab.catalogue import CATALOGUE
from tlab.engine import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Fourteen tokens each. The first pair differs in the second name, so that most positions are the same in both runs;
# the second pair from the second token on, so that nearly all must be computed.
PAIRS = {
    "late difference": (
        "When Mary and John went to the store, John gave a drink to",
        "When Mary and John went to the store, Mary gave a drink to",
        (" Mary", " John"),
    ),
    "early difference": (
        "When Mary and John went to the store, John gave a drink to",
        "When John and Mary went to the store, Mary gave a drink to",
        (" Mary", " John"),
    ),
}


@dataclass(frozen=True)
class _Row:
    what: str
    ours_s: float
    theirs_s: float
    target: str
    note: str

    def __str__(self) -> str:
        ratio = self.theirs_s / self.ours_s
        return f"| {self.what} | {self.theirs_s:.2f} | {self.ours_s:.2f} | {ratio:.1f} | {self.target} | {self.note} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=15, help="of the captures; sweeps run once, theirs are long")
    parser.add_argument("--skip", nargs="*", default=[], choices=["sweeps", "captures"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, bridge, hf = _models()
    rate = _matrix_rate()
    print(f"threads {torch.get_num_threads()}, matrix products of this size reach {rate:.0f} GFLOP/s\n")  # noqa: T201
    if "captures" not in options.skip:
        _captures(model, bridge, hf, options.repeats)
    if "sweeps" not in options.skip:
        _sweeps(model, bridge, rate)


def _models() -> tuple[tlab.Model, Any, Any]:
    folder = weights.cache_folder(CATALOGUE["smollm2-135m"])
    with weights.quiet_transformers():
        bridge = TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)
        hf = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    return tlab.load("smollm2-135m"), bridge.eval(), hf


def _sweeps(model: tlab.Model, bridge: Any, rate: float) -> None:  # noqa: ANN401  the bridge has no types
    print("| sweep | TransformerLens, s | tlab, s | ratio | target | achieved |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    kinds: tuple[tuple[Any, Any, str], ...] = (
        ("resid_pre", patching.get_act_patch_resid_pre, "15"),
        ("heads", patching.get_act_patch_attn_head_out_all_pos, "8"),
    )
    for name, (clean, corrupted, (pos, neg)) in PAIRS.items():
        metric = metrics.logit_diff(pos, neg)
        ids = model.to_ids(corrupted)
        with torch.no_grad():
            _, cache = bridge.run_with_cache(model.to_ids(clean)[None], prepend_bos=False)
        for over, theirs, target in kinds:
            sweep = functools.partial(tlab.patch_sweep, model, clean, corrupted, over=over, metric=metric)
            ours, ours_s = _timed(sweep)
            measure = metric.bind(model, ids)
            read = functools.partial(_last, measure)
            with torch.no_grad():
                expected, theirs_s = _timed(functools.partial(theirs, bridge, ids[None], cache, read))
            torch.testing.assert_close(ours.values, expected.float().cpu(), rtol=0, atol=1e-4)
            gflops = _gflop(model, ours) / ours_s
            note = f"{gflops:.0f} GFLOP/s, {100 * gflops / rate:.0f} % of the rate"
            row = _Row(f"{over}, {ours.values.numel()} places, {name}", ours_s, theirs_s, target, note)
            print(row, flush=True)  # noqa: T201


def _last(measure: Callable[[torch.Tensor], torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
    return measure(logits[:, -1:])[0]


def _captures(model: tlab.Model, bridge: Any, hf: Any, repeats: int) -> None:  # noqa: ANN401
    ids = model.to_ids(PAIRS["late difference"][0])
    some = [f"blocks.{layer}.{site}" for layer in range(model.n_layers) for site in ("resid_pre", "attn.pattern")]
    ways: dict[str, Callable[[], object]] = {
        "plain Hugging Face, eager": lambda: hf(ids[None], use_cache=False),
        "tlab, nothing captured": lambda: run(model, ids),
        "tlab, stream and patterns": lambda: run(model, ids, sites=some),
        "tlab, everything": lambda: run(model, ids, sites=model.sites),
        "Bridge, nothing captured": lambda: bridge(ids[None], prepend_bos=False),
        "Bridge, its cache": lambda: bridge.run_with_cache(ids[None], prepend_bos=False),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for turn in range(repeats + 2):
            # In turns, so that what else the machine does falls on all alike.
            for name, way in ways.items():
                _, seconds = _timed(way)
                if turn > 1:
                    times[name].append(seconds)
    plain = times["plain Hugging Face, eager"]
    targets = {"tlab, stream and patterns": "1.15", "tlab, everything": "1.5"}
    print("| one pass of 14 tokens | median, ms | ratio to plain, median of pairs | target |")  # noqa: T201
    print("|---|---|---|---|")  # noqa: T201
    for name, found in times.items():
        ratio = statistics.median(mine / base for mine, base in zip(found, plain, strict=True))
        print(f"| {name} | {1000 * statistics.median(found):.0f} | {ratio:.2f} | {targets.get(name, '')} |")  # noqa: T201
    print()  # noqa: T201


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def _gflop(model: tlab.Model, swept: Any) -> float:  # noqa: ANN401
    """Count the products of weights and activations that the sweep's runs need, attention's own left out."""
    in_blocks = sum(p.numel() for layer in model.hf.model.layers for p in layer.parameters() if p.dim() > 1)
    per_layer = in_blocks / model.n_layers
    first = next(i for i, (a, b) in enumerate(zip(*_ids(model, swept), strict=True)) if a != b)
    n_pos = len(_ids(model, swept)[0])
    total = 0.0
    for layer in range(model.n_layers):
        if swept.column_axis == "pos":
            positions = sum(n_pos - pos for pos in range(first, n_pos))
            runs = n_pos - first
        else:
            runs = len(swept.columns)
            positions = runs * (n_pos - first)
        total += 2 * per_layer * (model.n_layers - layer) * positions + 2 * runs * model.W_U.numel()
    return total / 1e9


def _ids(model: tlab.Model, swept: Any) -> tuple[Sequence[int], Sequence[int]]:  # noqa: ANN401
    return model.to_ids(swept.clean).tolist(), model.to_ids(swept.corrupted).tolist()


def _matrix_rate(seconds: float = 1.5) -> float:
    """Return the GFLOP/s of plain products as sweeps have them: 512 positions through an MLP's first layer."""
    left, right = torch.randn(512, 576), torch.randn(576, 1536)
    for _ in range(20):
        left @ right
    n_done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        left @ right
        n_done += 1
    return 2 * 512 * 576 * 1536 * n_done / (time.perf_counter() - began) / 1e9


if __name__ == "__main__":
    main()
