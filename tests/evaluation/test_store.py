"""The folder of results: files appear whole, other settings are refused, a full disk is one line."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from medfe.errors import MedfeError
from medfe.evaluation.store import Store


def test_pieces_come_back_joined_in_order(tmp_path):
    store = Store(tmp_path / "out")
    store.save("a/b c-1", "metrics", 32, {"l1": np.array([3.0])})
    store.save("a/b c-1", "metrics", 0, {"l1": np.array([1.0, 2.0])})
    assert store.has("a/b c-1", "metrics", 32)
    assert not store.has("a/b c-1", "lpips", 32)
    np.testing.assert_array_equal(store.load("a/b c-1", "metrics", [0, 32])["l1"], [1, 2, 3])


def test_a_folder_belongs_to_one_evaluation(tmp_path):
    store = Store(tmp_path)
    assert not store.is_claimed({"seed": 0, "masks": "center"})
    store.claim({"seed": 0, "masks": "center"})
    assert store.is_claimed({"seed": 0, "masks": "center"})
    with pytest.raises(MedfeError, match=r"seed 0 there, 1 asked for\); give another --out"):
        store.is_claimed({"seed": 1, "masks": "center"})


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.write("a.bin", b"old")

    def full(self, content):
        Path.open(self, "wb").close()  # the file is there, but not its content
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(MedfeError, match=r"a\.bin: cannot be written \(No space left on device\); earlier"):
            store.write("a.bin", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_a_damaged_file_is_named(tmp_path):
    store = Store(tmp_path)
    store.save("m", "metrics", 0, {"l1": np.zeros(3)})
    path = next(tmp_path.rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(MedfeError, match=r"damaged .*; delete it and run the same command again"):
        store.load("m", "metrics", [0])


def test_no_object_is_unpickled(tmp_path):
    store = Store(tmp_path)
    np.savez(tmp_path / "masks.npz", masks=np.array([{"code": 1}], dtype=object))
    with pytest.raises(MedfeError, match="damaged"):
        store.masks()
