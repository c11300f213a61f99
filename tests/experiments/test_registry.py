"""The registered experiments are those of the plan."""

from collections import Counter

import pytest

from medfe.errors import MedfeError
from medfe.experiments.pairs import AutoencoderPair
from medfe.experiments.registry import EXPERIMENTS, find_experiment
from medfe.experiments.trainings import GeneratorRun

MAIN = EXPERIMENTS["main"]


def generators(name):
    return [entry for entry in EXPERIMENTS[name].entries if isinstance(entry, GeneratorRun)]


def test_the_main_experiment_has_28_runs_and_6_pairs():
    assert Counter(entry.arm for entry in MAIN.entries) == {
        "autoencoders": 6, "low_resolution": 6, "autoencoder": 6, "random_encoder": 3, "block_dct_128": 3,
        "block_dct_3": 3, "none": 3, "low_resolution_tanh_image": 3, "low_resolution_matched": 1, "baselines": 1,
    }  # fmt: skip
    assert len(generators("main")) == 28


def test_seeds_come_one_after_another_so_that_an_interrupted_experiment_has_complete_blocks():
    *trainings, last = MAIN.entries
    seeds = [entry.seed for entry in trainings]
    assert last.arm == "baselines"
    assert seeds == sorted(seeds)
    assert [entry.arm for entry in MAIN.entries if entry.seed == 5] == ["autoencoders", "low_resolution", "autoencoder"]


def test_every_run_sees_20000_images_and_a_pair_60000_each():
    for name in ("main", "weight", "scenes", "published", "ship"):
        for entry in generators(name):
            config = entry.config()
            assert config.max_steps * config.batch_size == (30_000 if name == "ship" else 20_000)
    for experiment in EXPERIMENTS.values():
        for entry in experiment.entries:
            if isinstance(entry, AutoencoderPair) and experiment.name != "smoke":
                assert entry.config("texture").max_steps * entry.config("structure").batch_size == 60_000


def test_both_arms_of_ship_have_seen_60000_images_in_two_halves():
    experiment = EXPERIMENTS["ship"]
    for arm in ("low_resolution", "autoencoder"):
        first, second = (entry for entry in generators("ship") if entry.target == arm)
        assert (first.start, second.start) == ("", first.name)
        assert first.name in second.needs
        assert second.pair in ("", "autoencoders_seed0")
        one, other = first.config(), second.config()
        rest = {"seed", "optimizer", "target", "data", "losses"}  # other data order, colours, rates, composite
        assert one.model_dump(exclude=rest) == other.model_dump(exclude=rest)
        assert one.data.replace(color_jitter=0.4) == other.data
        assert one.losses.replace(composite=True) == other.losses
        assert one.target == other.target.replace(seed=0)
        assert one.seed != other.seed
    assert experiment["comparison"].needs == ("low_resolution_seed1", "autoencoder_seed1")


def test_fine_tuning_goes_on_from_the_weights_of_ship_with_another_adversarial_weight_alone():
    ship, finetune = EXPERIMENTS["ship"], EXPERIMENTS["finetune"]
    for arm in ("low_resolution", "autoencoder"):
        before, after = (finetune[name] for name in (f"{arm}_seed1", f"{arm}_finetuned_seed2"))
        assert before == ship[before.name]
        assert before.digest(finetune) == ship[before.name].digest(ship)
        assert after.start == before.name
        assert after.pair == before.pair
        one, other = before.config(), after.config()
        losses, target = one.losses.replace(adversarial=0.2), one.target.replace(seed=2)
        assert other == one.replace(seed=2, losses=losses, target=target)
        assert (f"{arm}_finetuned_seed2", before.name) in finetune["comparison"].contrasts


def test_longer_goes_on_from_the_fine_tuned_weights_and_is_compared_with_those_of_ship():
    finetune, longer = EXPERIMENTS["finetune"], EXPERIMENTS["longer"]
    for arm in ("low_resolution", "autoencoder"):
        before, after = longer[f"{arm}_finetuned_seed2"], longer[f"{arm}_longer_seed3"]
        assert before.digest(longer) == finetune[before.name].digest(finetune)
        assert (after.start, after.pair) == (before.name, before.pair)
        one, other = before.config(), after.config()
        losses = one.losses.replace(adversarial=1.0, l1_hole=1.0)
        optimizer = one.optimizer.replace(critic_learning_rate=4 * one.optimizer.critic_learning_rate)
        target = one.target.replace(seed=3)
        assert other == one.replace(seed=3, max_steps=12_500, losses=losses, optimizer=optimizer, target=target)
        assert (after.name, f"{arm}_seed1") in longer["comparison"].contrasts


@pytest.mark.parametrize(
    ("arm", "weight", "head", "structure_image", "coefficients"),
    [
        ("low_resolution", 4, "norm_lrelu", "rtv", None), ("autoencoder", 32, "tanh", "image", None),
        ("random_encoder", 32, "tanh", "image", None), ("block_dct_128", 32, "linear", "rtv", 128),
        ("block_dct_3", 32, "linear", "rtv", 3), ("none", 0, "norm_lrelu", "image", None),
        ("low_resolution_tanh_image", 4, "tanh", "image", None),
    ],
)  # fmt: skip
def test_arms_are_those_of_the_plan(arm, weight, head, structure_image, coefficients):
    config = MAIN[f"{arm}_seed1"].config()
    found = config.target
    assert (found.weight, config.generator.head, found.structure_image, found.coefficients) == (
        weight, head, structure_image, coefficients,
    )  # fmt: skip
    assert (config.seed, found.seed) == (1, 1)


def test_arms_of_one_seed_differ_in_target_and_head_alone():
    def rest(entry):
        values = entry.config().model_dump()
        values["generator"].pop("head")
        return {name: value for name, value in values.items() if name != "target"}

    seed = [entry for entry in generators("main") if entry.seed == 0]
    assert all(rest(entry) == rest(seed[0]) for entry in seed)


def test_published_and_paper_differ_in_convention_and_precision_alone():
    experiment = EXPERIMENTS["published"]
    for target in ("low_resolution", "autoencoder"):
        paper = experiment[f"{target}_seed0"].config()
        published = experiment[f"{target}_published_seed0"].config()
        generator = paper.generator.replace(convention="published")
        assert published == paper.replace(generator=generator, precision="32-true")


def test_the_rate_is_all_that_differs_from_the_main_experiment():
    for entry in generators("rate"):
        main = MAIN[f"{entry.target}_seed{entry.seed}"].config()
        optimizer = main.optimizer.replace(learning_rate=8e-4, critic_learning_rate=4e-4)
        assert entry.config() == main.replace(optimizer=optimizer)
        assert entry.evaluation == MAIN[f"{entry.target}_seed{entry.seed}"].evaluation


def test_weights_are_compared_with_the_main_experiments_own_without_training_it_again():
    runs = {(entry.target, entry.config().target.weight): entry for entry in generators("weight")}
    assert set(runs) == {(arm, weight) for arm in ("low_resolution", "autoencoder") for weight in (8.0, 32.0)} | {
        ("low_resolution", 4.0)
    }
    for arm, weight in (("low_resolution", 4.0), ("autoencoder", 32.0)):
        assert runs[arm, weight].folder == MAIN[f"{arm}_seed0"].folder


def test_what_needs_auto_encoders_gets_those_of_its_seed():
    for experiment in EXPERIMENTS.values():
        for entry in experiment.entries:
            if isinstance(entry, GeneratorRun) and entry.target in ("autoencoder", "random_encoder"):
                assert entry.pair == f"autoencoders_seed{0 if entry.start else entry.seed}"
                assert isinstance(experiment[entry.pair], AutoencoderPair)


def test_what_an_entry_needs_comes_before_it():
    for experiment in EXPERIMENTS.values():
        names = [entry.name for entry in experiment.entries]
        assert len(set(names)) == len(names)
        for position, entry in enumerate(experiment.entries):
            assert set(entry.needs) <= set(names[:position])


def test_a_folder_belongs_to_one_training_even_across_experiments():
    """Two entries may share a folder only if they are the same training."""
    found = {}
    for experiment in EXPERIMENTS.values():
        for entry in experiment.entries:
            if isinstance(entry, GeneratorRun):
                config = entry.config().replace(save_every=1, log_every=1)
                assert found.setdefault(entry.folder, config) == config
            elif isinstance(entry, AutoencoderPair):
                assert found.setdefault(entry.folder, entry.config("texture")) == entry.config("texture")


def test_the_secondary_family_is_that_of_the_plan():
    assert len(MAIN.secondary) == 15
    assert MAIN.primary not in MAIN.secondary
    assert sum(contrast.first == "autoencoder" for contrast in MAIN.secondary) == 9
    assert MAIN.relative_margin == 0.045


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_contrast_is_of_arms_that_share_a_seed(name):
    experiment = EXPERIMENTS[name]
    seeds = {}
    for entry in experiment.entries:
        seeds.setdefault(entry.arm, set()).add(entry.seed)
    tested = [(one.first, one.second) for one in (experiment.primary, *experiment.secondary) if one]
    for first, second in (*tested, *experiment.descriptive):
        assert seeds[first] & seeds[second]


def test_an_unknown_experiment_is_refused_naming_the_others():
    with pytest.raises(MedfeError, match="experiment 'mian': not registered, expected one of: main, ship"):
        find_experiment("mian")
