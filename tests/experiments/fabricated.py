"""Tables of results that nobody measured, to see what is said of them."""

import pandas as pd

from medfe.evaluation.names import lower_is_better
from medfe.experiments.building import KID
from medfe.experiments.findings import findings

SIX = range(6)


def finding(folder, words):
    (found,) = [one for one in findings(folder) if words in one.claim]
    return found


def contrast(first, second, metric=KID, masks="center", role="secondary", **values):
    row = {
        "first": first, "second": second, "metric": metric, "masks": masks, "role": role, "n": 6, "difference": -0.001,
        "low": -0.002, "high": -0.0005, "seeds": "0 1 2 3 4 5", "claim": "", "p_holm": 0.01, "margin": 0.000304,
        "lower_is_better": lower_is_better(metric), "detectable": 0.0008, "power": 0.8, "mean_second": 0.00675,
    }  # fmt: skip
    return row | values


PRIMARY_ROW = contrast("autoencoder", "low_resolution", role="primary", claim="supported")


def write(folder, name, rows):
    pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)


def channels():
    """Return arm, feature and seed of a channel summary's rows."""
    rows = [(arm, feature, seed) for arm in ("autoencoder", "low_resolution") for feature in "st" for seed in SIX]
    return pd.DataFrame(rows, columns=["arm", "feature", "seed"])
