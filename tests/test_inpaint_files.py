"""Filling picture files: the rules for masks, where results go, and that nothing is half-written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medfe.config import GeneratorConfig
from medfe.errors import MedfeError
from medfe.inpaint_files import RULES, generated_mask, inpaint_files
from medfe.models.generator import build_generator
from medfe.weightfiles import save_weights


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run folder with fresh weights."""
    folder = tmp_path_factory.mktemp("run")
    config = GeneratorConfig(image_size=64, base_channels=2, feature_channels=4)
    torch.manual_seed(0)
    tensors = {f"generator.{name}": tensor for name, tensor in build_generator(config).state_dict().items()}
    save_weights(folder / "generator.safetensors", tensors, {"kind": "generator", "config": config.model_dump()})
    return str(folder)


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of different sizes, one of them in a folder of its own, one a JPEG."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for seed, (name, size) in enumerate({"a.png": (64, 64), "b.jpg": (90, 50), "more/c.png": (30, 70)}.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def written(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_picture_is_filled_by_a_rule(model, pictures, tmp_path):
    out = tmp_path / "made" / "filled.png"
    assert inpaint_files(pictures / "b.jpg", "center", out, model=model) == 1
    hole = generated_mask("center", (90, 50), 0)
    np.testing.assert_array_equal(pixels(out)[~hole], pixels(pictures / "b.jpg")[~hole])
    assert written(out.parent) == ["filled.png"]


def test_a_rule_is_a_rule_whatever_folders_there_are_and_whatever_the_seed(model, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert inpaint_files(pictures, "center", Path("center"), model=model) == 3
    assert inpaint_files(pictures, "irregular", tmp_path / "out", model=model, seed=-(10**12)) == 3


def test_a_folder_is_filled_with_its_subfolders_and_names(model, pictures, tmp_path):
    assert inpaint_files(pictures, "irregular", tmp_path / "out", model=model, seed=3) == 3
    assert written(tmp_path / "out") == ["a.png", "b.png", "more/c.png"]
    for name in ("a.png", "more/c.png"):
        before, after = pixels(pictures / name), pixels(tmp_path / "out" / name)
        changed = (before != after).any(axis=2)
        assert 0 < changed.mean() < 0.6


def test_a_picture_of_a_folder_gets_the_mask_it_gets_alone(model, pictures, tmp_path):
    inpaint_files(pictures, "brush", tmp_path / "out", model=model, seed=5)
    inpaint_files(pictures / "a.png", "brush", tmp_path / "alone.png", model=model, seed=5)
    inpaint_files(pictures / "a.png", "brush", tmp_path / "other.png", model=model, seed=6)
    np.testing.assert_array_equal(pixels(tmp_path / "alone.png"), pixels(tmp_path / "out" / "a.png"))
    assert (pixels(tmp_path / "alone.png") != pixels(tmp_path / "other.png")).any()


def test_originals_are_never_overwritten(model, pictures, tmp_path):
    before = {name: (pictures / name).read_bytes() for name in written(pictures)}
    hole = tmp_path / "hole.png"
    Image.fromarray(generated_mask("center", (64, 64), 0)).save(hole)
    link = tmp_path / "link"
    link.symlink_to(pictures, target_is_directory=True)
    for source, mask, out, complaint in (
        (pictures, "center", pictures, "is the folder of the pictures itself"),
        (pictures, "center", link, "is the folder of the pictures itself"),
        (pictures / "a.png", "center", pictures / "more" / ".." / "a.png", "is the picture itself"),
        (pictures / "a.png", str(hole), hole, "is the mask itself"),
        (pictures / "more", str(pictures), pictures, "is the folder of masks itself"),
    ):
        with pytest.raises(MedfeError, match=complaint):
            inpaint_files(source, mask, out, model=model)
    assert {name: (pictures / name).read_bytes() for name in written(pictures)} == before


def test_results_of_pictures_in_folders_of_their_own_may_lie_among_them_if_none_is_overwritten(model, pictures):
    assert inpaint_files(pictures / "more", "center", pictures, model=model) == 1
    assert written(pictures) == ["a.png", "b.jpg", "c.png", "more/c.png"]


def test_two_pictures_whose_results_have_one_name_are_refused(model, pictures, tmp_path):
    (pictures / "a.jpg").write_bytes((pictures / "b.jpg").read_bytes())
    with pytest.raises(MedfeError, match=r"a\.png: its result has the name of that of .*a\.jpg, rename one of them"):
        inpaint_files(pictures, "center", tmp_path / "out", model=model)
    assert not (tmp_path / "out").exists()


def test_masks_come_from_a_file_of_either_polarity(model, pictures, tmp_path):
    hole = np.zeros((50, 90), dtype=bool)
    hole[10:30, 20:50] = True
    Image.fromarray(hole).save(tmp_path / "white.png")
    Image.fromarray(~hole).save(tmp_path / "black.png")
    for colour in ("white", "black"):
        out = tmp_path / f"filled_{colour}.png"
        inpaint_files(pictures / "b.jpg", str(tmp_path / f"{colour}.png"), out, model=model, hole=colour)
        np.testing.assert_array_equal(pixels(out)[~hole], pixels(pictures / "b.jpg")[~hole])
    np.testing.assert_array_equal(pixels(tmp_path / "filled_white.png"), pixels(tmp_path / "filled_black.png"))


def test_masks_come_from_a_folder_by_name(model, pictures, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for name, size, row in (("a.png", (64, 64), 5), ("b.png", (90, 50), 6), ("c.bmp", (30, 70), 7)):
        hole = np.zeros(size[::-1], dtype=bool)
        hole[row] = True
        Image.fromarray(hole).save(masks / name)
    inpaint_files(pictures, str(masks), tmp_path / "out", model=model)
    for name, row in (("a", 5), ("more/c", 7)):
        changed = (pixels(pictures / f"{name}.png") != pixels(tmp_path / "out" / f"{name}.png")).any(axis=(1, 2))
        assert np.flatnonzero(changed).tolist() == [row]
    (masks / "c.jpg").write_bytes((masks / "c.bmp").read_bytes())
    with pytest.raises(MedfeError, match=r"found 2 masks named c\.\* for .*c\.png, expected one"):
        inpaint_files(pictures, str(masks), tmp_path / "again", model=model)
    (masks / "c.jpg").unlink()
    (masks / "c.bmp").unlink()
    with pytest.raises(MedfeError, match=r"no mask named more/c\.\* for"):
        inpaint_files(pictures, str(masks), tmp_path / "again", model=model)
    assert not (tmp_path / "again").exists()  # found before the first picture is filled


def test_pictures_of_one_name_have_the_masks_of_their_folders(model, tmp_path):
    shared = tmp_path / "shared"
    for folder, row in (("x", 3), ("y", 9)):
        for place in (tmp_path / "pictures" / folder, tmp_path / "masks" / folder, shared):
            place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (200, 100, 50)).save(tmp_path / "pictures" / folder / "1.png")
        hole = np.zeros((20, 20), dtype=bool)
        hole[row] = True
        Image.fromarray(hole).save(tmp_path / "masks" / folder / "1.png")
        Image.fromarray(hole).save(shared / "1.png")
    assert inpaint_files(tmp_path / "pictures", str(tmp_path / "masks"), tmp_path / "out", model=model) == 2
    for folder, row in (("x", 3), ("y", 9)):
        changed = (pixels(tmp_path / "out" / folder / "1.png") != (200, 100, 50)).any(axis=(1, 2))
        assert np.flatnonzero(changed).tolist() == [row]
    with pytest.raises(MedfeError, match=r"no mask named x/1\.\* for"):  # one mask is not that of two pictures
        inpaint_files(tmp_path / "pictures", str(shared), tmp_path / "again", model=model)
    (tmp_path / "masks" / "x" / "1.png").unlink()
    with pytest.raises(MedfeError, match=r"no mask named 1\.\* for"):  # nor is that of another folder
        inpaint_files(tmp_path / "pictures" / "x", str(tmp_path / "masks"), tmp_path / "again", model=model)


def test_unreadable_pictures_of_a_folder_are_named_and_skipped(model, pictures, tmp_path, caplog):
    (pictures / "b.jpg").write_bytes((pictures / "b.jpg").read_bytes()[:100])
    assert inpaint_files(pictures, "center", tmp_path / "out", model=model) == 2
    assert written(tmp_path / "out") == ["a.png", "more/c.png"]
    assert "b.jpg" in caplog.text
    for name in ("a.png", "more/c.png"):
        (pictures / name).write_text("no picture")
    with pytest.raises(MedfeError, match="none of 3 pictures can be read"):
        inpaint_files(pictures, "center", tmp_path / "again", model=model)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(4, 4), (64, 64), (7, 301)])
def test_every_rule_gives_a_hole_and_something_known_at_every_size(rule, size):
    mask = generated_mask(rule, size, 0)
    assert mask.shape == size[::-1]
    assert mask.any()
    assert not mask.all()
    np.testing.assert_array_equal(mask, generated_mask(rule, size, 0))


@pytest.mark.parametrize(("mask", "out", "complaint"), [
    ("unheard_of", "out.png", "mask 'unheard_of': found no such file or folder, expected one, or one of: center"),
    ("center", "out.jpg", r"out\.jpg: expected a name that ends in \.png"),
    ("center", "out", r"out: expected a name that ends in \.png"),
])  # fmt: skip
def test_an_unknown_mask_or_a_lossy_result_is_refused(model, pictures, tmp_path, mask, out, complaint):
    with pytest.raises(MedfeError, match=complaint):
        inpaint_files(pictures / "a.png", mask, tmp_path / out, model=model)
    assert written(tmp_path) == [f"pictures/{name}" for name in written(pictures)]


def test_a_missing_source_is_named(model, tmp_path):
    with pytest.raises(MedfeError, match=r"nothing\.png"):
        inpaint_files(tmp_path / "nothing.png", "center", tmp_path / "out.png", model=model)
