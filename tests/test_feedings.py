"""How a network wants its input, told from how well it keeps known pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medfe.config import GeneratorConfig
from medfe.import_published import FEEDINGS, Feeding, error_table, flat_error, known_pixel_errors
from medfe.inference import Inpainter
from medfe.models.generator import build_generator


def colored(red, green, blue, side=64):
    return torch.tensor([red, green, blue], dtype=torch.float64)[None, :, None, None].expand(1, 3, side, side).clone()


def test_errors_have_their_closed_forms():
    """A stub that loses its first channel, and the whole picture where it takes it for a hole."""

    def generator(image, mask):
        return SimpleNamespace(image=image * (mask < 0.5) * torch.tensor([0.0, 1.0, 1.0])[:, None, None])

    red, green, blue = 0.6, -0.2, 0.4
    errors = known_pixel_errors(generator, colored(red, green, blue))
    size = {-1: lambda value: 127.5 * abs(value) / 3, 0: lambda value: 127.5 * (value + 1) / 3}
    for feeding in FEEDINGS:
        lost = {"RGB": [red], "BGR": [blue]}[feeding.colors] if feeding.hole == 1 else [red, green, blue]
        assert errors[feeding] == pytest.approx(sum(map(size[feeding.black], lost))), feeding


def test_the_hole_does_not_count():
    def generator(image, mask):
        return SimpleNamespace(image=torch.where(mask > 0.5, image + 7, image))

    errors = known_pixel_errors(generator, torch.rand(1, 3, 64, 64) * 2 - 1)
    assert [errors[feeding] for feeding in FEEDINGS if feeding.hole == 1] == [0.0] * 4


@pytest.mark.parametrize("wanted", FEEDINGS, ids=str)
def test_the_way_that_a_network_was_trained_with_is_marked_best(wanted):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    shown = image.flip(1) if wanted.colors == "BGR" else image
    shown = shown if wanted.black == -1 else (shown + 1) / 2

    def generator(given, mask):  # knows one picture in one form, answers noise of its size to any other
        known = torch.equal(given, shown) and int(mask[0, 0, 0, 0]) == 1 - wanted.hole
        return SimpleNamespace(image=given if known else given.flip(2))

    errors = known_pixel_errors(generator, image)
    assert errors[wanted] == 0
    table = error_table(errors, image).splitlines()
    marked = [line for line in table if line.endswith("<- best")]
    expected = [wanted.colors, f"[{wanted.black},", "1]", str(wanted.hole), "0.0", "<-", "best"]
    assert [line.split() for line in marked] == [expected]
    if wanted == FEEDINGS[0]:
        assert table[-1] == "medfe feeds RGB, [-1, 1], hole = 1: what these weights want"
    else:
        assert table[-1] == f"medfe feeds RGB, [-1, 1], hole = 1, these weights want {wanted}: expect poor results"


def test_a_network_that_reproduces_nothing_is_called_so():
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    errors = {feeding: flat_error(image) * (0.6 + index) for index, feeding in enumerate(FEEDINGS)}
    assert error_table(errors, image).endswith("weights untrained, damaged, or of other code")


def test_the_flat_picture_is_the_mean_colour_of_the_known_pixels():
    image = colored(1.0, 0.5, 0.0)
    image[:, :, 16:48, 16:48] = -1  # the hole, which must not count
    assert flat_error(image) == pytest.approx(0)
    image[:, 0, :, :32] = -1  # half of the known pixels: red is 1 from its mean
    assert flat_error(image) == pytest.approx(127.5 / 3)


def test_the_first_feeding_is_that_of_the_inpainter():
    seen = []
    config = GeneratorConfig.preset("tiny")
    generator = build_generator(config)
    generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[..., 0], picture[..., 1] = 255, 51  # red 1, green -0.6, blue -1
    hole = np.zeros((64, 64), dtype=bool)
    hole[16:48, 16:48] = True
    Inpainter(generator)(picture, hole)
    image, mask = seen[0]
    assert Feeding("RGB", int(image.min()), int(mask[0, 0, 32, 32])) == FEEDINGS[0]
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor([1.0, -0.6, -1.0]))
