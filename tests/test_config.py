from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfe import config as config_module
from medfe.config import (
    ARMS,
    PRESETS,
    AutoencoderConfig,
    AutoencoderRunConfig,
    GeneratorConfig,
    LossConfig,
    RunConfig,
    Settings,
    TargetConfig,
    parse,
)
from medfe.errors import MedfeError

SETTINGS = [
    value
    for value in vars(config_module).values()
    if isinstance(value, type) and issubclass(value, Settings) and value is not Settings
]


@pytest.mark.parametrize(
    ("image_size", "sides"),
    [
        (256, (128, 64, 32, 16, 8, 4)),
        (128, (64, 32, 16, 8, 4, 4)),
        (64, (32, 16, 8, 4, 4, 4)),
        (96, (48, 24, 12, 6, 6, 6)),
        (160, (80, 40, 20, 10, 5, 5)),
        (224, (112, 56, 28, 14, 7, 7)),
    ],
)
def test_a_stage_halves_only_an_even_side_and_to_no_less_than_four(image_size, sides):
    assert GeneratorConfig(image_size=image_size).stage_sizes == sides


@given(st.integers(2, 64).map(lambda n: 32 * n))
def test_the_third_stage_is_the_feature_grid_and_no_stage_is_smaller_than_four(image_size):
    generator = GeneratorConfig(image_size=image_size)
    sides = (image_size, *generator.stage_sizes)
    assert sides[3] == generator.grid_size == image_size / 8
    assert min(sides) >= 4
    assert all(after in (before, before / 2) for before, after in pairwise(sides))


@pytest.mark.parametrize(
    ("preset", "image_size", "base", "features", "local_crop"),
    [
        ("paper", 256, 64, 256, 64),
        ("faces128", 128, 24, 96, 32),
        ("faces64", 64, 32, 128, 32),
        ("tiny", 64, 8, 32, 32),
    ],
)
def test_presets_have_the_sizes_of_the_design(preset, image_size, base, features, local_crop):
    generator = GeneratorConfig.preset(preset)
    assert (generator.image_size, generator.base_channels, generator.feature_channels) == (image_size, base, features)
    assert generator.stage_channels == (base, 2 * base, 4 * base, 8 * base, 8 * base, 8 * base)
    assert generator.local_crop == local_crop


@pytest.mark.parametrize(("preset", "ratio"), [("paper", 4 / 3), ("faces64", 2 / 3)])
@pytest.mark.parametrize("kind", ["texture", "structure"])
def test_a_code_is_larger_than_the_image_in_the_paper_only(preset, ratio, kind):
    generator = GeneratorConfig.preset(preset)
    code = AutoencoderConfig.matching(generator, kind).code_channels * generator.grid_size**2
    assert code / (3 * generator.image_size**2) == pytest.approx(ratio)


def test_an_autoencoder_matches_its_generator():
    structure = AutoencoderConfig.matching(GeneratorConfig.preset("faces128"), "structure")
    assert (structure.image_size, structure.code_channels, structure.max_channels) == (128, 96, 96)
    assert structure.image_size // 2**structure.downsamplings == 128 // 32
    assert AutoencoderConfig(kind="texture").downsamplings == 3


@pytest.mark.parametrize("image_size", [32, 63, 100, 255])
def test_the_image_size_is_a_multiple_of_32_from_64_up(image_size):
    with pytest.raises(MedfeError, match=f"image_size: .*found {image_size}$"):
        parse(GeneratorConfig, {"image_size": image_size})


def test_all_faults_are_reported_together_in_one_line_with_their_source():
    values = {"preset": "paper", "batch_size": 0, "generator": {"image_size": 100}, "optimizer": {"betaz": 1}}
    with pytest.raises(MedfeError) as caught:
        parse(RunConfig, values, source="runs/a/config.json")
    message = str(caught.value)
    assert message.startswith("runs/a/config.json: ")
    assert "\n" not in message
    for fault in ("batch_size: ", "found 0", "generator.image_size: ", "found 100", "optimizer.betaz: "):
        assert fault in message


def test_a_missing_setting_is_named():
    with pytest.raises(MedfeError, match=r"^kind: Field required$"):
        parse(AutoencoderConfig, {})


@pytest.mark.parametrize("create", [GeneratorConfig.preset, RunConfig.create])
def test_an_unknown_preset_is_answered_with_those_that_exist(create):
    with pytest.raises(MedfeError, match=r"^unknown preset 'huge', expected one of: paper, faces128, faces64, tiny$"):
        create("huge")


def test_an_unknown_arm_is_answered_with_those_that_exist():
    expected = "unknown arm 'lossy', expected one of: " + ", ".join(ARMS) + ", or module:Class"
    with pytest.raises(MedfeError, match=expected):
        RunConfig.create("tiny", "lossy")


def test_an_arm_of_the_users_own_is_accepted():
    run = RunConfig.create("tiny", "my_package.targets:Wavelet")
    assert (run.target.arm, run.generator.head, run.target.weight) == ("my_package.targets:Wavelet", "norm_lrelu", 4.0)


@pytest.mark.parametrize(
    ("arm", "head", "weight", "structure_image"),
    [
        ("low_resolution", "norm_lrelu", 4.0, "rtv"),
        ("autoencoder", "tanh", 32.0, "image"),
        ("random_encoder", "tanh", 32.0, "image"),
        ("block_dct", "linear", 32.0, "rtv"),
        ("none", "norm_lrelu", 0.0, "image"),
        ("my_package.targets:Wavelet", "norm_lrelu", 4.0, "rtv"),
    ],
)
@pytest.mark.parametrize("preset", PRESETS)
def test_an_arm_brings_its_head_weight_and_structure_image(preset, arm, head, weight, structure_image):
    run = RunConfig.create(preset, arm)
    assert (run.generator.head, run.target.weight, run.target.structure_image) == (head, weight, structure_image)


@pytest.mark.parametrize("preset", PRESETS)
def test_arms_of_a_preset_differ_in_target_and_head_only(preset):
    shared = [RunConfig.create(preset, arm).model_dump(exclude={"target": True, "generator": {"head"}}) for arm in ARMS]
    assert all(settings == shared[0] for settings in shared)


@pytest.mark.parametrize("preset", PRESETS)
def test_only_the_paper_trains_on_centre_masks_alone(preset):
    assert RunConfig.create(preset).data.center_share == (1.0 if preset == "paper" else 0.5)


def test_the_paper_weighs_the_losses_as_published():
    losses = RunConfig.create("paper").losses
    assert (losses.l1_image, losses.adversarial, losses.perceptual, losses.style) == (1.0, 0.2, 0.2, 250.0)
    assert losses.backbone == "vgg16"


def test_changes_override_a_part_of_nested_settings():
    run = RunConfig.create("tiny", "autoencoder", seed=3, generator={"head": "linear"}, target={"weight": 1.0})
    assert (run.seed, run.generator.head, run.target.weight) == (3, "linear", 1.0)
    assert (run.generator.base_channels, run.target.arm) == (8, "autoencoder")


def test_replace_checks_again_and_leaves_the_original():
    original = LossConfig()
    assert original.replace(style=0.0).style == 0.0
    assert original.style == 250.0
    with pytest.raises(MedfeError, match=r"style: .*found -1"):
        original.replace(style=-1)
    with pytest.raises(MedfeError, match="stile"):
        original.replace(stile=1)


@pytest.mark.parametrize(("name", "value"), [
    ("betas", (1.0, 0.999)), ("betas", (0.5, -0.1)), ("schedule", (1.0, -0.5)), ("schedule", ()),
])  # fmt: skip
def test_rates_that_no_training_can_use_are_refused(name, value):
    with pytest.raises(MedfeError, match=f"optimizer.{name}"):
        RunConfig.create("tiny", optimizer={name: value})


def test_numbers_that_end_a_training_later_are_refused_at_once():
    for changes in ({"seed": 2**63}, {"target": {"seed": 2**63}}, {"losses": {"shift": 128}}):
        with pytest.raises(
            MedfeError, match=f"{'shift: found 128, expected less than the 128' if 'losses' in changes else 'seed'}"
        ):
            RunConfig.create("tiny", **changes)
    assert RunConfig.create("tiny", losses={"shift": 127}).losses.upsample == 2


def test_settings_cannot_be_assigned():
    with pytest.raises(ValueError, match="frozen"):
        TargetConfig().weight = 1.0


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("arm", ARMS)
def test_a_run_survives_its_json(preset, arm):
    run = RunConfig.create(preset, arm, data={"root": "photographs"}, target={"autoencoders": "codes"})
    assert RunConfig.model_validate_json(run.model_dump_json()) == run


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda kind: kind.__name__)
def test_every_setting_is_documented_for_the_help_of_the_command_line(settings):
    undocumented = [name for name, field in settings.model_fields.items() if not field.description]
    assert undocumented == []


def test_precisions_of_both_loops_are_the_same():
    choices = [get_args(kind.model_fields["precision"].annotation) for kind in (RunConfig, AutoencoderRunConfig)]
    assert choices[0] == choices[1]


def test_a_checkpoint_of_two_gigabytes_is_written_less_often():
    assert RunConfig.create("paper").save_every == 2000
    assert {RunConfig.create(name).save_every for name in ("faces128", "faces64")} == {500}
