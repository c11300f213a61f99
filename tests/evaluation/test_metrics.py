"""Per-image metrics against scikit-image, torchmetrics and closed forms; LPIPS on random weights, no download."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision.models import alexnet

from medfe.errors import MedfeError
from medfe.evaluation.metrics import SSIM_RADIUS, Lpips, image_metrics, l1, psnr, ssim, ssim_map


@pytest.fixture(scope="module")
def photographs():
    """Three crops of a photograph and noisy versions of them, uint8 N×H×W×3 arrays of a size that is not square."""
    whole = astronaut()
    target = np.stack([whole[y : y + 72, x : x + 96] for y, x in ((0, 150), (100, 180), (250, 60))])
    noise = np.random.default_rng(0).normal(0, [[[[3]]], [[[12]]], [[[40]]]], target.shape)
    return np.clip(target + noise, 0, 255).astype(np.uint8), target


@pytest.fixture(scope="module")
def pair(photographs):
    return tuple(torch.from_numpy(images).movedim(-1, 1) for images in photographs)


@pytest.fixture
def hole():
    mask = torch.zeros(3, 1, 72, 96)
    mask[:, :, 20:50, 30:70] = 1
    mask[2, :, :30] = 1
    return mask


@pytest.fixture(scope="module")
def lpips():
    torch.manual_seed(0)
    return Lpips()


def test_psnr_equals_scikit_image(photographs, pair):
    expected = [peak_signal_noise_ratio(y, x) for x, y in zip(*photographs, strict=True)]
    np.testing.assert_allclose(psnr(*pair), expected, rtol=1e-12)


def test_ssim_equals_scikit_image_with_the_gaussian_window(photographs, pair):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    results = [
        structural_similarity(x, y, channel_axis=-1, full=True, **options) for x, y in zip(*photographs, strict=True)
    ]
    np.testing.assert_allclose(ssim(*pair), [value for value, _ in results], rtol=1e-10)
    inner = np.s_[SSIM_RADIUS:-SSIM_RADIUS]
    maps = np.stack([np.moveaxis(full[inner, inner], -1, 0) for _, full in results])
    np.testing.assert_allclose(ssim_map(*pair), maps, atol=1e-10)


def test_metrics_of_the_hole_are_those_of_the_pixels_in_it(photographs, pair, hole):
    errors = np.abs(photographs[0] / 255 - photographs[1] / 255)
    chosen = [error[mask[0].bool().numpy()] for error, mask in zip(errors, hole, strict=True)]
    np.testing.assert_allclose(l1(*pair, hole), [pixels.mean() for pixels in chosen])
    np.testing.assert_allclose(psnr(*pair, hole), [-10 * np.log10((pixels**2).mean()) for pixels in chosen])
    padded = np.full((3, 3, 72, 96), np.nan)
    padded[..., SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS] = ssim_map(*pair)
    expected = [np.nanmean(m[:, mask[0].bool().numpy()]) for m, mask in zip(padded, hole, strict=True)]
    np.testing.assert_allclose(ssim(*pair, hole), expected)


def test_a_hole_that_is_the_whole_image_changes_nothing(pair, lpips):
    everything = torch.ones(3, 1, 72, 96)
    for metric in (l1, psnr, ssim):
        np.testing.assert_allclose(metric(*pair, everything), metric(*pair), rtol=1e-12)


@given(st.integers(0, 254), st.integers(1, 255))
@settings(max_examples=25, deadline=None)
def test_flat_images_have_the_closed_forms(level, step):
    step = min(step, 255 - level)
    one = torch.full((1, 3, 16, 16), level, dtype=torch.uint8)
    two = torch.full((1, 3, 16, 16), level + step, dtype=torch.uint8)
    assert l1(one, two).item() == pytest.approx(step / 255)
    assert psnr(one, two).item() == pytest.approx(-20 * np.log10(step / 255))
    c1 = (0.01 * 255) ** 2
    mean1, mean2 = float(level), float(level + step)
    assert ssim(one, two).item() == pytest.approx((2 * mean1 * mean2 + c1) / (mean1**2 + mean2**2 + c1), rel=1e-9)


def test_equal_images_are_at_the_ends_of_the_scales(pair, lpips):
    target = pair[1]
    assert l1(target, target).tolist() == [0.0] * 3
    assert psnr(target, target).tolist() == [float("inf")] * 3
    np.testing.assert_allclose(ssim(target, target), 1.0)
    assert lpips(target, target)[0].tolist() == [0.0] * 3


def test_floats_are_judged_as_the_8_bit_images_they_round_to(pair, hole, lpips):
    generator = torch.Generator().manual_seed(0)
    jitter = (torch.rand(pair[0].shape, generator=generator) - 0.5) * 0.9
    floats = [(image + jitter).clamp(0, 255) / 127.5 - 1 for image in pair]
    expected = image_metrics(*pair, hole, lpips)
    for name, values in image_metrics(*floats, hole, lpips).items():
        torch.testing.assert_close(values, expected[name], rtol=0, atol=0)


def test_a_batch_gives_each_image_its_own_value(pair, hole, lpips):
    together = image_metrics(*pair, hole, lpips)
    assert list(together) == ["l1", "psnr", "ssim", "l1_hole", "psnr_hole", "ssim_hole", "lpips", "lpips_hole"]
    for i in range(3):
        alone = image_metrics(pair[0][i : i + 1], pair[1][i : i + 1], hole[i : i + 1], lpips)
        for name, values in together.items():
            assert values.shape == (3,)
            assert values.dtype == torch.float64
            assert alone[name].shape == (1,)
            assert alone[name].item() == pytest.approx(values[i].item(), rel=1e-5)


def test_all_metrics_at_once_equal_each_alone(pair, hole):
    for metric, name in ((l1, "l1"), (psnr, "psnr"), (ssim, "ssim")):
        together = image_metrics(*pair, hole)
        torch.testing.assert_close(together[name], metric(*pair), rtol=1e-12, atol=0)
        torch.testing.assert_close(together[f"{name}_hole"], metric(*pair, hole), rtol=1e-12, atol=0)
    assert set(image_metrics(*pair)) == {"l1", "psnr", "ssim"}


def test_an_empty_hole_has_no_value(pair, hole):
    hole[1] = 0
    for values in image_metrics(*pair, hole).values():
        assert values[[0, 2]].isfinite().all()
    for metric in (l1, psnr, ssim):
        assert metric(*pair, hole).isnan().tolist() == [False, True, False]


def test_lpips_equals_torchmetrics_on_the_same_random_network(pair, lpips):
    oracle = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    oracle.load_state_dict(lpips.network.state_dict())
    expected = oracle(*(image / 127.5 - 1 for image in pair)).flatten()
    torch.testing.assert_close(lpips(*pair)[0].float(), expected, rtol=1e-5, atol=1e-8)
    assert expected.min() > 0


def test_lpips_of_the_hole_is_the_mean_of_torchmetrics_map(pair, hole, lpips):
    oracle = _LPIPS(pretrained=True, net="alex", pnet_rand=True, spatial=True)
    oracle.load_state_dict(lpips.network.state_dict())
    spatial = oracle(*(image / 127.5 - 1 for image in pair))
    expected = torch.stack([m[mask.bool()].mean() for m, mask in zip(spatial, hole, strict=True)])
    torch.testing.assert_close(lpips(*pair, hole)[1].float(), expected, rtol=1e-5, atol=1e-8)


def test_lpips_reads_torchvisions_weights_into_the_right_layers(pair, tmp_path):
    torch.manual_seed(1)
    network = alexnet(weights=None)
    torch.save(network.state_dict(), tmp_path / "alexnet.pth")
    lpips = Lpips.from_pretrained(tmp_path / "alexnet.pth")
    image = pair[0].float()
    torch.testing.assert_close(lpips.network.net(image)[-1], network.eval().features[:12](image))


def test_missing_lpips_weights_are_named_with_place_and_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MedfeError) as error:
        Lpips.from_pretrained()
    message = str(error.value)
    assert str(tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth") in message
    assert "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth" in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", "other"])
def test_a_file_that_is_not_alexnet_is_refused(content, tmp_path):
    path = tmp_path / "weights.pth"
    if content == "other":
        torch.save({"features.0.weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(MedfeError, match="does not hold AlexNet") as error:
        Lpips.from_pretrained(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("prediction", "target", "mask", "message"),
    [
        (torch.zeros(2, 3, 16, 16), torch.zeros(1, 3, 16, 16), None, "expected N×3×H×W twice"),
        (torch.zeros(1, 16, 16, 3), torch.zeros(1, 16, 16, 3), None, "expected N×3×H×W twice"),
        (torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), torch.nan), None, "NaN"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.int64), torch.zeros(1, 3, 16, 16), None, "found torch.int64"),
        (torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), torch.ones(1, 1, 8, 16), "expected 1×1×16×16"),
    ],
)
def test_wrong_input_is_named(prediction, target, mask, message):
    with pytest.raises(MedfeError, match=message):
        l1(prediction, target, mask)


def test_ssim_says_when_an_image_is_smaller_than_its_window():
    with pytest.raises(MedfeError, match="found images of 16×10"):
        ssim(torch.zeros(1, 3, 10, 16), torch.zeros(1, 3, 10, 16))
