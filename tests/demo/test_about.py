import re
import xml.etree.ElementTree as ET
from pathlib import Path

import yaml

from demo import about
from demo.about import MEASURED, NOT_MEASURED, errors_by_group, limits, models_table
from demo.figure import idea_figure

CITATION = Path(__file__).parents[2] / "CITATION.cff"


def test_the_figure_is_well_formed_draws_within_its_frame_and_loads_nothing():
    root = ET.fromstring(idea_figure())
    drawings = root.findall(".//svg")
    assert len(drawings) == 3
    for drawing in drawings:
        assert drawing.get("aria-label")
        _, _, width, height = map(float, drawing.get("viewBox").split())
        for shape in [*drawing.iter("rect"), *drawing.iter("image")]:
            x, y, w, h = (float(shape.get(name)) for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + w <= width
            assert 0 <= y <= y + h <= height
        for image in drawing.iter("image"):
            assert image.get("href").startswith("data:image/png;base64,")


def test_medfe_compares_three_channels_of_each_feature_and_the_variant_all():
    low_resolution, autoencoder = ET.fromstring(idea_figure()).findall(".//svg")[1:]
    kinds = [shape.get("class") for shape in low_resolution.iter("rect")]
    assert kinds.count("lit") == 3 + 3  # of the feature, and those read out
    assert "plane" in kinds
    assert {shape.get("class") for shape in autoencoder.iter("rect")} == {"lit"}


def test_models_are_listed_with_their_sizes(contenders):
    cells = re.findall(r"<td[^>]*>([^<]*)", models_table(contenders[:1]))
    parameters = sum(parameter.numel() for parameter in contenders[0].inpainter.generator.parameters())
    assert cells == ["MEDFE", "–", "64×64", "32×8×8", f"{parameters / 1e6:.1f} M"]


def test_a_model_s_name_is_shown_as_it_was_given(contenders):
    named = contenders[0]._replace(title="R&D <new>")
    assert "R&amp;D &lt;new&gt;" in models_table([named])


CARD = """# Weights

## Errors by age and sex

| age | L1, hole |
|---|---:|
| 0 to 9 | 0.0712 |

## Files

sexagenarian
"""


def test_a_card_s_errors_by_age_and_sex_are_found_and_nothing_else():
    assert errors_by_group(CARD).split("\n") == [*CARD.split("\n")[2:7], "", ""]
    assert errors_by_group(CARD.replace("by age and sex", "by page and sexagenarian")) == ""


def test_what_is_said_of_groups_of_people_is_what_has_been_measured(contenders, tmp_path, monkeypatch):
    assert NOT_MEASURED in limits(contenders, 60)
    monkeypatch.setattr(contenders[0].inpainter, "source", tmp_path / "autoencoder.safetensors")
    (tmp_path / "card.md").write_text(CARD)
    assert NOT_MEASURED in limits(contenders, 60)  # the card of a model that is not shipped: anybody's words
    monkeypatch.setattr(about, "shipped_models", lambda: [contenders[0].inpainter.name])
    assert "| 0 to 9 | 0.0712 |" in limits(contenders, 60)
    assert MEASURED in limits(contenders, 60)


def test_citations_agree_with_the_citation_file(contenders):
    text = limits(contenders, 30 * 60)
    assert "about 30 minutes" in text
    for work in yaml.safe_load(CITATION.read_text(encoding="utf-8"))["references"]:
        assert f"{{{work['title']}}}" in text
        assert f"{{{work['year']}}}" in text
        assert work.get("doi", "") in text
        assert all(author["family-names"] in text for author in work["authors"])
