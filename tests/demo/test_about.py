import re
import xml.etree.ElementTree as ET
from pathlib import Path

import yaml

from demo.about import LIMITS, models_table
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


def test_citations_agree_with_the_citation_file():
    text = LIMITS.format(minutes=30)
    assert "about 30 minutes" in text
    for work in yaml.safe_load(CITATION.read_text(encoding="utf-8"))["references"]:
        assert f"{{{work['title']}}}" in text
        assert f"{{{work['year']}}}" in text
        assert work.get("doi", "") in text
        assert all(author["family-names"] in text for author in work["authors"])
