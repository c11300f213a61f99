"""The folder of a study.

    study.json                 the definition; nothing in it changes once it is written
    pictures/ab/ab12….png      pictures, named by the SHA-256 of their content
    votes.sqlite               answers (see `medfe.preference.store`), unless they go to a PostgreSQL server

A picture is on disk before anything points to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path

from medfe.config import parse
from medfe.errors import MedfeError
from medfe.preference.definition import FORMAT, Study

STUDY_FILE, DATABASE_FILE, PICTURES = "study.json", "votes.sqlite", "pictures"


def picture_path(folder: Path, digest: str) -> Path:
    """Return where a picture lies."""
    return folder / PICTURES / digest[:2] / f"{digest}.png"


def save_picture(folder: Path, content: bytes) -> str:
    """Write a picture under the SHA-256 of its content, which is returned; on disk before this returns."""
    digest = hashlib.sha256(content).hexdigest()
    path = picture_path(folder, digest)
    if not path.exists():
        write_durably(path, content)
    return digest


def check_new(folder: Path) -> None:
    """Refuse a folder that holds a study.

    Raises:
        MedfeError: if it does.
    """
    if (folder / STUDY_FILE).exists():
        raise MedfeError(f"{folder}: holds a study already, and a study never changes; give another folder")


def save_study(folder: Path, study: Study) -> None:
    """Write the definition; pictures must be on disk already.

    Raises:
        MedfeError: if the folder holds a study, or cannot be written.
    """
    check_new(folder)
    write_durably(folder / STUDY_FILE, (study.model_dump_json(indent=2) + "\n").encode())


def load_study(folder: Path, *, verify: bool = False) -> Study:
    """Read a definition.

    Args:
        folder: Of the study.
        verify: Read every picture and compare it with its digest.

    Raises:
        MedfeError: if there is none, it is damaged, or a picture is missing or was changed.
    """
    path = folder / STUDY_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MedfeError(f"{folder}: found no {STUDY_FILE}, expected the folder of a study") from None
    except (OSError, ValueError) as error:
        raise MedfeError(f"{path}: cannot be read as a study ({error})") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise MedfeError(f"{path}: found format {found!r}, expected {FORMAT}")
    study = parse(Study, values, source=str(path))
    if verify:
        for digest in sorted(study.picture_digests()):
            read_picture(folder, digest)
    return study


def read_picture(folder: Path, digest: str) -> bytes:
    """Return a picture's file.

    Raises:
        MedfeError: if it is missing or was changed.
    """
    path = picture_path(folder, digest)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MedfeError(f"{path}: cannot be read ({error.strerror}), expected a picture of the study") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise MedfeError(f"{path}: was changed since the study was made; its content is not what its name says")
    return content


def write_durably(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, and wait until the disk holds it.

    Raises:
        MedfeError: if the disk is full or the folder not writable.
    """
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise MedfeError(f"{path}: cannot be written ({error.strerror or error})") from None


def sync_folder(folder: Path) -> None:
    """Wait until the disk holds a folder's names."""
    if os.name != "posix":  # elsewhere a folder cannot be opened, and needs no flushing
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
