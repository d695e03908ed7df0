"""Reading a manifest's arguments: each is checked for its type and its range before a program may contain it.

A manifest can come from a file that anybody wrote. Texts enter a program as `repr`, numbers as numbers, and names only
after they have been parsed; nothing is pasted.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tlab.code.dialects.dialect import ORDER, Place
from tlab.errors import UnknownOption, UnknownSite, UnknownTarget, UnusablePrompt, shown
from tlab.targets import Target, parse_targets

if TYPE_CHECKING:
    from tlab.code.layout import Layout
    from tlab.manifest import Manifest

__all__ = ["Request"]

_MISSING = object()
_SITE = re.compile(r"blocks\.(\d{1,6})\.(.+)")
_OUTSIDE = ("embed", "ln_final.out", "logits")


@dataclass(frozen=True)
class Request:
    """The arguments of one call, to be asked for by type.

    Args:
        arguments: as the manifest has them.
        layout: the model's names and sizes.
        sites: every site of the model, for names with a `*`.
        stop_ids: the tokens with which the model ends a text.
        n_ctx: the longest text that it reads.
        widths: `d_model`, `d_mlp` and `d_vocab`.
        manifest: of the call.

    """

    arguments: Mapping[str, Any]
    layout: Layout
    sites: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    n_ctx: int = 0
    widths: Mapping[str, int] = field(default_factory=dict)
    manifest: Manifest | None = None

    def is_of_same_model(self, made: Manifest) -> bool:
        """Say whether something was made on the model that this call was made on."""
        mine = self.manifest
        if mine is None or (made.model, made.dtype) != (mine.model, mine.dtype):
            return False
        return not made.fingerprint or not mine.fingerprint or made.fingerprint == mine.fingerprint

    def has(self, name: str) -> bool:
        """Say whether an argument is there and is not `None`."""
        return self.arguments.get(name) is not None

    def value(self, *names: str) -> Any:  # noqa: ANN401  the recipe knows what it asks for
        """Return the first of the named arguments that is there."""
        return next((self.arguments[name] for name in names if self.has(name)), None)

    def text(self, name: str) -> str:
        """Return a prompt.

        Raises:
            UnusablePrompt: it is no text, or empty.

        """
        value = self.arguments.get(name)
        if not isinstance(value, str) or not value:
            raise UnusablePrompt(
                f"prompt unusable: expected a text of at least one character, got {shown(value)} at {name}; "
                f"try 'The capital of France is'"
            )
        return value

    def texts(self, name: str, default: Iterable[str]) -> tuple[str, ...]:
        """Return several prompts."""
        value = self.arguments.get(name)
        if value is None:
            return tuple(default)
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise _refused(name, "a list of texts", value)
        texts = tuple(value)
        if not texts or not all(isinstance(text, str) and text for text in texts):
            raise _refused(name, "a list of texts", value)
        return texts

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """Return one of several words."""
        value = self.arguments.get(name, default)
        if not isinstance(value, str) or value not in allowed:
            raise UnknownOption(
                f"{name} refused: expected one of {', '.join(allowed)}, got {shown(value)}; try {allowed[0]!r}"
            )
        return value

    def whole(
        self, name: str, default: object = _MISSING, *, least: int | None = None, below: int | None = None
    ) -> int:
        """Return a whole number, within bounds."""
        value = self.arguments.get(name)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool):
            raise _refused(name, "a whole number", None if value is _MISSING else value)
        if (least is not None and value < least) or (below is not None and value >= below):
            raise _refused(name, f"a whole number from {least} to {'any' if below is None else below - 1}", value)
        return value

    def real(self, name: str, default: float) -> float:
        """Return a finite number."""
        value = self.arguments.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise _refused(name, "a finite number", value)
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a yes or no."""
        value = self.arguments.get(name, default)
        if not isinstance(value, bool):
            raise _refused(name, "True or False", value)
        return value

    def wholes(self, name: str, default: Iterable[int], *, below: int, least: int = 0) -> list[int]:
        """Return one or several whole numbers as a list."""
        value = self.arguments.get(name)
        value = list(default) if value is None else value
        listed = [value] if isinstance(value, int) else value
        if isinstance(listed, str) or not isinstance(listed, Iterable):
            raise _refused(name, "a list of whole numbers", value)
        numbers = list(listed)
        if not all(isinstance(n, int) and not isinstance(n, bool) and least <= n < below for n in numbers):
            raise _refused(name, f"whole numbers from {least} to {below - 1}", value)
        return numbers

    def layer(self, name: str = "layer", default: object = _MISSING) -> int:
        """Return a layer of the model."""
        return self.whole(name, default, least=0, below=self.layout.n_layers)

    def targets(self, name: str = "targets", *, with_stream: bool = False) -> tuple[Target, ...]:
        """Return the parts that a list of names such as `L3H4` stands for, without doubles."""
        names = self.arguments.get(name, ())
        return parse_targets(names, self.layout.n_layers, self.layout.n_heads, with_stream=with_stream)

    def head(self, name: str) -> tuple[int, int]:
        """Return the layer and the head that a name such as `L3H4` stands for."""
        targets = self.targets(name)
        if len(targets) != 1 or targets[0].head is None:
            raise UnknownTarget(
                f"target unknown: expected one head such as 'L3H4', got {shown(self.arguments.get(name))}; "
                f"L is the layer, H the head"
            )
        return targets[0].layer, targets[0].head

    def places(self, name: str, default: Iterable[str]) -> tuple[tuple[str, Place], ...]:
        """Return the named sites, each with its place.

        Raises:
            UnknownSite: a name is no site that plain code can be written for.

        """
        value = self.arguments.get(name)
        if value is None:
            given: tuple[object, ...] = tuple(default)
        elif value == "all":
            given = self.sites
        else:
            listed = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
            given = tuple(site for one in listed for site in self._matching(one))
        return tuple((str(site), self._place(site)) for site in dict.fromkeys(given))

    def _matching(self, name: object) -> tuple[object, ...]:
        has_star = isinstance(name, str) and "*" in name
        return tuple(fnmatch.filter(self.sites, name)) if isinstance(name, str) and has_star else (name,)

    def _place(self, site: object) -> Place:
        if isinstance(site, str) and site in _OUTSIDE:
            return Place(site)
        match = _SITE.fullmatch(site) if isinstance(site, str) else None
        if match is None or int(match[1]) >= self.layout.n_layers or not self._has(match[2]):
            raise UnknownSite(
                f"site without code: expected one of {', '.join(_OUTSIDE)} or a layer's {', '.join(ORDER)}, "
                f"got {shown(site)}; try 'blocks.0.resid_post'"
            )
        return Place(match[2], match[1])

    def _has(self, kind: str) -> bool:
        return kind in ORDER and (kind != "mlp.pre_linear" or self.layout.names.pre_linear is not None)


def _refused(name: str, expected: str, value: object) -> UnknownOption:
    return UnknownOption(f"{name} refused: expected {expected}, got {shown(value)}; check the call")
