"""Photographs whose names are not UTF-8, as old archives have them."""

import os
import shutil

import pandas as pd
import pytest

from medfe.evaluation.run import evaluate

pytestmark = pytest.mark.usefixtures("judges")


def test_names_that_are_not_utf_8_are_evaluated_like_others(make_settings, faces, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(faces, folder)
    try:
        next(folder.iterdir()).rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    except OSError:
        pytest.skip("this file system takes no such names")
    settings = make_settings(data=folder)
    evaluate(settings)
    names = pd.read_parquet(settings.out / "images.parquet")["photograph"]
    assert names.str.contains(r"caf\xe9.png", regex=False).sum() == 2
    assert names.nunique() == 12
