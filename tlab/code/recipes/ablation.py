"""Programs that take parts out: named parts at once, and a map with one part at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.dialect import Edit, Keep, Place, indented
from tlab.code.metrics import metric_lines, token_id
from tlab.code.recipes.pieces import LARGEST, every_layer, ids_line, outcome, printed, prompt_chunk
from tlab.code.recipes.recipe import Recipe
from tlab.code.script import Chunk
from tlab.references import REFERENCE_PROMPTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.request import Request
    from tlab.targets import Target

__all__ = ["RECIPES"]

_METHODS = ("zero", "mean", "resample")
_PARTS = {"attn.z": "z", "attn.out": "attn", "mlp.out": "mlp"}
_SWEPT = {"heads": ("attn.z",), "attn": ("attn.out",), "mlp": ("mlp.out",), "layers": ("attn.out", "mlp.out")}


def _ablate(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of one token's probability when parts are taken out."""
    method = ask.choice("method", _METHODS, "zero")
    sites = _sites(ask.targets())
    variables = {place: f"{_PARTS[place.kind]}_{place.layer}" for place in sites}
    edits = [
        Edit(
            f"replace_{variables[place]}",
            place,
            _PARTS[place.kind],
            _statements(place, heads, method, variables[place]),
        )
        for place, heads in sites.items()
    ]
    token = ask.value("token")
    followed = "int(clean[-1].argmax())" if token is None else token_id(token, say)
    keep = [Keep(variable, place) for place, variable in variables.items()]
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk("The clean run, and the token to follow.", [*say.run("clean", "ids"), f"token = {followed}"]),
        *(_replacements(ask, say, keep, method) if edits and method != "zero" else []),
        Chunk(_said(ask.targets(), method), [*say.definitions(edits), "", *say.run("patched", "ids", edits=edits)]),
        *outcome("clean", "patched"),
    ]


def _ablation_sweep(ask: Request, say: Dialect) -> list[Chunk]:
    """Write: the change of a metric for each head, attention layer, MLP or block that is taken out."""
    method = ask.choice("method", _METHODS, "mean")
    over = ask.choice("over", tuple(_SWEPT), "heads")
    is_heads = over == "heads"
    places = [Place(kind, "layer") for kind in _SWEPT[over]]
    edits = [_swept_edit(place, method, is_heads=is_heads) for place in places]
    keep = [Keep(f"{_PARTS[place.kind]}s", Place(place.kind, "layer", every_layer(say))) for place in places]
    says, metric = metric_lines(ask.value("metric"), say, plain="clean", answer="clean", ids="ids")
    heads = say.layout.n_heads
    run = [
        *say.run("patched", "ids", edits=edits),
        f"table[layer{', head' if is_heads else ''}] = metric(patched) - metric(clean)",
    ]
    loop = [f"for layer in {every_layer(say)}:"]
    loop += [f"    for head in range({heads}):", *indented(run, 2)] if is_heads else indented(run)
    shape = f"{say.layout.n_layers}, {heads}" if is_heads else str(say.layout.n_layers)
    return [
        prompt_chunk(ask.text("prompt"), say),
        Chunk("The clean run.", say.run("clean", "ids")),
        Chunk(f"What is followed: {says}.", metric),
        *(_replacements(ask, say, keep, method) if method != "zero" else []),
        Chunk(
            "One run for each part, with that part's output replaced: what does the metric gain or lose?",
            [*say.definitions(edits), "", f"table = torch.zeros({shape})", *loop],
        ),
        printed(LARGEST, "The largest change, up or down."),
    ]


def _sites(targets: Sequence[Target]) -> dict[Place, list[int] | None]:
    """Return the places that the targets stand at, in forward order, with their heads; `None` for the whole place."""
    sites: dict[Place, list[int] | None] = {}
    for target in targets:
        for site in target.sites:
            place = Place(site.split(".", 2)[2], str(target.layer))
            if target.head is None:
                sites[place] = None
            else:
                heads = sites.setdefault(place, [])
                if heads is not None:
                    heads.append(target.head)
    return dict(sorted(sites.items(), key=lambda item: item[0].order))


def _statements(place: Place, heads: list[int] | None, method: str, variable: str) -> tuple[str, ...]:
    name = _PARTS[place.kind]
    new = "0" if method == "zero" else f"{variable}_new"
    if heads is None:
        return (f"{name}[:] = {new}",)
    chosen = str(heads[0]) if len(heads) == 1 else str(heads)
    return (f"{name}[:, :, {chosen}] = {new if method == 'zero' else f'{new}[:, {chosen}]'}",)


def _swept_edit(place: Place, method: str, *, is_heads: bool) -> Edit:
    name = _PARTS[place.kind]
    new = "0" if method == "zero" else f"{name}s_new[layer]"
    if is_heads:
        statement = f"{name}[:, :, head] = {new if method == 'zero' else f'{new}[:, head]'}"
    else:
        statement = f"{name}[:] = {new}"
    return Edit(f"replace_{name}", place, name, (statement,))


def _said(targets: Sequence[Target], method: str) -> str:
    what = {"zero": "nothing", "mean": "its mean", "resample": "what it said at random moments"}[method]
    names = ", ".join(str(target) for target in targets) or "nothing"
    return f"The same run with the output of {names} replaced by {what}."


def _replacements(ask: Request, say: Dialect, keep: Sequence[Keep], method: str) -> list[Chunk]:
    """Write what is to stand in each place, taken from runs of other prompts."""
    texts = ask.texts("reference", REFERENCE_PROMPTS)
    seen = [f"{one.variable}_seen" for one in keep]
    loop = [
        ids_line("reference", "text", say),
        *say.run("", "reference", keep=keep),
        *(f"{name}.append({one.variable})" for name, one in zip(seen, keep, strict=True)),
    ]
    made = []
    for name, one in zip(seen, keep, strict=True):
        if one.place.each:
            layers = f"for layer in {one.place.each}"
            made.append(f"{one.variable}_new = [replacement([run[layer] for run in {name}]) {layers}]")
        else:
            made.append(f"{one.variable}_new = replacement({name})")
    chooser = _mean() if method == "mean" else _resample(ask.whole("seed", 0, least=0, below=2**63))
    return [
        Chunk(
            "Other prompts, and what the parts say in them.",
            ["references = [", *(f"    {text!r}," for text in texts), "]"],
        ),
        Chunk(
            "",
            [*(f"{name} = []" for name in seen), "for text in references:", *indented(loop)],
        ),
        Chunk(
            "The first position is kept apart: it serves as a sink for attention and says what no other says.",
            [*chooser, "", *made],
        ),
    ]


def _mean() -> list[str]:
    return [
        "def replacement(values):",
        "    first = torch.stack([value[0, 0] for value in values]).mean(0)",
        "    later = torch.cat([value[0, 1:] for value in values]).mean(0)",
        "    return torch.stack([first] + [later] * (ids.shape[1] - 1))",
    ]


def _resample(seed: int) -> list[str]:
    return [
        "def replacement(values):",
        "    first = torch.stack([value[0, 0] for value in values])",
        "    later = torch.cat([value[0, 1:] for value in values])",
        f"    generator = torch.Generator().manual_seed({seed})",
        "    one = torch.randint(len(first), (), generator=generator)",
        "    others = torch.randint(len(later), (ids.shape[1] - 1,), generator=generator)",
        "    return torch.cat([first[one][None], later[others]])",
    ]


RECIPES = {
    "ablate": Recipe(
        _ablate,
        takes=frozenset({"prompt", "targets", "method", "token", "reference", "seed"}),
        beside=frozenset({"controls", "compare_methods", "everywhere"}),
    ),
    "ablation_sweep": Recipe(
        _ablation_sweep, takes=frozenset({"prompt", "over", "metric", "method", "reference", "seed"})
    ),
}
