"""The same experiment in plain code: TransformerLens, nnsight, or transformers with torch's own hooks.

A recipe composes each program from what a library's dialect can say. The programs need no tlab, and end in the number
that the result has. Refuses: running anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlab.code.dialects.nnsight import NnsightDialect
from tlab.code.dialects.torch import TorchDialect
from tlab.code.dialects.transformer_lens import TransformerLensDialect
from tlab.code.layout import layout_of
from tlab.code.recipes import (
    ablation,
    attribution,
    circuits,
    doses,
    lenses,
    patching,
    paths,
    probe,
    reading,
    sae,
    steering,
)
from tlab.code.request import Request
from tlab.code.script import Chunk, text_of
from tlab.errors import UnknownOption, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlab.code.dialects.dialect import Dialect
    from tlab.code.layout import Layout
    from tlab.code.recipes.recipe import Recipe
    from tlab.manifest import Manifest
    from tlab.models import Model

__all__ = ["LIBRARIES", "VERBS", "write"]

LIBRARIES = ("transformer_lens", "nnsight", "torch")

_DIALECTS: dict[str, Callable[[Layout], Dialect]] = {
    "transformer_lens": TransformerLensDialect,
    "nnsight": NnsightDialect,
    "torch": TorchDialect,
}
_HEADS = {
    "transformer_lens": "{verb} with TransformerLens 4.3; needs: pip install transformer-lens",
    "nnsight": "{verb} with nnsight 0.8; needs: pip install nnsight",
    "torch": "{verb} with transformers 5 and torch's own hooks; needs: pip install torch transformers",
}
_RECIPES: dict[str, Recipe] = {
    **ablation.RECIPES,
    **attribution.RECIPES,
    **circuits.RECIPES,
    **doses.RECIPES,
    **lenses.RECIPES,
    **patching.RECIPES,
    **paths.RECIPES,
    **probe.RECIPES,
    **reading.RECIPES,
    **sae.RECIPES,
    **steering.RECIPES,
}
_DTYPES = ("float32", "float64", "bfloat16", "float16")

VERBS = tuple(sorted(_RECIPES))


def write(manifest: Manifest, library: str, model: Model) -> str:
    """Return a program that does what the manifest's call did, in a library's own terms.

    It needs the library and the model's weights, runs on the CPU, and leaves the result's number in `answer`.

    Args:
        manifest: of the result.
        library: `"transformer_lens"`, `"nnsight"` or `"torch"`.
        model: the model that the manifest names.

    Raises:
        UnknownOption: the library, the experiment or the model's architecture is none that code is written for.

    Invariants:
        Prompts and names appear as literals and nowhere else.

    """
    if not isinstance(library, str) or library not in _DIALECTS:
        raise UnknownOption(
            f"library refused: expected one of {', '.join(LIBRARIES)}, got {shown(library)}; try 'torch'"
        )
    verb = manifest.name
    if verb not in _RECIPES:
        raise UnknownOption(
            f"code refused: expected one of the verbs {', '.join(VERBS)}, got {shown(verb)}; "
            f"this experiment has none in plain code"
        )
    recipe = _RECIPES[verb]
    recipe.check(manifest.arguments)
    layout = layout_of(model.hf.config.to_dict())
    say = _DIALECTS[library](layout)
    widths = {"d_model": model.d_model, "d_mlp": model.d_mlp, "d_vocab": model.d_vocab}
    request = Request(manifest.arguments, layout, model.sites, _stop_ids(model), model.n_ctx, widths, manifest)
    chunks = recipe.write(request, say)
    place = model.name if model.folder is None else str(model.folder)
    dtype = manifest.dtype if manifest.dtype in _DTYPES else _DTYPES[0]
    opening = Chunk("", say.opening(place, dtype, has_graph=recipe.has_graph))
    return f"# {_HEADS[library].format(verb=verb)}\n" + text_of([opening, *chunks])


def _stop_ids(model: Model) -> tuple[int, ...]:
    for config in (getattr(model.hf, "generation_config", None), model.hf.config):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return tuple(int(one) for one in found) if isinstance(found, list | tuple) else (int(found),)
    return ()
