"""Figures: what is drawn is what was given, and no two lines or bars look alike in black and white."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from medfe.analysis.plotting import bars, heat, lines, pictures, use_style

TABLE = pd.DataFrame({
    "channels": [3, 3, 16, 16, 3, 16], "l1": [0.3, 0.1, 0.1, 0.1, 0.5, 0.4], "code": ["a", "a", "a", "a", "b", "b"],
})  # fmt: skip


@pytest.fixture(autouse=True)
def _headless():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def test_pictures_are_shown_pixel_for_pixel_in_rows():
    images = torch.linspace(-1, 1, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    figure = pictures({"input": images, "output": -images}, columns=["one", "two"])
    axes = figure.axes
    assert [len(axes), axes[0].get_ylabel(), axes[2].get_ylabel(), axes[1].get_title()] == [4, "input", "output", "two"]
    shown = axes[0].images[0].get_array()
    assert shown.shape == (4, 4, 3)
    assert shown[0, 0, 0] == 0
    assert axes[3].images[0].get_array()[3, 3, 2] == 0


def test_maps_share_one_scale_with_its_unit():
    maps = {"small": torch.zeros(4, 4), "large": torch.full((4, 4), 0.5)}
    figure = heat(maps, "error")
    assert [axes.images[0].get_clim() for axes in figure.axes[:2]] == [(0, 0.5)] * 2
    assert figure.axes[2].get_ylabel() == "error"
    assert heat(maps, "error", limit=2).axes[0].images[0].get_clim() == (0, 2)


def test_lines_show_means_and_differ_without_colour():
    axes = lines(TABLE, "channels", "l1", "code", xlabel="channels", ylabel="L1")
    first, second = axes.lines
    assert np.allclose(first.get_ydata(), [0.2, 0.1])
    assert np.allclose(second.get_ydata(), [0.5, 0.4])
    assert (first.get_marker(), first.get_linestyle()) != (second.get_marker(), second.get_linestyle())
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert axes.get_xlabel() == "channels"


def test_bars_have_the_tables_lengths_and_leave_gaps_for_what_is_missing():
    table = pd.DataFrame({"mean": [1.0, 2.0], "none": [3.0, np.nan]}, index=["x", "y"])
    axes = bars(table, xlabel="levels")
    lengths = [[patch.get_width() for patch in container] for container in axes.containers]
    assert lengths[0] == [1, 2]
    assert lengths[1][0] == 3
    assert np.isnan(lengths[1][1])
    assert len({container.patches[0].get_hatch() for container in axes.containers}) == 2
    assert [text.get_text() for text in axes.get_yticklabels()] == ["x", "y"]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["mean", "none"]


def test_bars_that_share_an_axis_keep_their_order():
    panels = plt.subplots(1, 2, sharey=True, layout="constrained")[1]
    for axes in panels:
        bars(pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]}), axes=axes, legend=False)
    assert panels[0].get_ylim() == (1.5, -0.5)
    assert not panels[0].figure.legends


def test_the_style_is_that_of_the_reports():
    use_style()
    assert mpl.rcParams["svg.hashsalt"] == "medfe"
