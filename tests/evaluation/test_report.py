"""The whole way: command line to tables and a page that needs nothing else and tells nothing of the machine."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
import tyro

from medfe.cli import main
from medfe.commands.measuring import Evaluate
from medfe.config import parse
from medfe.evaluation.contrasts import DESCRIPTIVE
from medfe.evaluation.gallery import RANDOM_ROWS, choose
from medfe.evaluation.methods import Method
from medfe.evaluation.names import heading, number, title
from medfe.evaluation.plots import by_area, forest
from medfe.evaluation.provenance import command, shown
from medfe.evaluation.run import evaluate
from medfe.evaluation.settings import EvaluationSettings


def arguments(faces, out, *more):
    return [
        "evaluate", *(() if "--methods" in more else ("--methods", "telea", "mean_fill")), "--data", str(faces),
        "--masks", "irregular_thick", "--n", "12", "--image-size", "32", "--subsamples", "20", "--out", str(out), *more,
    ]  # fmt: skip


def test_the_command_that_is_printed_can_be_given_to_a_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDFE_DATA", str(tmp_path / "all data"))
    folder = tmp_path / "all data" / "my faces"
    folder.mkdir(parents=True)
    settings = EvaluationSettings(
        methods=("telea", f"own={folder}"), data=folder, out=tmp_path / "out put", masks="center", level=0.9
    )
    printed = command(settings)
    assert '--data "$MEDFE_DATA/my faces"' in printed
    assert '"own=$MEDFE_DATA/my faces"' in printed  # a shell expands it
    words = shlex.split(printed, comments=True)
    assert words[words.index("--data") + 1] == "$MEDFE_DATA/my faces"
    assert words[words.index("--out") + 1].endswith("out put")
    assert printed.endswith(" # level=0.9 from Python alone")


def test_the_command_writes_every_table_and_a_page(judges, faces, tmp_path, capsys):
    main(arguments(faces, tmp_path / "out", "--allow-small"))
    printed = capsys.readouterr().out
    assert "telea is better than mean_fill in SSIM (" in printed
    out = tmp_path / "out"
    images = pd.read_parquet(out / "images.parquet")
    assert len(images) == 24
    assert {"method", "photograph", "mask", "mask_area", "age", "sex", "l1", "l1_hole", "psnr", "ssim_hole"} <= set(
        images
    )
    tables = pd.read_csv(out / "sets.csv")
    assert set(tables["metric"]) == {"kid_pooled", "fd_pooled"}
    assert tables.loc[tables["metric"] == "fd_pooled", "small"].all()
    assert (out / "means.csv").exists()
    assert (out / "contrasts.csv").exists()
    lines = (out / "summary.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("`medfe evaluate --methods telea mean_fill --data ")
    heads = (
        "method | KID (pooled) ×10³ ↓ | Fréchet distance (pooled) ↓ (small sample) | PSNR (dB) ↑ | SSIM ↑ | L1, hole ↓"
    )
    assert lines[2] == f"| {heads} |"
    telea = images[images["method"] == "telea"]
    assert lines[4].startswith("| `telea` | ")
    assert f"| {telea['psnr'].mean():.2f} (" in lines[4]
    assert lines[5].startswith("| `mean_fill` | ")
    assert "12 images at 32×32, masks irregular_thick" in lines[7]
    assert " in KID (pooled) " in lines[7]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Small sample." in page
    assert judges.missing[0] in page
    for heading_text in ("Differences", "Metrics of single images", "By mask area", "By age and sex", "Pictures"):
        assert f"<h2>{heading_text}</h2>" in page
    assert page.count("<img") == page.count('src="data:image/webp;base64,')
    assert not re.findall(r'(?:href|src)="(?!data:|#)[^"]*"', page)  # self-contained
    assert str(tmp_path) not in page
    assert "<script" not in page


def test_a_second_run_calls_no_method_for_the_numbers_and_gives_the_same_page(judges, faces, tmp_path, monkeypatch):
    main(arguments(faces, tmp_path / "out", "--allow-small"))
    first = (tmp_path / "out" / "report.html").read_bytes()
    monkeypatch.setattr("medfe.evaluation.protocol.TestSet.batch", None)
    main(arguments(faces, tmp_path / "out", "--allow-small"))
    assert (tmp_path / "out" / "report.html").read_bytes() == first


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "n: found 12 images, FID needs at least 2048"),
        (("--allow-small", "--n", "40"), "found 12 images, expected 40"),
        (("--allow-small", "--contrast", "telea"), "--contrast telea: found 1 methods, expected pairs"),
        (("--allow-small", "--margin", "-1"), "margin: Input should be greater than 0"),
        (("--allow-small", "--methods", "telea", "telea"), "'telea' and 'telea' have one name"),
        (("--allow-small", "--masks", "nowhere"), "masks: 'nowhere' is no folder and no rule"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(judges, faces, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit) as error:
        main(arguments(faces, tmp_path / "out", *more))
    lines = capsys.readouterr().err.strip().splitlines()
    assert error.value.code == 2
    assert len(lines) == 1
    assert message in lines[0]


def test_the_page_shows_the_data_only_when_told_to(judges, make_settings):
    evaluate(make_settings())
    page = (make_settings().out / "report.html").read_text(encoding="utf-8")
    assert "Astronaut" in page
    evaluate(make_settings(show_data_images=True))
    page = (make_settings().out / "report.html").read_text(encoding="utf-8")
    assert "Astronaut" not in page
    assert "Photographs of the data." in page


def test_one_method_alone_and_perfect_methods_are_reported_too(judges, make_settings, monkeypatch, tmp_path):
    evaluate(make_settings(methods=("telea",), out=tmp_path / "alone"))
    assert "<h2>Differences" not in (tmp_path / "alone" / "report.html").read_text(encoding="utf-8")

    class Perfect(Method):
        def __call__(self, image, _):
            return image

    perfect = [Perfect(name, name, "0", None) for name in ("one", "two")]
    monkeypatch.setattr("medfe.evaluation.protocol.load_methods", lambda *_: perfect)
    tables = evaluate(make_settings(methods=("one", "two"), out=tmp_path / "perfect"))
    assert "psnr" not in set(tables.contrasts["metric"])  # infinite for both
    assert not tables.contrasts["verdict"].str.contains(" is better ").any()
    assert (tables.means.loc[tables.means["metric"] == "psnr", "left_out"] == 12).all()


def test_the_printed_command_makes_the_same_settings(make_settings, monkeypatch, faces):
    monkeypatch.setenv("MEDFE_DATA", str(faces.parent))
    settings = make_settings(
        methods=("b=telea", "mean_fill"),
        contrasts=(("b", "mean_fill"),),
        frechet=False,
        margin=0.5,
        masks_per_image=2,
        layout="celeba",
        split="test",
    ).replace(resamples=1999, permutations=999)
    words = shlex.split(command(settings).replace("$MEDFE_DATA", str(faces.parent)))
    assert words[:2] == ["medfe", "evaluate"]
    values = dict(vars(tyro.cli(Evaluate, args=words[2:])))
    values |= vars(values.pop("part"))
    pairs = values.pop("contrast")
    values["contrasts"] = tuple(zip(pairs[::2], pairs[1::2], strict=True))
    found = parse(EvaluationSettings, values)
    assert found.replace(out=settings.out) == settings


def test_paths_are_shown_without_the_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDFE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "data" / "utkface" / "test") == "$MEDFE_DATA/utkface/test"
    assert shown(tmp_path / "runs" / "a") == "runs/a"
    assert shown("/srv/pictures/cats") == "pictures/cats"


def test_random_rows_are_seeded_and_telling_rows_are_the_extremes():
    difference = np.random.default_rng(0).normal(size=101)
    chosen = choose(101, difference, 0, ("one", "two"))
    assert chosen == choose(101, difference, 0, ("one", "two"))
    reasons = {reason: item for item, reasons in chosen.items() for reason in reasons if reason != "random"}
    assert reasons == {
        "best for one": int(np.argmin(difference)), "best for two": int(np.argmax(difference)),
        "median": int(np.flatnonzero(difference == np.median(difference))[0]),
    }  # fmt: skip
    assert sum("random" in reasons for reasons in chosen.values()) == RANDOM_ROWS
    assert list(choose(101, None, 1, ("", ""))) != list(choose(101, None, 0, ("", "")))


def test_numbers_are_printed_with_their_unit_and_direction():
    assert heading("kid_efficientnet_lite2") == "KID (efficientnet_lite2) ×10³ ↓"
    assert heading("psnr_hole") == "PSNR, hole (dB) ↑"
    assert title("fd_efficientnet_lite2") == "Fréchet distance (efficientnet_lite2)"
    assert (title("fid"), title("kid")) == ("FID", "KID")
    assert number(-0.0012345, "kid") == "−1.234"
    assert number(0.0012345, "l1", difference=True) == "+0.00123"
    assert number(float("nan"), "ssim") == "–"


def forest_rows(metric="ssim", low=0.01, high=0.03, **changes):
    row = {
        "first": "one", "second": "two", "metric": metric, "role": "secondary", "difference": (low + high) / 2,
        "low": low, "high": high, "level": 0.95, "p": 0.005, "p_holm": 0.01, "lower_is_better": metric != "ssim",
    }  # fmt: skip
    return pd.DataFrame([row | changes])


def test_the_forest_plot_puts_the_better_method_on_its_side_and_fills_what_is_shown(monkeypatch):
    figures = []
    monkeypatch.setattr("medfe.evaluation.plots.to_svg", lambda figure: figures.append(figure) or "")
    for rows in (
        forest_rows("ssim"), forest_rows("l1", low=-0.03, high=-0.01), forest_rows("l1", low=-0.01, high=0.01),
        forest_rows("ssim", p_holm=0.2), forest_rows("ssim", role=DESCRIPTIVE, p_holm=float("nan")),
        forest_rows("ssim", role="primary", p=0.2, p_holm=float("nan")),
    ):  # fmt: skip
        forest(rows)
    filled = []
    for figure, metric in zip(figures, ("ssim", "l1", "l1", "ssim", "ssim", "ssim"), strict=True):
        axes = figure.axes[0]
        marker = axes.lines[-1]
        place = axes.transAxes.inverted().transform(axes.transData.transform((marker.get_xdata()[0], 0)))[0]
        filled.append(marker.get_markerfacecolor() == "black")
        assert place <= 0.5 + 1e-9, metric  # the first is better, or there is no difference
    assert filled == [True, True, False, False, False, False]


def test_figures_are_equal_for_equal_data():
    areas = pd.DataFrame({
        "metric": "psnr", "class": ["1-10", "10-20"] * 2, "method": ["a", "a", "b", "b"],
        "value": [30.0, 25, 31, 26], "low": [29.0, 24, 30, 25], "high": [31.0, 26, 32, 27],
    })  # fmt: skip
    assert by_area(areas, ["a", "b"]) == by_area(areas, ["a", "b"])
    assert by_area(areas, ["a", "b"]).startswith("<svg")
    assert forest(forest_rows()) == forest(forest_rows())
