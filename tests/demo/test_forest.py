import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from demo.forest import _round_up, forest_html
from medfe.experiments.contrasts import contrasts
from medfe.experiments.registry import EXPERIMENTS

KID = "kid_efficientnet_lite2"


@pytest.fixture
def table(tmp_path):
    """Contrasts as the experiments write them, of made-up numbers: two metrics, six seeds, two arms."""
    rng = np.random.default_rng(0)
    rows = [
        {"arm": arm, "seed": seed, "masks": masks, KID: 0.03 + 0.001 * rng.random() + shift, "psnr_hole": 20 + shift,
         "l1_hole": 0.08 + 0.01 * rng.random(), "digest": "d", "commit": "c", "run": f"{arm}_{seed}"}
        for arm, shift in (("low_resolution", 0.0), ("autoencoder", -0.01))
        for seed in range(6)
        for masks in ("center", "irregular")
    ]  # fmt: skip
    path = tmp_path / "main_contrasts.csv"
    main = EXPERIMENTS["main"]
    tested = tuple(one for one in main.secondary if one[:2] == main.primary[:2] and one.metric in (KID, "l1_hole"))
    contrasts(replace(main, secondary=tested), pd.DataFrame(rows)).to_csv(path, index=False)
    return path


def test_each_tested_contrast_with_an_interval_is_drawn_where_its_numbers_say(table):
    frame = pd.read_csv(table)
    tested = frame[frame["role"].isin(["primary", "secondary"]) & frame["low"].notna()]
    assert set(tested["metric"]) == {KID, "l1_hole"}
    shown = forest_html(table)
    assert shown.count('class="contrast ') == len(tested)
    assert shown.count('class="contrast primary"') == 1
    primary = tested[tested["role"] == "primary"].iloc[0]
    left, width, middle = (
        float(re.search(pattern, shown)[1])
        for pattern in (
            r"primary.*?left:([\d.]+)%",
            r"primary.*?width:([\d.]+)%",
            r"primary.*?<em style=\"left:([\d.]+)%",
        )
    )
    assert left + width < 50  # all of it on the side of the better KID
    assert (middle - 50) / (left - 50) == pytest.approx(primary["difference"] / primary["low"], abs=1e-3)
    assert f"{1000 * primary['difference']:+.3f}".replace("-", "−") in shown


def test_what_is_not_there_is_not_drawn(tmp_path, table):
    assert forest_html(None) == ""
    broken = tmp_path / "broken.csv"
    for content in ("", "first,second\n1,2\n", "\x00"):
        broken.write_text(content)
        assert forest_html(broken) == ""
    frame = pd.read_csv(table)
    frame[frame["role"] == "not tested"].to_csv(broken, index=False)
    assert forest_html(broken) == ""


def test_names_are_text_and_never_markup(tmp_path, table):
    frame = pd.read_csv(table)
    frame["first"] = "<script>"
    frame.to_csv(tmp_path / "c.csv", index=False)
    shown = forest_html(tmp_path / "c.csv")
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


@pytest.mark.parametrize(
    ("value", "end"), [(0.9, 1), (1, 1), (1.01, 2), (3, 3), (4.1, 6), (8.1, 10), (0.0021, 0.003), (0, 1)]
)
def test_an_axis_ends_at_a_round_number(value, end):
    assert _round_up(value) == pytest.approx(end)
