"""KID intervals and permutation tests: coverage of a known difference and rejections of a true null, by simulation.

The kernel is a polynomial of degree three, so the KID of Gaussian features is known exactly from their moments.
"""

import numpy as np
import pytest

from medfe.errors import MedfeError
from medfe.evaluation.distances import kid
from medfe.evaluation.set_statistics import kid_difference, kid_interval, kid_label_swap_test, label_swap_test


def mean_kernel(shift1, variance1, shift2, variance2, d):
    """Return E (x·y / d + 1)³ of independent N(shift, variance·I) in d dimensions, from the moments of x·y."""
    norm1, norm2, dot = d * shift1**2, d * shift2**2, d * shift1 * shift2
    second = d * variance1 * variance2 + variance2 * norm1 + variance1 * norm2 + dot**2
    third = (
        dot**3
        + 3 * dot * (variance2 * norm1 + variance1 * norm2 + d * variance1 * variance2)
        + 6 * variance1 * variance2 * dot
    )
    return third / d**3 + 3 * second / d**2 + 3 * dot / d + 1


def true_kid(shift, variance, d):
    """Return the KID of N(shift, variance·I) and N(0, I)."""
    return (
        mean_kernel(shift, variance, shift, variance, d)
        + mean_kernel(0, 1, 0, 1, d)
        - 2 * mean_kernel(0, 1, shift, variance, d)
    )


class World:
    """Inpainting with known answers: features of photographs, and of two methods' versions of them."""

    def __init__(self, d=16, n=100, masks=1, shifts=(0.3, 0.5), scales=(1.0, 1.0), noise=0.3, originals=False):
        self.d, self.n, self.masks, self.noise, self.originals = d, n, masks, noise, originals
        self.methods = tuple(zip(shifts, scales, strict=True))
        self.labels = {"photographs": np.repeat(np.arange(n), masks)}
        if originals:
            self.labels["reference_photographs"] = np.arange(n)

    @property
    def kids(self):
        return [true_kid(shift, scale**2 + self.noise**2, self.d) for shift, scale in self.methods]

    def draw(self, rng):
        photographs = rng.standard_normal((self.n, self.d))
        reference = photographs if self.originals else rng.standard_normal((self.n, self.d))
        rows = np.repeat(photographs, self.masks, axis=0)
        outputs = [shift + scale * rows + self.noise * rng.standard_normal(rows.shape) for shift, scale in self.methods]
        return reference, *outputs


WORLDS = {
    "far apart": World(),
    "close to the reference": World(shifts=(0.05, 0.1), scales=(1.0, 0.9)),
    "equal, at the reference": World(shifts=(0.0, 0.0), noise=0.2),
    "more dimensions than images": World(d=128, n=60, shifts=(0.05, 0.15), scales=(0.95, 0.9)),
    "three masks a photograph": World(n=50, masks=3, shifts=(0.1, 0.3), scales=(0.9, 1.1)),
    "originals as reference": World(originals=True),
    "originals, three masks": World(n=50, masks=3, originals=True, shifts=(0.1, 0.3), scales=(0.9, 1.1)),
}


def test_the_closed_form_of_the_kernel_is_the_mean_over_many_draws():
    world = WORLDS["close to the reference"]
    rng = np.random.default_rng(0)
    values = [[kid(reference, output) for output in outputs] for reference, *outputs in map(world.draw, [rng] * 400)]
    error = np.std(values, axis=0) / 20
    np.testing.assert_array_less(np.abs(np.mean(values, axis=0) - world.kids), 3.5 * error)


@pytest.mark.parametrize("name", WORLDS)
def test_kid_difference_covers_a_known_difference(name, record_property):
    world, rng, sims = WORLDS[name], np.random.default_rng(1), 600
    truth = world.kids[0] - world.kids[1]
    covered = sum(kid_difference(*world.draw(rng), **world.labels).holds(truth) for _ in range(sims))
    coverage = covered / sims
    record_property("coverage", float(coverage))
    print(f"KID difference, {name}: 95 % interval covered {truth:.4g} in {100 * coverage:.1f} % of {sims}")
    assert 0.90 <= coverage <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_intervals_of_realistic_size_cover(name, record_property):
    small, rng, sims = WORLDS[name], np.random.default_rng(2), 300
    shifts, scales = zip(*small.methods, strict=True)
    world = World(small.d, 4 * small.n, small.masks, shifts, scales, small.noise, small.originals)
    truth = world.kids[0] - world.kids[1]
    covered = sum(kid_difference(*world.draw(rng), **world.labels).holds(truth) for _ in range(sims))
    record_property("coverage", float(covered / sims))
    print(f"KID difference, {name}, n = {world.n}: covered {100 * covered / sims:.1f} % of {sims}")
    assert 0.90 <= covered / sims <= 0.98


def test_the_interval_of_one_kid_covers_it(record_property):
    for name in ("far apart", "close to the reference", "originals, three masks"):
        world, rng = WORLDS[name], np.random.default_rng(3)
        covered = 0
        for _ in range(400):
            reference, output, _ = world.draw(rng)
            covered += kid_interval(reference, output, **world.labels).holds(world.kids[0])
        record_property(f"coverage, {name}", float(covered / 400))
        print(f"KID, {name}: 95 % interval covered {covered / 4:.1f} % of 400")
        assert 0.90 <= covered / 400 <= 0.99  # too wide where KID is next to 0 and no longer normal


@pytest.mark.parametrize("name", WORLDS)
def test_estimates_of_intervals_and_tests_are_the_kids_themselves(name):
    world = WORLDS[name]
    reference, first, second = world.draw(np.random.default_rng(4))
    one, two = (kid(reference, output, **world.labels) for output in (first, second))
    scale = abs(one) + abs(two)
    labels = world.labels
    assert kid_interval(reference, first, **labels).estimate == pytest.approx(one, abs=1e-10 * scale)
    assert kid_difference(reference, first, second, **labels).estimate == pytest.approx(one - two, abs=1e-9 * scale)
    test = kid_label_swap_test(reference, first, second, **labels, permutations=9)
    assert test.estimate == pytest.approx(one - two, abs=1e-9 * scale)


def test_turning_the_methods_round_turns_the_interval_round():
    reference, first, second = WORLDS["far apart"].draw(np.random.default_rng(5))
    one, two = kid_difference(reference, first, second), kid_difference(reference, second, first)
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low), rel=1e-9)
    assert one.n == 100


def test_the_label_swap_test_rejects_a_true_null_as_often_as_it_says(record_property):
    rng, sims, rejected = np.random.default_rng(6), 2000, 0
    world = World(d=8, n=30, masks=2, shifts=(0.2, 0.2))
    for seed in range(sims):
        rejected += kid_label_swap_test(*world.draw(rng), **world.labels, seed=seed).p_value <= 0.05
    rate = rejected / sims
    record_property("rejections", float(rate))
    print(f"label-swap test of KID, 999 permutations: rejected a true null in {100 * rate:.1f} % of {sims} at 5 %")
    assert 0.03 <= rate <= 0.07


def test_the_label_swap_test_finds_a_difference(record_property):
    rng, world = np.random.default_rng(7), World(d=8, n=40, shifts=(0.2, 0.5))
    found = sum(kid_label_swap_test(*world.draw(rng), seed=seed).p_value <= 0.05 for seed in range(100))
    record_property("power", float(found / 100))
    print(f"label-swap test of KID: found a difference in {found} of 100")
    assert found >= 90


@pytest.mark.parametrize("name", ["far apart", "three masks a photograph", "originals, three masks"])
def test_linear_swaps_equal_kids_computed_anew(name):
    world = WORLDS[name]
    reference, first, second = world.draw(np.random.default_rng(8))
    contrasts = []

    def contrast(one, two):
        contrasts.append(kid(reference, one, **world.labels) - kid(reference, two, **world.labels))
        return contrasts[-1]

    slow = label_swap_test(contrast, first, second, photographs=world.labels["photographs"], permutations=49, seed=3)
    fast = kid_label_swap_test(reference, first, second, **world.labels, permutations=49, seed=3)
    assert fast.p_value == slow.p_value
    assert fast.estimate == pytest.approx(slow.estimate, rel=1e-9)
    assert len(np.unique(np.round(contrasts, 12))) > 40  # the labellings do differ


def test_the_test_of_equal_sets_cannot_reject():
    reference, first, _ = WORLDS["far apart"].draw(np.random.default_rng(9))
    result = kid_label_swap_test(reference, first, first)
    assert (result.estimate, result.p_value) == (0.0, 1.0)
    assert result.permutations == 999


def test_methods_with_different_numbers_of_images_are_named():
    reference, first, second = WORLDS["far apart"].draw(np.random.default_rng(10))
    for call in (kid_difference, kid_label_swap_test):
        with pytest.raises(MedfeError, match="found 100 and 99 images, expected equal numbers"):
            call(reference, first, second[:-1])
    with pytest.raises(MedfeError, match="found 100 and 99 images"):
        label_swap_test(kid, first, second[:-1])
