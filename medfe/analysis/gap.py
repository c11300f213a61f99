"""How large a gap between two methods chance alone makes: labels exchanged between them, over and over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medfe.data.images import to_uint8
from medfe.evaluation.distances import Array, frechet_distance
from medfe.evaluation.embeddings import Embedder, Features


def embed(embedder: Embedder, images: Tensor) -> Features:
    """Return a judge's features, N×d, of images N×3×S×S in [-1, 1], rounded to 8 bits as a file would."""
    return embedder(torch.from_numpy(to_uint8(images)).movedim(-1, 1))


def exchanged_gaps(
    reference: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    distance: Callable[[Array, Array], float] = frechet_distance,
    permutations: int = 199,
    seed: int = 0,
) -> Array:
    """Return distance(reference, first) - distance(reference, second) with labels exchanged at random, image by image.

    If it does not matter which of two methods filled an image, each exchange is as likely as what was observed: so
    large are the gaps that come of the choice of images alone. `medfe.evaluation.set_statistics.label_swap_test` makes
    a test of the same.

    Args:
        reference: (M, d) features of real images.
        first: (N, d) features of one method's images.
        second: (N, d) of another's, row i of the same photograph and mask.
        distance: of two feature matrices.
        permutations: number of random exchanges.
        seed: of the exchanges.
    """
    real, one, two = (np.asarray(features, dtype=np.float64) for features in (reference, first, second))
    rng = np.random.default_rng(seed)
    gaps = []
    for _ in range(permutations):
        keep = rng.random(len(one))[:, None] < 0.5
        gaps.append(distance(real, np.where(keep, one, two)) - distance(real, np.where(keep, two, one)))
    return np.array(gaps)
