"""Methods: where they come from, what they are called, and what they may return."""

import re
import shutil
import sys

import pytest
import torch

from medfe.data.masks import center_mask, mask_to_tensor
from medfe.errors import MedfeError
from medfe.evaluation.methods import Method, load_method, load_methods

IMAGES = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MASKS = torch.stack([mask_to_tensor(center_mask(32))] * 2)
HOLES = (MASKS > 0.5).expand_as(IMAGES)


def method(fill):
    return Method("mine", "mine", "0", fill)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A folder to give commands in, and a function that writes a module there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


def test_known_pixels_are_pasted_back_and_the_hole_is_rounded_to_8_bits():
    filled = method(lambda image, _: torch.full_like(image, 0.1234))(IMAGES, MASKS)
    assert filled.dtype == torch.uint8
    torch.testing.assert_close(filled[~HOLES], IMAGES[~HOLES])
    assert (filled[HOLES] == round((0.1234 + 1) * 127.5)).all()


def test_no_method_is_shown_what_is_in_the_hole():
    seen = []
    method(lambda image, _: seen.append(image) or image)(IMAGES, MASKS)
    assert (seen[0][HOLES] == 0).all()
    torch.testing.assert_close(seen[0][~HOLES], IMAGES.float()[~HOLES] / 127.5 - 1)


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda image, _: image[..., :-1], "returned 2×3×32×31, expected 2×3×32×32"),
        (lambda image, _: image[:1], "returned 1×3×32×32, expected 2×3×32×32"),
        (lambda image, _: image.log(), "returned NaN or infinities, expected numbers in"),
        (lambda image, _: image * 0 + 200, "returned values up to ±200, expected numbers in"),
        (lambda image, mask: (image, mask), "returned a tuple, expected a tensor"),
    ],
)
def test_a_useless_result_is_told_in_one_line(fill, message):
    with pytest.raises(MedfeError, match=f"method mine: {re.escape(message)}") as error:
        method(fill)(IMAGES, MASKS)
    assert "\n" not in str(error.value)


def test_nan_outside_of_the_hole_is_pasted_over():
    filled = method(lambda image, mask: torch.where(mask > 0.5, 0.0, torch.nan).expand_as(image))(IMAGES, MASKS)
    torch.testing.assert_close(filled[~HOLES], IMAGES[~HOLES])


def test_a_function_of_the_users_own_is_found_where_the_command_is_given(own_module):
    own_module("my_method", "def grey(image, mask):\n    return image * 0\n")
    (loaded,) = load_methods(["grey=my_method:grey"])
    assert (loaded.name, loaded.source) == ("grey", "my_method:grey")
    assert (loaded(IMAGES, MASKS)[HOLES] == 128).all()


def test_a_changed_module_has_another_digest(own_module):
    own_module("my_method_a", "def fill(image, mask):\n    return image\n")
    first = load_method("m", "my_method_a:fill").digest
    own_module("my_method_a", "def fill(image, mask):\n    return -image\n")
    assert load_method("m", "my_method_a:fill").digest != first


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no_such_module_here:fill", "found no module no_such_module_here"),
        ("json:fill", "found no function fill in json"),
        ("broken_module:fill", "the module fails with ValueError: no weights"),
        ("telae", "not found, expected mean_fill, telea, navier_stokes, module:function, a run folder"),
        ("runs/none", "not found, expected"),
    ],
)
def test_a_method_that_is_not_there_is_named(own_module, source, message):
    own_module("broken_module", "raise ValueError('no weights')\n")
    with pytest.raises(MedfeError, match=message):
        load_methods([source])


def test_a_function_that_fails_is_named(own_module):
    own_module("failing", "def fill(image, mask):\n    raise RuntimeError('out of luck')\n")
    with pytest.raises(MedfeError, match="method 'failing:fill': failed with RuntimeError: out of luck"):
        load_method("m", "failing:fill")(IMAGES, MASKS)


def test_a_run_folder_is_called_by_its_name_and_known_by_its_weights(run_folder):
    (loaded,) = load_methods([str(run_folder)])
    (by_file,) = load_methods([str(run_folder / "generator.safetensors")])
    assert (loaded.name, loaded.image_size, loaded.arm) == ("untrained", 64, "none")
    assert (by_file.name, by_file.digest) == (loaded.name, loaded.digest)


def test_two_methods_of_one_name_are_refused(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "other" / "untrained")
    with pytest.raises(MedfeError, match=r"have one name, 'untrained'; call one of them NAME=SOURCE"):
        load_methods([str(run_folder), str(tmp_path / "other" / "untrained")])
    names = [one.name for one in load_methods([str(run_folder), f"copy={tmp_path / 'other' / 'untrained'}"])]
    assert names == ["untrained", "copy"]


LAMA = """
import torch

lama = torch.jit.load("big-lama.pt").eval()


def inpaint(image, mask):  # N×3×H×W in [-1, 1]; N×1×H×W, 1 = hole
    filled = lama((image + 1) / 2, mask)  # LaMa works in [0, 1]
    return 2 * filled - 1
"""


class Whitening(torch.nn.Module):
    """Takes and returns what LaMa's TorchScript does, and fills holes with white."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image * (1 - mask) + mask


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_network_in_01_is_a_method_in_ten_lines(own_module, tmp_path):
    torch.jit.save(torch.jit.trace(Whitening(), (torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))), "big-lama.pt")
    own_module("my_lama", LAMA)
    (lama,) = load_methods(["lama=my_lama:inpaint"])
    filled = lama(IMAGES, MASKS)
    assert (filled[HOLES] == 255).all()
    torch.testing.assert_close(filled[~HOLES], IMAGES[~HOLES])
