"""Reconstructions: closed forms of errors and spectra, and the two codes that need no network."""

import numpy as np
import pytest
import torch

from medfe.analysis.reconstruction import (
    bilinear_round_trip,
    dct_round_trip,
    error_map,
    lost_spectrum,
    radial_spectrum,
    reconstruction_errors,
    target_times,
)
from medfe.config import AutoencoderConfig
from medfe.data.images import center_square, resize, to_tensor
from medfe.data.samples import scenes
from medfe.models.autoencoder import build_autoencoder


@pytest.fixture(scope="module")
def images():
    pictures = scenes()
    return torch.stack([to_tensor(resize(center_square(pictures[name]), 128)) for name in ("chelsea", "coffee")])


def test_errors_of_a_constant_offset_are_known(images):
    table = reconstruction_errors(images * 0.5, {"same": lambda x: x, "offset": lambda x: x + 2 / 255})
    assert table.columns.tolist() == ["code", "image", "l1", "psnr"]
    same, offset = (table[table["code"] == name] for name in ("same", "offset"))
    assert same["l1"].eq(0).all()
    assert np.isinf(same["psnr"]).all()
    assert offset["l1"].to_numpy() == pytest.approx([2 / 255] * 2, rel=1e-5)
    assert offset["psnr"].to_numpy() == pytest.approx([20 * np.log10(255)] * 2, abs=0.1)  # one grey level


def test_the_error_map_averages_colours():
    difference = torch.zeros(1, 3, 4, 4)
    difference[0, 1, 2, 3] = -0.6
    found = error_map(torch.zeros(1, 3, 4, 4), difference)
    assert found.shape == (1, 4, 4)
    assert float(found[0, 2, 3]) == pytest.approx(0.2)
    assert float(found.sum()) == pytest.approx(0.2)


def test_the_shrunken_target_keeps_planes_and_loses_stripes():
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    torch.testing.assert_close(bilinear_round_trip(ramp)[..., 4:-4], ramp[..., 4:-4])
    stripes = torch.tensor([-1.0, 1.0]).repeat(32).expand(1, 3, 64, 64)
    assert bilinear_round_trip(stripes).abs().max() < 1e-6


def test_dct_codes_lose_nothing_with_all_coefficients_and_less_the_more_there_are(images):
    assert (dct_round_trip(images, 192) - images).abs().max() < 1e-5
    errors = [float((dct_round_trip(images, count) - images).square().mean()) for count in (3, 16, 64, 128, 192)]
    assert errors == sorted(errors, reverse=True)
    means = torch.nn.functional.avg_pool2d(images, 8)
    torch.testing.assert_close(dct_round_trip(images, 3), torch.nn.functional.interpolate(means, scale_factor=8.0))


def test_a_wave_has_its_power_at_its_frequency():
    phase = 2 * torch.pi * 0.25 * torch.arange(64.0)
    spectrum = radial_spectrum(torch.cos(phase).expand(1, 3, 64, 64))
    assert spectrum.index[-1] == 0.5
    assert spectrum.idxmax() == 0.25
    assert spectrum[0.25] > 100 * spectrum[0.375]


def test_white_noise_is_white_and_its_power_is_the_windows_mean_square():
    noise = torch.randn(200, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    spectrum = radial_spectrum(noise).iloc[4:]
    expected = float(torch.hann_window(64, periodic=False).square().mean()) ** 2
    assert spectrum.to_numpy() == pytest.approx(np.full(len(spectrum), expected), rel=0.1)


def test_what_is_lost_is_the_share_of_the_error(images):
    assert lost_spectrum(images, 0.5 * images)["lost"].to_numpy() == pytest.approx(0.25)
    lost = lost_spectrum(images, bilinear_round_trip(images))["lost"]
    assert lost.index[0] == 1 / 128
    assert lost[lost.index < 0.02].max() < 0.2
    assert lost[lost.index > 0.2].min() > 0.7  # beyond the grid's Nyquist frequency, 1/16


def test_every_way_to_a_target_is_timed_alike(images):
    encoder = build_autoencoder(AutoencoderConfig(kind="texture", image_size=128, base_channels=4)).eval()
    threads = torch.get_num_threads()
    table = target_times({"texture encoder": encoder}, images[:1], repeats=2)
    assert table["target"].tolist() == ["RTV, exact", "RTV, tolerance 0.1", "texture encoder"]
    assert (table["lower_quartile"] <= table["milliseconds"]).all()
    assert (table["milliseconds"] <= table["upper_quartile"]).all()
    assert (table["lower_quartile"] > 0).all()
    assert torch.get_num_threads() == threads
