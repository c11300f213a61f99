"""The protocol: one test set for all, nothing computed twice, and faults found before the work begins."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medfe.errors import MedfeError
from medfe.evaluation import baselines
from medfe.evaluation.embeddings import Embedder, Judges
from medfe.evaluation.methods import Method
from medfe.evaluation.metrics import image_metrics
from medfe.evaluation.protocol import ORIGINALS, batches, choose_endpoint, measure
from medfe.evaluation.store import Store

from .conftest import pooled

pytestmark = pytest.mark.usefixtures("judges")


class Spy:
    """A method that counts its calls, keeps what it saw, and can be killed at a call."""

    def __init__(self, name, fill=baselines.mean_fill, killed_at=None):
        self.seen, self.killed_at, self.fill = [], killed_at, fill
        self.method = Method(name, name, "0", self)

    def __call__(self, image, mask):
        if len(self.seen) == self.killed_at:
            raise KeyboardInterrupt
        self.seen.append((image, mask))
        return self.fill(image, mask)


@pytest.fixture
def use(monkeypatch):
    """Return a function that puts methods in the place of those that settings name."""

    def put(*spies):
        monkeypatch.setattr("medfe.evaluation.protocol.load_methods", lambda *_: [spy.method for spy in spies])
        return spies

    return put


def run(settings):
    return measure(settings, Store(settings.out))


def test_all_methods_see_the_same_images_and_masks(make_settings, use):
    one, two = use(Spy("one"), Spy("two", baselines.telea))
    run(make_settings(masks_per_image=2))
    assert len(one.seen) == len(two.seen) == 5  # 24 items, 5 a batch
    for (image, mask), (other_image, other_mask) in zip(one.seen, two.seen, strict=True):
        assert torch.equal(image, other_image)
        assert torch.equal(mask, other_mask)


def test_a_part_of_the_folder_is_all_that_methods_see(make_settings, use, faces, tmp_path):
    for part, names in (("train", slice(7)), ("test", slice(7, None))):
        (tmp_path / "parts" / part).mkdir(parents=True)
        for path in sorted(faces.iterdir())[names]:
            (tmp_path / "parts" / part / path.name).symlink_to(path)
    (spy,) = use(Spy("one"))
    measured = run(make_settings(methods=("one",), data=tmp_path / "parts", split="test", n=None))
    assert sum(len(image) for image, _ in spy.seen) == 5
    assert set(measured.table["photograph"]) == {f"test/{path.name}" for path in sorted(faces.iterdir())[7:]}


def test_a_killed_run_loses_one_batch_and_ends_as_if_it_had_not_been_killed(make_settings, use, tmp_path):
    use(Spy("one"))
    expected = run(make_settings(out=tmp_path / "whole"))
    killed = use(Spy("one", killed_at=2))[0]
    with pytest.raises(KeyboardInterrupt):
        run(make_settings())
    assert len(killed.seen) == 2
    resumed = use(Spy("one"))[0]
    found = run(make_settings())
    assert len(resumed.seen) == 1  # 3 batches of 12 items, 2 of which are stored
    pd.testing.assert_frame_equal(found.table, expected.table)
    np.testing.assert_array_equal(found.features["pooled"]["one"], expected.features["pooled"]["one"])


def test_a_full_disk_keeps_what_is_stored(make_settings, use, monkeypatch):
    use(Spy("one"))
    real, written = Path.write_bytes, []

    def nearly_full(self, content):
        if ".metrics." in self.name:
            written.append(self.name)
            if len(written) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", nearly_full)
        with pytest.raises(MedfeError, match=r"cannot be written \(No space left on device\)"):
            run(make_settings())
    resumed = use(Spy("one"))[0]
    assert len(run(make_settings()).table) == 12
    assert len(resumed.seen) == 2


def test_a_method_that_fails_keeps_the_others_results(make_settings, use):
    use(Spy("one"), Spy("two", lambda image, _: image[:, :1]))
    with pytest.raises(MedfeError, match="method two: returned"):
        run(make_settings())
    one = use(Spy("one"), Spy("two"))[0]
    assert len(run(make_settings()).table) == 24
    assert one.seen == []


def test_another_version_of_a_method_is_computed_anew(make_settings, use):
    use(Spy("one"))
    run(make_settings())
    newer = Spy("one", baselines.telea)
    newer.method = Method("one", "one", "1", newer)
    use(newer)
    run(make_settings())
    assert len(newer.seen) == 3


@pytest.mark.parametrize("changes", [{"seed": 1}, {"masks": "center"}, {"n": 11}, {"batch_size": 4}])
def test_a_folder_of_results_takes_no_other_test_set(make_settings, use, changes):
    use(Spy("one"))
    run(make_settings())
    with pytest.raises(
        MedfeError, match=f"holds another evaluation .*{'images' if 'n' in changes else next(iter(changes))}"
    ):
        run(make_settings(**changes))


def test_another_folder_of_masks_under_the_same_name_is_refused_and_so_is_an_edited_file(make_settings, use, tmp_path):
    folders = []
    for place, side in (("here", 8), ("there", 20)):
        folders.append(tmp_path / place / "masks")
        folders[-1].mkdir(parents=True)
        hole = np.zeros((32, 32), dtype=np.uint8)
        hole[4 : 4 + side, 4 : 4 + side] = 255
        Image.fromarray(hole).save(folders[-1] / "hole.png")
    use(Spy("one"))
    run(make_settings(masks=str(folders[0])))
    with pytest.raises(MedfeError, match=r"holds another evaluation \(masks 'masks \w+' there"):
        run(make_settings(masks=str(folders[1])))
    moved = folders[0].rename(tmp_path / "masks")
    assert run(make_settings(masks=str(moved))).table["mask_area"].unique() == pytest.approx(64 / 1024)
    (folders[1] / "hole.png").replace(moved / "hole.png")
    with pytest.raises(MedfeError, match="holds another evaluation"):
        run(make_settings(masks=str(moved)))


def test_judges_of_other_weights_judge_anew(make_settings, use, monkeypatch):
    def judges(shift):
        def lpips(one, two, mask):
            value = torch.full((len(one),), shift, dtype=torch.float64)
            return value, value

        embedder = Embedder("inception", lambda images: pooled(images) + shift, digest=f"file{shift}")
        return Judges((embedder,), lpips, (), lpips_digest=f"file{shift}")

    means = []
    for shift in (0.0, 1.0):
        found = judges(shift)
        monkeypatch.setattr("medfe.evaluation.protocol.find_judges", lambda *_, found=found, **__: found)
        use(Spy("one"))
        measured = run(make_settings())
        means.append((measured.reference["inception"].mean(), measured.table["lpips"].mean()))
    assert means[1][0] == pytest.approx(means[0][0] + 1)
    assert [lpips for _, lpips in means] == [0, 1]


def test_a_judge_that_comes_later_is_filled_in(make_settings, use, monkeypatch):
    def lpips(one, two, mask):
        return torch.ones(len(one), dtype=torch.float64), torch.zeros(len(one), dtype=torch.float64)

    use(Spy("one"))
    first = run(make_settings())
    monkeypatch.setattr("medfe.evaluation.protocol.find_judges", lambda *_, **__: Judges((), lpips, ()))
    later = use(Spy("one"))[0]
    second = run(make_settings())
    assert len(later.seen) == 3
    assert "lpips" not in first.metrics
    assert (second.table["lpips"] == 1).all()
    assert (second.table["lpips_hole"] == 0).all()
    pd.testing.assert_series_equal(first.table["ssim"], second.table["ssim"])


def test_rows_hold_the_metrics_of_their_image_and_mask(make_settings):
    measured = run(make_settings(masks_per_image=2))
    table, testset = measured.table, measured.testset
    assert list(table["method"].unique()) == ["mean_fill", "telea"]
    assert len(table) == 2 * 24
    item = 7
    row = table[table["method"] == "telea"].iloc[item]
    images, masks = testset.batch(range(item, item + 1))
    expected = image_metrics(measured.methods[1](images, masks), images, masks)
    for name, value in expected.items():
        assert row[name] == pytest.approx(value.item())
    assert (row["image"], row["mask"], row["photograph"]) == (3, 1, testset.names[3])
    assert row["mask_area"] == pytest.approx(testset.mask(item).mean())


def test_features_stand_in_the_order_of_the_rows(make_settings, judges):
    measured = run(make_settings())
    images, masks = measured.testset.batch(range(12))
    embedder = judges.embedders[0]
    np.testing.assert_allclose(measured.reference["pooled"], embedder(images), atol=1e-6)
    filled = measured.methods[0](images, masks)
    np.testing.assert_allclose(measured.features["pooled"]["mean_fill"], embedder(filled), atol=1e-6)
    assert Store(measured.settings.out).has(ORIGINALS, "pooled", 0)


def test_pngs_are_what_was_measured(make_settings):
    from medfe.data.images import load_image

    measured = run(make_settings(save_images=True, methods=("mean_fill",)))
    files = sorted((measured.settings.out / "images").rglob("*.png"))
    assert len(files) == 12
    images, masks = measured.testset.batch(range(12))
    expected = measured.methods[0](images, masks)[4].movedim(0, -1).numpy()
    np.testing.assert_array_equal(np.asarray(load_image(files[4])), expected)


def test_a_method_that_draws_at_random_draws_the_same_again(make_settings, use, tmp_path):
    tables = []
    for name in ("a", "b"):
        use(Spy("noise", lambda image, _: torch.rand_like(image)))
        tables.append(run(make_settings(out=tmp_path / name)).table)
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize("n", [12, None])
def test_frechet_distances_of_few_images_are_refused_with_the_reason(make_settings, n):
    settings = make_settings(allow_small=False, n=n)
    with pytest.raises(
        MedfeError, match=r"found 12 images, FID needs at least 2048: its bias is of order 1/N.*rank 11"
    ):
        run(settings)
    assert not settings.out.exists()
    run(make_settings(allow_small=False, n=n, frechet=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 13}, "found 12 images, expected 13"),
        ({"n": 3}, "found 3 photographs, expected at least 4"),
        ({"contrasts": (("mean_fill", "lama"),)}, "found no method 'lama'"),
        ({"endpoint": "lpips"}, "endpoint: found 'lpips', expected one of: kid_pooled, l1, l1_hole"),
        ({"methods": ("telea", "telea")}, "have one name, 'telea'"),
        ({"masks": "centre"}, "masks: 'centre' is no folder and no rule"),
    ],
)
def test_bad_settings_are_one_line_before_any_work(make_settings, changes, message):
    settings = make_settings(**changes)
    with pytest.raises(MedfeError, match=message) as error:
        run(settings)
    assert "\n" not in str(error.value)
    assert not settings.out.exists()


def test_images_have_the_size_of_the_models(make_settings, run_folder):
    with pytest.raises(MedfeError, match="image_size: found 32, expected 64, at which untrained works"):
        run(make_settings(methods=(str(run_folder), "telea")))
    assert run(make_settings(methods=(str(run_folder),), image_size=None, n=4)).image_size == 64


def test_the_endpoint_is_the_first_judges_kid_and_else_l1_in_the_hole(judges):
    assert choose_endpoint(None, judges) == "kid_pooled"
    assert choose_endpoint("ssim_hole", judges) == "ssim_hole"
    assert choose_endpoint(None, Judges((), None, ())) == "l1_hole"


def test_what_a_training_loss_looks_through_is_no_judge(judges):
    teacher = replace(judges.embedders[0], name="efficientnet_lite0")
    both = Judges((teacher, *judges.embedders), None, ())
    assert choose_endpoint(None, both) == "kid_pooled"
    with pytest.raises(MedfeError, match="endpoint: found 'kid_efficientnet_lite0', expected one of: kid_pooled, l1"):
        choose_endpoint("kid_efficientnet_lite0", both)


def test_batches_cover_everything_once():
    assert [list(batch) for batch in batches(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
