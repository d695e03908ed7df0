"""HTML with scripts that bertviz wrote, made fit for a page that fetches nothing from elsewhere.

Refuses: knowing bertviz' Python. It sees text.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["neuron_page", "standing_alone"]

_REQUIRE = (
    '<script src="https://cdnjs.cloudflare.com/ajax/libs/require.js/2.3.6/require.min.js"></script>'  # bertviz' own
)
_FOREIGN_SCRIPT = re.compile(r'<script src="https?://[^"]*"></script>')
_FOREIGN_LIBRARY = re.compile(r"'https?://[^']*/(d3|jquery)(?:/[\d.]+)?/[^']*'")
_PARAMETERS = re.compile(r"^(?P<start>\s*const params = )(?P<json>\{.*\})(?:; // HACK.*)$", re.MULTILINE)
_EMPTY = "<div id='vis'></div>"
_HINT = (
    "<div id='vis'>This view is drawn by a script that needs require.js, d3 and jQuery: the book brings them; "
    "elsewhere ask for it with from_cdn=True.</div>"
)


def standing_alone(html: str, *, from_cdn: bool) -> str:
    """Return bertviz' HTML with its data written once, tokens that cannot end the script, and no foreign address.

    Args:
        html: from bertviz.
        from_cdn: keep the addresses of the libraries that the script needs.

    """

    # The template's comment holds the data a second time; zeros need no decimals.
    def once(match: re.Match[str]) -> str:
        return f"{match['start']}{_inert(match['json'])};\n"

    html = _PARAMETERS.sub(once, html)
    if from_cdn:
        return html
    html = _FOREIGN_LIBRARY.sub(r"'\1'", _FOREIGN_SCRIPT.sub("", html))
    return html.replace(_EMPTY, _HINT)


def neuron_page(
    script: str, tokens: tuple[Sequence[str], Sequence[str]], data: dict[str, Tensor], options: dict[str, Any]
) -> str:
    """Return what bertviz' neuron view writes, for one layer.

    Args:
        script: bertviz' `neuron_view.js`.
        tokens: who reads, and what is read.
        data: `attn queries keys`, each `head pos …`.
        options: `layer` (its number), `head` (which is shown first), `bidirectional`.

    """
    name = f"bertviz-{uuid.uuid4().hex}"
    # The script counts the layers that it is given; here that is one, shown under its own number.
    script = script.replace(".val(i).text(i)", f".val(i).text({int(options['layer'])})", 1)
    content = {
        **{key: [tensor.double().round(decimals=2).tolist()] for key, tensor in data.items()},
        "left_text": list(tokens[0]),
        "right_text": list(tokens[1]),
    }
    parameters = {
        "attention": {"all": content},
        "default_filter": "all",
        "root_div_id": name,
        "display_mode": "light",
        "bidirectional": bool(options["bidirectional"]),
        "layer": 0,
        "head": int(options["head"]),
    }
    return (
        f'{_REQUIRE}<div id="{name}">Layer: <select id="layer"></select> '
        f'Head: <select id="att_head"></select>{_EMPTY}</div>\n'
        f'<script type="text/javascript">\nwindow.bertviz_params = {_inert(json.dumps(parameters))};\n</script>\n'
        f'<script type="text/javascript">\n{script}\n</script>\n'
    )


def _inert(data: str) -> str:
    """Return JSON in which no text can end the script or open a comment, and zeros are short."""
    return data.replace("<", "\\u003c").replace(" 0.0,", " 0,").replace(" 0.0]", " 0]").replace("[0.0,", "[0,")
