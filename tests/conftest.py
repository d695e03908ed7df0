"""Fixtures that several parts of the tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tlab import Model


@pytest.fixture(scope="session")
def model() -> Model:
    """Load the default model; the first run on a machine converts it into the user's cache."""
    # Imported here: the tests of the other packages start without torch.
    import tlab  # noqa: PLC0415

    return tlab.load()
