"""Experiments `ship`, `finetune`, `longer`: how the weights that come with the package were made, in three steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medfe.experiments.building import FACES, pair, training
from medfe.experiments.comparison import Comparison
from medfe.experiments.entry import Entry, Experiment
from medfe.experiments.measurement import Evaluation
from medfe.experiments.trainings import GeneratorRun

# Optimizers and critics begin anew in the second half, hence its low rate at first.
_FIRST_HALF = {"max_steps": 3750, "optimizer": {"schedule": (1.0,)}}
# Random colours, because fillings of photographs in strong tones came out pale; tried before, see plan.md.
_SECOND_HALF: dict[str, Any] = {
    "max_steps": 3750, "data": {"color_jitter": 0.4}, "losses": {"composite": True},
    "optimizer": {"schedule": (0.1, 0.5, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.1)},
}  # fmt: skip


def ship_experiment() -> Experiment:
    """Both arms in two halves, so that hours of work are not lost with a machine; the second with other data order."""
    halves, runs = [], []
    for arm in ("low_resolution", "autoencoder"):
        first = training(
            "faces128", arm, 0, arm=f"{arm}_first_half", changes=_FIRST_HALF, evaluation=Evaluation("utkface/val")
        )
        halves.append(first)
        runs.append(training("faces128", arm, 1, changes=_SECOND_HALF, start=first.name, autoencoders_seed=0))
    return Experiment(
        name="ship",
        question="How good do networks of `faces128` get with 60,000 images an arm?",
        entries=(pair("faces128", 0, "utkface/train", "utkface/val"), *halves, *runs, _comparison(runs)),
        descriptive=(("autoencoder", "low_resolution"),),
        notes=(
            "One training an arm, in two halves: no verdict between the arms. 60,000 images each, chosen by step count "
            "alone. The first halves are judged on val. The second halves draw colours at random and show critics and "
            "perceptual loss the composite; of the other experiments only `finetune` and `longer` do. These weights "
            "were shipped until those of `longer` were done.",
        ),
    )


def finetune_experiment() -> Experiment:
    """The weights of `ship`, trained further with the papers' adversarial weight, and compared with before."""
    trained, before = _ship()
    after = _finetuned(before)
    return Experiment(
        name="finetune",
        question="Do the fillings of `ship` gain from the papers' weight of the adversarial term?",
        entries=(*trained, *after, _comparison(after, before)),
        descriptive=(("autoencoder_finetuned", "low_resolution_finetuned"),),
        notes=(
            "One training an arm: no verdict between the arms. 30,000 images more with the adversarial term at 0.2 "
            "instead of 0.05: more training and another weight at once, so a gain need not come of the weight. The "
            "first halves are judged on val, all else on test.",
        ),
    )


def longer_experiment() -> Experiment:
    """The weights of `finetune`, trained on for longer than all before, with more of the adversarial term."""
    trained, before = _ship()
    finetuned = _finetuned(before)
    changes = {
        **_SECOND_HALF, "max_steps": 12_500,
        "losses": {"composite": True, "adversarial": 1.0, "l1_hole": 1.0},
        "optimizer": {**_SECOND_HALF["optimizer"], "critic_learning_rate": 16e-4},
    }  # fmt: skip
    after = _trained_on(finetuned, 3, "longer", changes)
    return Experiment(
        name="longer",
        question="How far do the weights of `ship` get with more training and a stronger adversarial term?",
        entries=(*trained, *finetuned, *after, _comparison(after, before)),
        descriptive=(("autoencoder_longer", "low_resolution_longer"),),
        notes=(
            "One training an arm: no verdict between the arms. 100,000 images more than `finetune`, the adversarial "
            "term at 1 instead of 0.2, the L1 of the hole at 1 instead of 2, critics at four times their rate, all at "
            "once: what a change comes of is not told. The critics told next to nothing: their loss stayed near 2, "
            "which is chance. The first halves are judged on val, all else on test. By the rule in plan.md these "
            "weights are shipped.",
        ),
    )


def _ship() -> tuple[tuple[Entry, ...], list[GeneratorRun]]:
    """Return all that `ship` trains, and of each arm the last half."""
    trained = ship_experiment().entries[:-1]
    last = {entry.target: entry for entry in trained if isinstance(entry, GeneratorRun)}
    return trained, list(last.values())


def _finetuned(before: Sequence[GeneratorRun]) -> list[GeneratorRun]:
    changes = {**_SECOND_HALF, "losses": {**_SECOND_HALF["losses"], "adversarial": 0.2}}
    return _trained_on(before, 2, "finetuned", changes)


def _trained_on(before: Sequence[GeneratorRun], seed: int, word: str, changes: dict[str, Any]) -> list[GeneratorRun]:
    """Return trainings that start from the weights of others, against the same auto-encoders."""
    return [
        training(
            "faces128", run.target, seed, arm=f"{run.target}_{word}", changes=changes, start=run.name,
            autoencoders_seed=0,
        )
        for run in before
    ]  # fmt: skip


def _comparison(runs: Sequence[GeneratorRun], before: Sequence[GeneratorRun] = ()) -> Comparison:
    """Compare both arms with each other, with `before`, if given, and with baselines."""
    names, baselines = [run.name for run in runs], ("telea", "navier_stokes", "mean_fill")
    return Comparison(
        name="comparison", folder="faces128_utkface/comparison", arm="comparison",
        needs=(*names, *(run.name for run in before)), preset_size=128, evaluation=FACES, baselines=baselines,
        contrasts=(
            (names[1], names[0]), *((run.name, earlier.name) for run, earlier in zip(runs, before, strict=False)),
            *((name, other) for name in names for other in baselines[:2]),
        ),
    )  # fmt: skip
