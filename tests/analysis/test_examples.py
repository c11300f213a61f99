"""Examples, results, and gaps that chance makes."""

import pandas as pd
import pytest
import torch

from medfe.analysis.examples import example_images
from medfe.analysis.gap import embed, exchanged_gaps
from medfe.analysis.results import results_table
from medfe.data.files import find_images, shuffled
from medfe.data.images import center_square, load_image, resize, to_tensor
from medfe.data.samples import portraits
from medfe.errors import MedfeError
from medfe.evaluation.distances import frechet_distance
from medfe.evaluation.embeddings import Embedder


def test_examples_begin_with_the_portraits_and_no_two_are_equal():
    images = example_images(24, 64)
    assert images.shape == (24, 3, 64, 64)
    torch.testing.assert_close(images[1], to_tensor(resize(portraits()["grace_hopper"], 64)))
    differences = torch.cdist(images.flatten(1), images.flatten(1)).fill_diagonal_(9)
    assert differences.min() > 1
    assert torch.equal(images, example_images(24, 64))


@pytest.mark.parametrize("side", [64, 128, 256])
def test_examples_of_every_presets_size_exist(side):
    assert example_images(11, side).shape == (11, 3, side, side)


def test_examples_of_a_folder_are_a_fair_sample_of_it(pictures):
    images = example_images(3, 64, pictures)
    chosen = shuffled(find_images(pictures), pictures)[:3]
    expected = torch.stack([to_tensor(resize(center_square(load_image(path)), 64)) for path in chosen])
    assert torch.equal(images, expected)
    with pytest.raises(MedfeError, match="found 12 photographs, expected at least 13"):
        example_images(13, 64, pictures)


def test_images_are_judged_as_8_bits():
    seen = []

    def network(batch):
        seen.append(batch)
        return batch.float().flatten(1)[:, :2]

    features = embed(Embedder("stub", network), torch.tensor([-1.0, 0.001]).expand(1, 3, 4, 2))
    assert seen[0].dtype == torch.uint8
    assert features.tolist() == [[0, 128]]


def test_exchanging_two_copies_makes_no_gap_and_chance_makes_gaps_around_zero():
    rows = torch.randn(3, 60, 4, generator=torch.Generator().manual_seed(0)).double().numpy()
    assert exchanged_gaps(rows[0], rows[1], rows[1], permutations=5) == pytest.approx(0)
    gaps = exchanged_gaps(*rows, permutations=200)
    assert abs(gaps.mean()) < 4 * gaps.std() / 200**0.5
    shifted = rows[2] + 1
    observed = frechet_distance(rows[0], rows[1]) - frechet_distance(rows[0], shifted)
    assert abs(observed) > abs(exchanged_gaps(rows[0], rows[1], shifted)).max()


def test_results_are_read_or_said_to_be_missing(tmp_path):
    assert results_table(tmp_path, "main", "metrics") is None
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "main_metrics.csv", index=False)
    assert results_table(tmp_path, "main", "metrics")["a"].tolist() == [1]
    (tmp_path / "main_metrics.csv").write_text("")
    with pytest.raises(MedfeError, match=r"main_metrics\.csv: not readable as CSV"):
        results_table(tmp_path, "main", "metrics")
