import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medfe.errors import MedfeError
from medfe.targets.grid_cg import apply_grid, solve_grid_iteratively
from medfe.targets.grid_cholesky import solve_grid
from medfe.targets.rtv import edge_weights, gaussian_blur, smooth

GOLDEN = Path(os.environ.get("MEDFE_GOLDEN", Path(__file__).parents[1] / "golden")) / "golden_rtv.npz"


def random_image(height, width, seed=0, count=1):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_grid(height, width, seed, scale=50.0):
    generator = torch.Generator().manual_seed(seed)
    weight_x, weight_y = (torch.rand(height, width, generator=generator, dtype=torch.float64) * scale for _ in "xy")
    weight_x[:, -1] = 0
    weight_y[-1] = 0
    return weight_x, weight_y


def golden(name):
    with np.load(GOLDEN) as arrays:
        image = torch.from_numpy(arrays[f"{name}.input"].transpose(2, 0, 1) / 255.0)[None]
        outputs = [torch.from_numpy(arrays[f"{name}.output.{run}"].transpose(2, 0, 1))[None] for run in (1, 2)]
        rows = arrays["parameters"].tolist()
    keys = ("smoothness", "sigma", "sharpness", "iterations")
    parameters = [dict(zip(keys, [*row[:3], int(row[3])], strict=True)) for row in rows]
    return image, list(zip(parameters, outputs, strict=True))


def dense_smooth(image, smoothness, sigma, sharpness, iterations):
    """The definition, pixel by pixel and with dense matrices; image 3×H×W."""
    _, height, width = image.shape
    current = image
    for iteration in range(iterations):
        window = max(sigma / 2**iteration, 0.5)
        radius = (round(5 * window) | 1) // 2
        taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * window**2))
        blurred = np.zeros_like(image)
        for i in range(height):
            for j in range(width):
                for di in range(-radius, radius + 1):
                    for dj in range(-radius, radius + 1):
                        if 0 <= i + di < height and 0 <= j + dj < width:
                            tap = taps[di + radius] * taps[dj + radius] / taps.sum() ** 2
                            blurred[:, i, j] += tap * current[:, i + di, j + dj]
        matrix = np.eye(height * width)
        for i in range(height):
            for j in range(width):
                step_x = current[:, i, j + 1] - current[:, i, j] if j + 1 < width else np.zeros(3)
                step_y = current[:, i + 1, j] - current[:, i, j] if i + 1 < height else np.zeros(3)
                magnitude = max(np.sqrt(step_x**2 + step_y**2).mean(), sharpness)
                for down, right in ((0, 1), (1, 0)):
                    if i + down < height and j + right < width:
                        change = np.abs(blurred[:, i + down, j + right] - blurred[:, i, j]).mean()
                        weight = smoothness / 2 / (magnitude * max(change, 0.001))
                        ends = [i * width + j, (i + down) * width + j + right]
                        matrix[np.ix_(ends, ends)] += weight * np.array([[1, -1], [-1, 1]])
        current = np.linalg.solve(matrix, image.reshape(3, -1).T).T.reshape(image.shape)
    return current


@pytest.mark.parametrize("name", ["hopper", "astronaut"])
def test_direct_solution_equals_the_original_program(name):
    image, runs = golden(name)
    for parameters, expected in runs:
        torch.testing.assert_close(smooth(image, **parameters), expected, rtol=0, atol=1e-6)


def test_iterative_solution_equals_the_original_program():
    image, runs = golden("hopper")
    parameters, expected = runs[1]  # the first is that of the loose tolerance below
    result = smooth(image, **parameters, solver="iterative")
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", ["direct", "iterative"])
def test_definition_written_out_with_dense_matrices_gives_the_same(solver):
    image = random_image(8, 9)
    parameters = {"smoothness": 0.02, "sigma": 1.3, "sharpness": 0.01, "iterations": 3}
    expected = torch.from_numpy(dense_smooth(image[0].numpy(), **parameters))[None]
    torch.testing.assert_close(smooth(image, **parameters, solver=solver), expected.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", ["direct", "iterative"])
def test_constant_image_is_unchanged(solver):
    image = torch.tensor([0.2, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 20, 31)
    torch.testing.assert_close(smooth(image, solver=solver), image, rtol=0, atol=1e-6)


def test_black_image_stays_black_with_either_solver():
    for solver in ("direct", "iterative"):
        assert not smooth(torch.zeros(1, 3, 16, 16), solver=solver).any()


def test_result_tends_to_the_image_as_smoothness_vanishes():
    image = random_image(24, 24)
    errors = [float((smooth(image, smoothness=value) - image).abs().max()) for value in (1e-4, 1e-6, 0.0)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 1e-3
    assert errors[2] < 1e-7  # float32


def test_large_smoothness_leaves_the_mean_colour_which_smoothing_never_changes():
    image = random_image(12, 10)
    result = smooth(image, smoothness=1e4, sharpness=0.1).double()
    mean = image.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(result, mean.expand_as(result), rtol=0, atol=1e-3)
    default = smooth(image).double().mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(default, mean, rtol=0, atol=1e-7)


def test_transposed_image_gives_the_transposed_result():
    image = random_image(21, 34)
    torch.testing.assert_close(smooth(image.mT), smooth(image).mT, rtol=0, atol=1e-7)


def test_colours_are_exchangeable():
    image = random_image(17, 15)
    torch.testing.assert_close(smooth(image.flip(1)), smooth(image).flip(1), rtol=0, atol=1e-7)


def test_one_iteration_leaves_the_energy_without_gradient():
    image = random_image(30, 26)
    weight_x, weight_y = edge_weights(image, 2.0, 0.01)
    free = smooth(image, smoothness=0.03, sigma=2.0, sharpness=0.01, iterations=1).double().requires_grad_()
    roughness_x = weight_x[..., :-1] * (free[..., 1:] - free[..., :-1]).square()
    roughness_y = weight_y[..., :-1, :] * (free[..., 1:, :] - free[..., :-1, :]).square()
    fidelity = (free - image).square().sum()
    (gradient,) = torch.autograd.grad(fidelity + 0.015 * (roughness_x.sum() + roughness_y.sum()), free)
    assert gradient.abs().max() < 1e-4  # the result is rounded to float32, the weights reach 1e3


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_direct_solution_satisfies_the_system_for_any_size(height, width, seed):
    weight_x, weight_y = random_grid(height, width, seed)
    right = random_image(height, width, seed)[0, :2]
    solution = solve_grid(weight_x, weight_y, right)
    torch.testing.assert_close(apply_grid(weight_x, weight_y, solution), right, rtol=0, atol=1e-11)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 10**6))
def test_solvers_agree_for_any_size(height, width, seed):
    weight_x, weight_y = random_grid(height, width, seed)
    right = random_image(height, width, seed)
    iterative = solve_grid_iteratively(weight_x[None], weight_y[None], right, tolerance=1e-10)
    torch.testing.assert_close(iterative[0], solve_grid(weight_x, weight_y, right[0]), rtol=0, atol=1e-8)


def test_grid_operator_is_the_laplacian_of_the_edges():
    weight_x, weight_y = random_grid(4, 5, seed=1)
    expected = torch.eye(20, dtype=torch.float64)
    for i in range(4):
        for j in range(5):
            for weight, down, right in ((weight_x, 0, 1), (weight_y, 1, 0)):
                if i + down < 4 and j + right < 5:
                    edge = torch.zeros(20, dtype=torch.float64)
                    edge[i * 5 + j], edge[(i + down) * 5 + j + right] = 1, -1
                    expected += weight[i, j] * torch.outer(edge, edge)
    columns = torch.eye(20, dtype=torch.float64).reshape(20, 4, 5)
    torch.testing.assert_close(apply_grid(weight_x, weight_y, columns).reshape(20, 20), expected)


@pytest.mark.parametrize("options", [{"solver": "direct"}, {"solver": "iterative"}, {"tolerance": 0.1}])
def test_batch_gives_what_single_images_give(options):
    batch = torch.cat([random_image(20, 23, seed=3), random_image(20, 23, seed=4) ** 4, torch.zeros(1, 3, 20, 23)])
    single = torch.cat([smooth(image[None], **options) for image in batch])
    torch.testing.assert_close(smooth(batch, **options), single, rtol=0, atol=1e-6)


def test_each_iterative_system_reaches_the_tolerance_and_a_loose_one_stops_early():
    weight_x, weight_y = (weight[None] for weight in random_grid(32, 32, seed=5, scale=1e3))
    right = random_image(32, 32, seed=6)
    exact = solve_grid_iteratively(weight_x, weight_y, right, tolerance=1e-10)
    errors = []
    for tolerance in (0.1, 1e-2, 1e-4):
        solution = solve_grid_iteratively(weight_x, weight_y, right, tolerance=tolerance)
        residual = right - apply_grid(weight_x.unsqueeze(1), weight_y.unsqueeze(1), solution)
        relative = torch.linalg.vector_norm(residual, dim=(2, 3)) / torch.linalg.vector_norm(right, dim=(2, 3))
        assert (relative <= tolerance * (1 + 1e-9)).all()
        errors.append(float((solution - exact).abs().max()))
    assert errors[0] > 10 * errors[2]


def test_loose_tolerance_of_the_original_program_stays_near_the_exact_solution():
    image, runs = golden("hopper")
    parameters, exact = runs[0]
    difference = (smooth(image, **parameters, tolerance=0.1) - exact).abs()
    assert 1e-3 < difference.max() < 0.05
    assert difference.mean() < 0.005


def test_blur_of_an_impulse_is_the_cut_off_gaussian_and_loses_weight_at_the_border():
    image = torch.zeros(1, 1, 9, 31, dtype=torch.float64)
    image[0, 0, 4, 15] = 1
    taps = torch.exp(-(torch.arange(-4, 5, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    expected = torch.outer(taps, taps) / taps.sum() ** 2
    blurred = gaussian_blur(image, 1.5)
    torch.testing.assert_close(blurred[0, 0, :, 11:20], expected)
    assert not blurred[..., :11].any()
    corner = gaussian_blur(torch.ones(1, 1, 20, 20, dtype=torch.float64), 1.5)
    assert corner[0, 0, 10, 10] == pytest.approx(1)
    assert corner[0, 0, 0, 0] < 0.5


def test_threads_may_smooth_at_the_same_time():
    images = [random_image(32, 32, seed) for seed in range(4)]
    expected = [smooth(image) for image in images]
    results = [None] * 4

    def work(index):
        results[index] = smooth(images[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, image in zip(results, expected, strict=True):
        assert torch.equal(result, image)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (torch.zeros(3, 8, 8), {}, "image: found shape"),
        (torch.zeros(1, 1, 8, 8), {}, "image: found shape"),
        (torch.zeros(0, 3, 8, 8), {}, "image: found shape"),
        (torch.full((1, 3, 8, 8), -0.5), {}, r"expected \[0, 1\]"),
        (torch.full((1, 3, 8, 8), float("nan")), {}, r"expected \[0, 1\]"),
        (torch.zeros(1, 3, 8, 8), {"smoothness": -1.0}, "smoothness: found -1"),
        (torch.zeros(1, 3, 8, 8), {"sigma": 0.0}, "sigma: found 0"),
        (torch.zeros(1, 3, 8, 8), {"sharpness": float("inf")}, "sharpness: found inf"),
        (torch.zeros(1, 3, 8, 8), {"iterations": 0}, "iterations: found 0"),
        (torch.zeros(1, 3, 8, 8), {"tolerance": 1.5}, "tolerance: found 1.5"),
        (torch.zeros(1, 3, 8, 8), {"tolerance": 0.1, "solver": "direct"}, "tolerance: the direct solver"),
    ],
)
def test_wrong_input_is_named(image, options, message):
    with pytest.raises(MedfeError, match=message):
        smooth(image, **options)
