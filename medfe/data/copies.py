"""Photographs that are in two folders under different names, sizes or qualities: a test set must not hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfe.data.evaluation_photographs import EvaluationPhotographs
from medfe.errors import MedfeError

THUMBNAIL = 32
THRESHOLD = 0.946
"""Of aligned faces: all pairs above it that were looked at are one photograph; of those just below, some are."""
_ROWS = 1024
_FLAT = 1e-3
"""Norm below which a thumbnail has one colour, but for rounding; one step of 8 bits in one number is 8e-3."""


def find_copies(photographs: Path, others: Path, threshold: float = THRESHOLD) -> pd.DataFrame:
    """Return the photographs of a folder that another folder holds too, as far as small pictures tell.

    Central squares are shrunk to 32×32, and all their numbers correlated, as they are and mirrored. Byte-equal files
    are found, and other sizes, qualities, slight crops and colours of the same photograph; strong crops are not.

    Args:
        photographs: folder of images, such as those to test on.
        others: folder of images, such as those trained on.
        threshold: smallest correlation, up to 1, that counts.

    Returns:
        A row for each photograph that has a copy: `name` and `copy`, paths relative to their folders (of several copies
        the most similar), `correlation`, and `mirrored`, whether the copy is; in the folder's order.

    Raises:
        MedfeError: a folder has no photographs, or the threshold is no correlation.
    """
    if not -1 <= threshold <= 1:
        raise MedfeError(f"threshold: found {threshold:g}, expected a correlation from -1 to 1")
    names, small = _thumbnails(photographs)
    other_names, other_small = _thumbnails(others)
    rows = []
    for start in range(0, len(names), _ROWS):
        part = small[start : start + _ROWS]
        plain, mirrored = (_flat(pictures) @ _flat(other_small).T for pictures in (part, part[..., ::-1]))
        correlations = np.maximum(plain, mirrored)
        for i, j in enumerate(correlations.argmax(axis=1)):
            if correlations[i, j] >= threshold:
                turned = bool(mirrored[i, j] > plain[i, j])
                rows.append((names[start + i], other_names[j], round(float(correlations[i, j]), 4), turned))
    return pd.DataFrame(rows, columns=["name", "copy", "correlation", "mirrored"])


def _thumbnails(root: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Return names, and N×3×32×32 of mean 0 and norm 1 each; nearly zeros of a picture of one colour."""
    photographs = EvaluationPhotographs(root, THUMBNAIL)
    pictures = np.stack([photographs[i]["image"].numpy() for i in range(len(photographs))])
    pictures -= pictures.mean(axis=(1, 2, 3), keepdims=True)
    pictures /= np.maximum(np.sqrt(np.square(pictures).sum(axis=(1, 2, 3), keepdims=True)), _FLAT)
    return [path.relative_to(root).as_posix() for path in photographs.paths], pictures


def _flat(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    return pictures.reshape(len(pictures), -1)
