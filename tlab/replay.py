"""Doing an experiment again: in tlab, from its manifest, or in another library, as plain code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from tlab.errors import DamagedResult, shown
from tlab.loading import load
from tlab.manifest import Manifest, verb_of

if TYPE_CHECKING:
    from tlab.models import Model
    from tlab.results import Result

__all__ = ["code", "fingerprint", "replay", "subject_of"]


def replay(result: Result, model: Model | None) -> Result:
    """Run the result's experiment again.

    Raises:
        DamagedResult: there is no manifest, or the model's weights are others.

    """
    manifest = _manifest(result)
    subject = subject_of(manifest) if model is None else model
    if manifest.fingerprint and manifest.fingerprint != subject.fingerprint:
        raise DamagedResult(
            f"replay refused: expected the weights {manifest.fingerprint[:12]}…, got {subject.fingerprint[:12]}… "
            f"in {shown(subject.name)}; load the model that the result came from"
        )
    return verb_of(manifest)(subject, **manifest.arguments)


def fingerprint(result: Result) -> None:
    """Let the result's manifest name its model's weights, so that a replay can tell whether they are the same."""
    manifest = result.manifest
    if manifest is not None and not manifest.fingerprint:
        subject = subject_of(manifest)
        result.attach(dataclasses.replace(manifest, fingerprint=subject.fingerprint).run_on(subject))


def code(result: Result, library: str) -> str:
    """Return the experiment as plain code for `library`."""
    from tlab.code import write  # noqa: PLC0415  rarely asked for

    manifest = _manifest(result)
    return write(manifest, library, subject_of(manifest))


def subject_of(manifest: Manifest) -> Model:
    """Return the model that ran; if the result was read from a file, the one of that name and step is loaded."""
    if manifest.subject is not None:
        return manifest.subject
    dtype: torch.dtype = getattr(torch, manifest.dtype)
    return load(manifest.model, device=manifest.device, dtype=dtype, step=manifest.step)


def _manifest(result: Result) -> Manifest:
    if result.manifest is None:
        raise DamagedResult(
            f"no manifest: expected a result that an experiment made, got {type(result).__name__}; "
            f"run the experiment itself"
        )
    return result.manifest
