"""Writes LaTeX formulas as text that can be read in a sentence. Knows the few commands that the book uses."""

from __future__ import annotations

import re

__all__ = ["readable"]

_SYMBOLS = {
    "cdot": "·", "times": "×", "top": "ᵀ", "to": "→", "rightarrow": "→", "sum": "Σ", "in": "∈", "odot": "⊙",
    "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "approx": "≈", "neq": "≠", "infty": "∞", "dots": "…", "ldots": "…",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "Delta": "Δ", "epsilon": "ε", "varepsilon": "ε",
    "theta": "θ", "lambda": "λ", "mu": "μ", "sigma": "σ", "pm": "±", "quad": " ", "qquad": " ", "left": "",
    "right": "", "mid": "|", "ell": "ℓ", "Vert": "‖", "vert": "|", "propto": "∝", "partial": "∂",
}  # fmt: skip
_STYLES = "mathrm|mathbf|mathit|mathcal|mathbb|text|textbf|operatorname|boldsymbol|vec|hat|tilde|bar"
_ONE_ARGUMENT = re.compile(rf"\\(?:{_STYLES})\s*\{{([^{{}}]*)\}}")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_ROOT = re.compile(r"\\sqrt\s*\{([^{}]*)\}")
_GROUPED_SCRIPT = re.compile(r"([_^])\{([^{}]*)\}")
_COMMAND = re.compile(r"\\([A-Za-z]+)")


def readable(latex: str) -> str:
    r"""Turn a formula into plain text.

    Example:
        >>> readable(r"\frac{q \cdot k}{\sqrt{d_\mathrm{head}}}")
        '(q · k)/√(d_head)'

    """
    text, before = latex, ""
    while text != before:  # innermost braces first
        before = text
        text = _ONE_ARGUMENT.sub(r"\1", text)
        text = _GROUPED_SCRIPT.sub(lambda match: match[1] + _grouped(match[2]), text)
        text = _ROOT.sub(r"√(\1)", text)
        text = _FRACTION.sub(lambda match: f"{_grouped(match[1])}/{_grouped(match[2])}", text)
    text = _COMMAND.sub(lambda match: _SYMBOLS.get(match[1], match[1]), text)
    text = re.sub(r"\\([,;:! ])", " ", text).replace("\\", "").replace("^ᵀ", "ᵀ")
    return " ".join(text.replace("{", "").replace("}", "").split())


def _grouped(part: str) -> str:
    """Put brackets around a part of several words or operators."""
    part = part.strip()
    return f"({part})" if re.search(r"[\s+/·-]", part) else part
