"""`Inpainter`: any size, known pixels exact, nothing of the hole used, and errors in one line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medfe import Inpainter
from medfe.config import GeneratorConfig
from medfe.devices import choose_device
from medfe.errors import MedfeError
from medfe.inference import Window, as_mask, choose_window, find_weights
from medfe.models.generator import build_generator
from medfe.weightfiles import save_weights

SIDE = 64


def make_generator():
    torch.manual_seed(0)
    generator = build_generator(GeneratorConfig(image_size=SIDE, base_channels=2, feature_channels=4))
    for parameter in generator.parameters():
        parameter.data.mul_(3)  # so that the picture is not all grey
    return generator


@pytest.fixture(scope="module")
def inpainter():
    return Inpainter(make_generator())


def picture(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def mask(width, height, seed=0):
    """A mask that is neither empty nor full: a box, or scattered pixels."""
    rng = np.random.default_rng(seed)
    hole = np.zeros((height, width), dtype=bool)
    if rng.random() < 0.3:
        hole = rng.random((height, width)) < 0.3
    else:
        top, left = rng.integers(height), rng.integers(width)
        hole[top : top + 1 + rng.integers(height), left : left + 1 + rng.integers(width)] = True
    place = tuple(rng.integers((height, width)))
    hole[place] = not hole.all() and True
    if hole.all():
        hole[place] = False
    return hole


sizes = st.tuples(st.integers(1, 150), st.integers(1, 150)).filter(lambda size: size != (1, 1))


@settings(deadline=None, max_examples=25)
@given(sizes, st.integers(0, 2**31))
def test_every_size_gives_the_same_size_with_known_pixels_bit_for_bit(inpainter, size, seed):
    image, hole = picture(*size, seed), mask(*size, seed)
    before = image.copy()
    filled = inpainter(image, hole)
    assert (filled.size, filled.mode) == (size, "RGB")
    np.testing.assert_array_equal(np.asarray(filled)[~hole], image[~hole])
    np.testing.assert_array_equal(image, before)


@settings(deadline=None, max_examples=25)
@given(sizes, st.integers(0, 2**31))
def test_what_the_hole_holds_reaches_no_pixel_of_the_result(inpainter, size, seed):
    image, hole = picture(*size, seed), mask(*size, seed)
    other = image.copy()
    other[hole] = picture(*size, seed + 1)[hole]
    np.testing.assert_array_equal(inpainter(image, hole), inpainter(other, hole))


@pytest.mark.parametrize("size", [(SIDE, SIDE), (200, 90), (90, 200), (33, 500)])
def test_known_pixels_matter_to_the_hole(inpainter, size):
    hole = np.zeros(size[::-1], dtype=bool)
    hole[size[1] // 3 : size[1] // 2, size[0] // 3 : size[0] // 2] = True
    first, second = (np.asarray(inpainter(picture(*size, seed), hole)) for seed in (0, 1))
    assert (first[hole] != second[hole]).any()


def test_a_picture_of_the_models_size_is_filled_as_it_is(inpainter):
    image, hole = picture(SIDE, SIDE), mask(SIDE, SIDE, 3)
    with torch.no_grad():
        output = inpainter.generator(
            torch.from_numpy(image / 127.5 - 1).float().permute(2, 0, 1)[None],
            torch.from_numpy(hole).float()[None, None],
        ).image[0]
    expected = np.clip(np.rint((output.permute(1, 2, 0).numpy() + 1) * 127.5), 0, 255)
    np.testing.assert_array_equal(np.asarray(inpainter(image, hole))[hole], expected[hole])


def test_a_picture_twice_as_large_is_filled_like_its_half():
    """A generator that paints one colour: resizing back and forth must leave it."""

    class Painter(torch.nn.Module):
        config = GeneratorConfig(image_size=SIDE)

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, image, _):
            return type("Output", (), {"image": torch.full_like(image, 0.5)})

    image, hole = picture(2 * SIDE, 3 * SIDE), np.zeros((3 * SIDE, 2 * SIDE), dtype=bool)
    hole[40:120, 30:110] = True
    filled = np.asarray(Inpainter(Painter())(image, hole))
    assert (filled[60:100, 50:90] == round(1.5 * 127.5)).all()
    np.testing.assert_array_equal(filled[~hole], image[~hole])


def test_the_model_gets_a_square_of_its_size_that_knows_nothing_of_the_hole(inpainter):
    image, other = picture(90, 150), picture(90, 150, seed=1)
    hole = np.zeros((150, 90), dtype=bool)
    hole[71:97, 33:52] = True
    other[~hole] = image[~hole]
    one, two = inpainter.prepare(image, hole), inpainter.prepare(other, hole)
    assert one.window == choose_window(hole)
    assert one.image.shape == (3, SIDE, SIDE)
    assert one.mask.shape == (1, SIDE, SIDE)
    assert torch.equal(one.mask, two.mask)
    assert torch.equal((1 - one.mask) * one.image, (1 - two.mask) * two.image)
    # A pixel of the square covers 90 / 64 pixels each way; it is of the hole if any of them is.
    rows, columns = (torch.nonzero(one.mask[0].any(dim=axis)).flatten() for axis in (1, 0))
    top, left = 71 - one.window.top, 33 - one.window.left
    assert (int(rows[0]), int(columns[0])) == (top * 64 // 90, left * 64 // 90)
    assert (int(rows[-1]), int(columns[-1])) == (-(-(top + 26) * 64 // 90) - 1, -(-(left + 19) * 64 // 90) - 1)


def test_batches_equal_singles(inpainter):
    extents = [(SIDE, SIDE), (100, 70), (70, 100), (40, 40), (SIDE, SIDE)]
    images = [picture(*size, seed) for seed, size in enumerate(extents)]
    holes = [mask(*size, seed) for seed, size in enumerate(extents)]
    together = inpainter.inpaint(images, holes, batch_size=2)
    for image, hole, joint in zip(images, holes, together, strict=True):
        difference = np.asarray(joint).astype(int) - np.asarray(inpainter(image, hole))
        assert np.abs(difference).max() <= 1  # a value between two levels may round either way


def test_masks_and_pictures_of_every_kind_are_the_same(inpainter, tmp_path):
    image, hole = picture(80, 50), mask(80, 50, 5)
    levels = np.where(hole, 255, 0).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "mask.png")
    Image.fromarray(image).save(tmp_path / "image.png")
    expected = np.asarray(inpainter(image, hole))
    masks = [
        levels, Image.fromarray(levels), Image.fromarray(hole), tmp_path / "mask.png", str(tmp_path / "mask.png"),
        hole.astype(np.float32), hole.astype(int), levels.astype(int), Image.fromarray(levels).convert("RGB"),
        np.where(hole, 128, 127).astype(np.uint8),
    ]  # fmt: skip
    for given_mask in masks:
        np.testing.assert_array_equal(inpainter(image, given_mask), expected)
    pictures = [Image.fromarray(image), tmp_path / "image.png", str(tmp_path / "image.png")]
    for given_image in pictures:
        np.testing.assert_array_equal(inpainter(given_image, hole), expected)


@settings(deadline=None, max_examples=200)
@given(sizes, st.integers(0, 2**31))
def test_the_window_holds_the_hole_and_something_known(size, seed):
    hole = mask(*size, seed)
    window = choose_window(hole)
    inside = hole[window.top : window.bottom, window.left : window.right]
    assert inside.sum() == hole.sum()
    assert not inside.all()
    assert 0 <= window.left < window.right <= size[0]
    assert 0 <= window.top < window.bottom <= size[1]
    assert window.size in {(min(size), min(size)), size}


@pytest.mark.parametrize(("rows", "columns", "expected"), [
    ((20, 30), (60, 90), Window(50, 0, 150, 100)),  # central enough: the central square
    ((20, 30), (0, 10), Window(0, 0, 100, 100)),
    ((20, 30), (180, 200), Window(100, 0, 200, 100)),
    ((20, 30), (100, 190), Window(90, 0, 190, 100)),
    ((20, 30), (40, 150), Window(0, 0, 200, 100)),  # too wide for a square
    ((0, 100), (50, 150), Window(0, 0, 200, 100)),  # as large as the square
])  # fmt: skip
def test_the_window_is_as_central_as_the_hole_allows(rows, columns, expected):
    hole = np.zeros((100, 200), dtype=bool)
    hole[slice(*rows), slice(*columns)] = True
    assert choose_window(hole) == expected
    turned = Window(expected.top, expected.left, expected.bottom, expected.right)
    assert choose_window(hole.T) == turned


@pytest.mark.parametrize(("given_mask", "complaint"), [
    (np.zeros((50, 80), bool), "empty"), (np.ones((50, 80), bool), "full"),
    (np.zeros((80, 50), bool), "mask is 50×80, image is 80×50"),
    (np.zeros((50, 80, 3), bool), r"shape \(50, 80, 3\), expected H×W"),
    (Image.new("L", (80, 51), 255), "mask is 80×51, image is 80×50"),
])  # fmt: skip
def test_unusable_masks_are_refused(inpainter, given_mask, complaint):
    with pytest.raises(MedfeError, match=complaint):
        inpainter(picture(80, 50), given_mask)


@pytest.mark.parametrize("image", [
    np.zeros((50, 80), np.uint8), np.zeros((50, 80, 4), np.uint8), np.zeros((50, 80, 3), np.float32),
])  # fmt: skip
def test_unusable_arrays_are_refused(inpainter, image):
    with pytest.raises(MedfeError, match="expected uint8 H×W×3"):
        inpainter(image, mask(80, 50))


@pytest.mark.parametrize("hole", [np.zeros((1, 1), bool), np.ones((1, 1), bool)])
def test_a_single_pixel_is_refused(inpainter, hole):
    with pytest.raises(MedfeError, match=r"mask: (empty|full)"):
        inpainter(picture(1, 1), hole)


def test_as_many_masks_as_pictures_are_needed(inpainter):
    with pytest.raises(MedfeError, match="found 2 images and 1 masks"):
        inpainter.inpaint([picture(9, 9)] * 2, [mask(9, 9)])
    assert inpainter.inpaint([], []) == []


@pytest.fixture
def run_folder(tmp_path):
    """A run folder whose target's read-out is in the weights too."""
    generator = make_generator()
    tensors = {f"generator.{name}": tensor for name, tensor in generator.state_dict().items()}
    tensors["target.readout.bias"] = torch.zeros(3)
    metadata = {"kind": "generator", "config": generator.config.model_dump(mode="json"), "target": {"arm": "none"}}
    save_weights(tmp_path / "generator.safetensors", tensors, metadata)
    return tmp_path


def test_a_saved_model_fills_like_the_one_that_was_saved(run_folder, inpainter):
    image, hole = picture(90, 70), mask(90, 70)
    for source in (run_folder, run_folder / "generator.safetensors", str(run_folder)):
        loaded = Inpainter.from_pretrained(source, "cpu")
        np.testing.assert_array_equal(loaded(image, hole), inpainter(image, hole))
    assert loaded.arm == loaded.target_config.arm == "none"
    assert loaded.image_size == SIDE
    assert not loaded.generator.training


def test_float32_on_cuda_is_float32_whoever_names_the_device(monkeypatch):
    for asked, allowed in (("cpu", True), ("cuda:1", False)):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
        assert choose_device(asked) == torch.device(asked)
        assert torch.backends.cudnn.allow_tf32 == allowed


def test_an_unknown_device_is_named_whatever_it_is_for():
    with pytest.raises(MedfeError, match="device 'nonsense': "):
        choose_device("nonsense")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_an_absent_device_is_named(run_folder, device):
    with pytest.raises(MedfeError, match=f"device '{device}'"):
        Inpainter.from_pretrained(run_folder, device)


@pytest.mark.parametrize("source", ["faces128/unheard_of", "unheard_of/low_resolution", "", "nowhere/at/all"])
def test_an_unknown_model_is_named_with_those_there_are(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MedfeError, match=f"model '{source}': not found, expected.*shipped:"):
        find_weights(source)


def test_a_folder_of_shipped_weights_is_answered_with_the_files_in_it(tmp_path):
    for name in ("none.safetensors", "autoencoder.safetensors", "card.md"):
        (tmp_path / name).touch()
    with pytest.raises(
        MedfeError, match=r"one of the weight files in it \(autoencoder\.safetensors, none\.safetensors\)"
    ):
        find_weights(tmp_path)


def test_a_float_mask_is_a_hole_above_one_half():
    values = np.array([[0.0, 0.5, 0.51, 1.0]])
    assert as_mask(values, (4, 1)).tolist() == [[False, False, True, True]]
