import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medfe.commands.study import Create
from medfe.errors import MedfeError
from medfe.evaluation.methods import load_method
from medfe.evaluation.testset import TestSet
from medfe.preference.database import database_url
from medfe.preference.definition import Design
from medfe.preference.folder import load_study, picture_path, read_picture
from medfe.preference.store import VoteStore
from medfe.preference.study import LEAST_DIFFERENCE, Pictures, create_study

METHODS = ("blurry=mean_fill", "sharp=telea")


@pytest.fixture(scope="module")
def photographs_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for number in range(24):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def made(photographs_dir, tmp_path_factory):
    """Folder and definition of a study."""
    folder = tmp_path_factory.mktemp("made") / "study"
    design = Design(trials=10, practice=2, target_votes=20)
    return folder, create_study(Pictures(METHODS, photographs_dir, "irregular", 12, 64), design, folder)


def pixels(folder, digest):
    return np.asarray(Image.open(io.BytesIO(read_picture(folder, digest)))).astype(int)


def test_pictures_are_the_methods_fillings_of_the_stored_masks_bit_for_bit(made, photographs_dir):
    folder, study = made
    testset = TestSet(photographs_dir, 64, 18)
    testset.draw_masks("irregular", 1, 0)
    methods = [load_method(*source.split("=")) for source in METHODS]
    for item in study.items:
        place = testset.names.index(item.photograph)
        batch = testset.batch(range(place, place + 1))
        assert item.mask_area == pytest.approx(float(batch.masks.mean()))
        assert (pixels(folder, item.original) == batch.images[0].movedim(0, -1).numpy()).all()
        for method, digest in zip(methods, item.fills, strict=True):
            assert (pixels(folder, digest) == method(*batch)[0].movedim(0, -1).numpy()).all()


def test_catch_and_practice_trials_use_other_photographs_and_are_visibly_bad(made):
    folder, study = made
    used = [item.photograph for item in study.items]
    others = [item.photograph for item in (*study.catches, *study.practice)]
    assert len(set(used)) == 12
    assert (len(study.catches), len(study.practice)) == (1, 2)
    assert len(set(used) | set(others)) == 15
    for item in (*study.catches, *study.practice):
        (bad,) = item.fills
        assert np.abs(pixels(folder, item.original) - pixels(folder, bad)).mean() >= LEAST_DIFFERENCE


def test_pictures_are_named_by_their_content_equally_long_and_all_there_is(made):
    folder, study = made
    files = list((folder / "pictures").rglob("*"))
    names = {path.stem for path in files if path.is_file()}
    assert names == study.picture_digests()
    assert len({path.stat().st_size for path in files if path.is_file()}) == 1
    assert load_study(folder, verify=True) == study


def test_the_same_command_makes_the_same_pictures_and_another_seed_others(made, photographs_dir, tmp_path):
    _, study = made
    again = create_study(Pictures(METHODS, photographs_dir, "irregular", 12, 64), study.design, tmp_path / "again")
    assert (again.items, again.catches, again.practice) == (study.items, study.catches, study.practice)
    other = study.design.replace(seed=1)
    assert (
        create_study(Pictures(METHODS, photographs_dir, "irregular", 12, 64), other, tmp_path / "b").items
        != study.items
    )


def test_photographs_are_chosen_without_regard_to_their_order(made):
    numbers = sorted(int(item.photograph.split(".")[0]) for item in made[1].items)
    assert numbers != list(range(12))


def test_the_votes_database_is_ready_and_empty(made):
    folder, study = made
    store = VoteStore.open(database_url(folder, None), study)
    assert store.main_votes() == 0
    store.close()


def test_a_changed_missing_or_foreign_picture_is_found_before_it_is_served(made, tmp_path):

    folder, study = made
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = picture_path(copy, study.items[0].fills[0])
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MedfeError, match="was changed since the study was made"):
        load_study(copy, verify=True)
    path.unlink()
    with pytest.raises(MedfeError, match="cannot be read"):
        load_study(copy, verify=True)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "cannot be read"),
        ("[]", "found format 'list'"),
        ('{"format": 9}', "found format 9"),
        ('{"format": 1}', "design"),
    ],
)  # fmt: skip
def test_a_damaged_definition_is_told(tmp_path, text, named):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(MedfeError, match=named):
        load_study(tmp_path)


def test_a_study_takes_the_part_of_the_folder_that_was_held_out(photographs_dir, tmp_path):
    parts = tmp_path / "parts"
    for number, path in enumerate(sorted(photographs_dir.iterdir())):
        part = parts / ("train" if number % 2 else "test")
        part.mkdir(parents=True, exist_ok=True)
        (part / path.name).symlink_to(path)
    design = Design(trials=4, practice=1, catch_share=0, repeat_share=0)
    study = create_study(Pictures(METHODS, parts, "center", 4, 64, split="test"), design, tmp_path / "study")
    assert {Path(item.photograph).parent.name for item in study.items} == {"test"}
    assert study.data == f"{tmp_path.name}/parts, test"


def test_a_study_is_not_overwritten(made, photographs_dir):
    folder, study = made
    with pytest.raises(MedfeError, match="holds a study already"):
        create_study(Pictures(METHODS, photographs_dir, "center", 12, 64), study.design, folder)


def test_a_database_that_cannot_be_used_leaves_no_half_study(photographs_dir, tmp_path):
    pictures = Pictures(METHODS, photographs_dir, "center", 8, 64)
    design = Design(trials=4, catch_share=0, repeat_share=0, practice=0)
    with pytest.raises(MedfeError, match="cannot be"):
        create_study(pictures, design, tmp_path / "study", f"sqlite:///{tmp_path}/absent/votes.sqlite")
    assert not (tmp_path / "study" / "study.json").exists()
    create_study(pictures, design, tmp_path / "study")


def test_a_database_in_use_is_found_before_a_hole_is_filled(made, tmp_path):
    folder, study = made
    pictures = Pictures(METHODS, tmp_path / "absent", "center", 12, 64)
    with pytest.raises(MedfeError, match="holds a study already, expected an empty database"):
        create_study(pictures, study.design, tmp_path / "study", f"sqlite:///{folder / 'votes.sqlite'}")
    assert not (tmp_path / "study").exists()


def test_fillings_that_are_hardly_bad_catch_nobody(tmp_path):
    for number in range(12):
        Image.new("RGB", (64, 64), (100 + number, 100, 100)).save(tmp_path / f"{number}.png")
    with pytest.raises(MedfeError, match="expected at least 2, to be visible"):
        create_study(Pictures(METHODS, tmp_path, "center", 4, 64), Design(trials=4, practice=1), tmp_path / "study")


@pytest.mark.parametrize(
    ("pictures", "design", "named"),
    [
        ({"methods": METHODS[:1]}, {}, "found 1, expected at least 2"),
        ({"n": 30}, {}, "found 24 photographs, expected at least 40"),
        ({"n": 5}, {}, "found 5 pictures, expected at least 6, .* no rater sees one twice"),
        ({}, {"title": "Is Sharp better?"}, "names the method 'sharp'"),
        ({"methods": ("blurry=mean_fill", "absent")}, {}, "'absent'"),
        ({"masks": "absent"}, {}, "absent"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_made_is_told_and_leaves_no_definition(
    photographs_dir, tmp_path, pictures, design, named
):
    pictures = {"methods": METHODS, "data": photographs_dir, "masks": "center", "n": 12, "image_size": 64, **pictures}
    with pytest.raises(MedfeError, match=named):
        create_study(Pictures(**pictures), Design(**{"trials": 8, **design}), tmp_path / "study")
    assert not (tmp_path / "study" / "study.json").exists()


def test_a_method_s_name_within_a_word_is_no_leak(photographs_dir, tmp_path):
    design = Design(trials=4, practice=0, catch_share=0, repeat_share=0, title="Which is sharpest?")
    create_study(Pictures(METHODS, photographs_dir, "center", 4, 64), design, tmp_path / "study")


@pytest.mark.parametrize("trials", range(2, 60, 3))
def test_kinds_of_trials_add_up(trials):
    design = Design(trials=trials)
    assert design.main_trials + design.catches + design.repeats == trials
    assert design.catches == design.repeats == round(trials / 10)


def test_the_command_s_defaults_are_those_of_a_design():
    design, settings = Design(), {field.name: field.default for field in dataclasses.fields(Create)}
    shared = set(Design.model_fields) - {"title", "instructions", "consent"}  # given as None: the design's own
    assert {name: settings[name] for name in shared} == {name: getattr(design, name) for name in shared}


def test_a_study_of_three_methods_says_that_its_pairs_share_the_answers(medfe, photographs_dir, tmp_path):
    arguments = ["--methods", *METHODS, "mean_fill", "--data", photographs_dir, "--out", tmp_path / "study", "--n", 10]
    arguments += ["--image-size", 64, "--trials", 10, "--practice", 1, "--target-votes", 210]
    code, lines, _ = medfe("study", "create", *arguments)
    assert code == 0
    assert lines[1] == "3 pairs share them, about 70 answers each; medfe study power plans one pair"
    assert "more than 25 % of the catch trials they answer" in lines[2]


def test_power_is_printed(medfe):
    code, lines, _ = medfe("study", "power", "--ties", 0.3, "--design-effect", 1.5)
    assert code == 0
    assert "210 for power 0.8" in lines[1]
    assert lines[3].split()[1] == "315"
    assert lines[4].split()[2] == "450"


def test_simulations_are_labelled(medfe):
    code, lines, _ = medfe("study", "simulate", "--studies", 20)
    assert code == 0
    assert lines[0].startswith("SIMULATION of 20 studies")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["analyse", "absent"], "found no study.json"), (["export", "absent"], "found no study.json"),
        (["backup", "absent"], "found no study.json"), (["power", "--share", "0.5"], "share"),
        (["power", "--ties", "1"], "ties"), (["simulate", "--raters", "1"], "raters"),
        (["create", "--methods", "mean_fill", "telea", "--data", "absent", "--n", "4", "--out", "o", "--trials", "1"],
         "trials"),
        (["create", "--methods", "mean_fill", "telea", "--data", "absent", "--n", "40", "--out", "o"], "absent"),
        (["create", "--methods", "mean_fill", "telea", "--data", "absent", "--n", "4", "--out", "o", "--consent", "no"],
         "--consent no"),
    ],
)  # fmt: skip
def test_a_user_s_mistake_is_told_in_one_line_with_exit_code_2(medfe, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    code, _, errors = medfe("study", *arguments)
    assert code == 2
    (line,) = errors
    assert line.startswith("medfe: error: ")
    assert named in line


def test_votes_are_exported_into_the_folder_of_the_study(medfe, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _ = made
    assert medfe("study", "export", folder, "--peek") == (0, [f"0 votes written to {folder / 'export'}"], [])
    assert {path.name for path in (folder / "export").iterdir()} == {"votes.csv", "votes.parquet", "export.json"}
    assert list(tmp_path.iterdir()) == []


def test_results_before_the_target_are_refused_by_the_command(medfe, made):
    for command in ("analyse", "export"):
        code, _, errors = medfe("study", command, made[0])
        assert code == 2
        assert "found 0 of 20 answers" in errors[0]
