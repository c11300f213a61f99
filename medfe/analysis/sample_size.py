"""How a distance between sets of images depends on their number, and what it would be with infinitely many.

A Fréchet distance from N images is too large by about c / N, and c differs from method to method, so methods can
change places with N. Chong and Forsyth (2020) fit a line in 1/N and read the distance off at 1/N = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from medfe.errors import MedfeError
from medfe.evaluation.distances import Array, check_features, frechet_distance


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """The line distance = limit + slope / N.

    Attributes:
        limit: Distance extrapolated to infinitely many images.
        slope: Bias times number of images.
        r_squared: Share of the variance of all points that the line explains; far below 1, 1/N is not the law here
            (too few images for the dimension of the features) or there is no bias to speak of.
        n_min: Smallest number of images fitted.
        n_max: Largest number of images fitted.
    """

    limit: float
    slope: float
    r_squared: float
    n_min: int
    n_max: int

    def at(self, n: float) -> float:
        """Return the line's distance at `n` images."""
        return self.limit + self.slope / n


def distance_by_sample_size(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    distance: Callable[[Array, Array], float] = frechet_distance,
    sizes: Sequence[int] | None = None,
    repeats: int = 5,
    paired: bool = False,
    seed: int = 0,
) -> tuple[pd.DataFrame, Extrapolation]:
    """Measure a distance on random subsets, drawn without replacement from both sets, and fit it in 1/N.

    Subsets of one size overlap, and the more so the larger they are: the scatter of the points is no standard error of
    the limit.

    Args:
        reference: (M, d) features of real images.
        generated: (N, d) features of a method's images.
        distance: Function of two feature matrices.
        sizes: Numbers of images; default: ten, equally spaced in 1/N from a fifth of the smaller set to all of it.
        repeats: Subsets of each size.
        paired: Row i of both sets belongs to one photograph: draw the same rows of both.
        seed: Seed of the subsets.

    Returns:
        A table with the columns `n`, `repeat` and `distance`, and the fit.

    Raises:
        MedfeError: if features do not fit, or fewer than two sizes between 2 and the number of images are given.
    """
    x, y = check_features(reference, generated)
    if paired and len(x) != len(y):
        raise MedfeError(f"paired features: found {len(x)} and {len(y)} images, expected equal numbers")
    largest = min(len(x), len(y))
    if sizes is None:
        smallest = max(2, largest // 5)
        sizes = np.unique(np.rint(1 / np.linspace(1 / smallest, 1 / largest, 10)).astype(int)).tolist()
    if len(set(sizes)) < 2 or min(sizes) < 2 or max(sizes) > largest:
        raise MedfeError(f"sizes: found {list(sizes)}, expected at least two different ones from 2 to {largest}")
    rng = np.random.default_rng(seed)
    rows = []
    for n in sizes:
        for repeat in range(repeats):
            real = rng.choice(len(x), n, replace=False)
            own = real if paired else rng.choice(len(y), n, replace=False)
            rows.append({"n": n, "repeat": repeat, "distance": distance(x[real], y[own])})
    table = pd.DataFrame(rows)
    return table, fit_inverse_size(table["n"].to_numpy(), table["distance"].to_numpy())


def fit_inverse_size(sizes: npt.ArrayLike, distances: npt.ArrayLike) -> Extrapolation:
    """Fit distance = limit + slope / N by least squares, all points alike, as Chong and Forsyth (2020)."""
    numbers = np.asarray(sizes, dtype=np.float64)
    line = stats.linregress(1 / numbers, np.asarray(distances, dtype=np.float64))
    return Extrapolation(
        limit=float(line.intercept),
        slope=float(line.slope),
        r_squared=float(line.rvalue**2),
        n_min=int(numbers.min()),
        n_max=int(numbers.max()),
    )
