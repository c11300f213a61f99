"""The models that are compared: loaded once, each under a name that its arm gives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medfe.errors import MedfeError
from medfe.inference import Inpainter, shipped_models
from medfe.weightfiles import GENERATOR_FILE

ARM_TITLES = {
    "low_resolution": "MEDFE",
    "autoencoder": "MEDFE+CAE",
    "random_encoder": "MEDFE+CAE, random encoder",
    "block_dct": "MEDFE, block DCT",
    "none": "MEDFE, no target",
}
DEFAULT_PRESET = "faces128/"


class Contender(NamedTuple):
    """A model and the name of its panel."""

    title: str
    inpainter: Inpainter


def load_contenders(sources: Sequence[str], device: str | None = None, shipped: bool = True) -> list[Contender]:
    """Load the shipped models and those of `sources`, in this order; none twice.

    Args:
        sources: run folders, weight files, or names of shipped models.
        device: default: the best there is.
        shipped: begin with the shipped models of the preset faces128.

    Raises:
        MedfeError: no model at all, an unknown one, or an unknown device.
    """
    own = [name for name in shipped_models() if name.startswith(DEFAULT_PRESET)] if shipped else []
    names = list(dict.fromkeys([*own, *sources]))
    if not names:
        raise MedfeError("no model: none is shipped, expected run folders or weight files after --models")
    inpainters = [Inpainter.from_pretrained(name, device) for name in names]
    titles = [ARM_TITLES.get(inpainter.arm, inpainter.arm or "Model") for inpainter in inpainters]
    # Only the last part of a path is shown: the rest is the server's business.
    titles = _told_apart(titles, [f" ({_short(name)})" for name in names])
    titles = _told_apart(titles, [f" #{number}" for number, _ in enumerate(names, start=1)])
    return [Contender(title, inpainter) for title, inpainter in zip(titles, inpainters, strict=True)]


def _told_apart(titles: list[str], endings: list[str]) -> list[str]:
    """Return the titles, those that occur more than once with their ending."""
    count = Counter(titles)
    return [title + (ending if count[title] > 1 else "") for title, ending in zip(titles, endings, strict=True)]


def _short(name: str) -> str:
    if name in shipped_models():
        return name.partition("/")[0]
    path = Path(name)
    if path.name == GENERATOR_FILE:
        path = path.parent
    return path.stem if path.suffix == ".safetensors" else path.name
