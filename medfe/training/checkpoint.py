"""The run folder: settings, resumable state, and weights ready for inference."""

import errno
import functools
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from medfe.config import Settings, parse
from medfe.errors import MedfeError
from medfe.weightfiles import read_metadata

CONFIG_FILE = "config.json"
STATE_FILE = "state.ckpt"

SettingsT = TypeVar("SettingsT", bound=Settings)

# What may differ when a run goes on: it changes neither the data nor the weights.
FREE_SETTINGS = frozenset({"workers", "save_every", "log_every", "compile", "data.cache", "generator.checkpointing"})


def save_config(folder: Path, config: Settings) -> None:
    """Write the settings of a run, creating its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CONFIG_FILE, config.model_dump_json(indent=2) + "\n")


def load_config(folder: Path, kind: type[SettingsT]) -> SettingsT:
    """Read the settings of a run.

    Raises:
        MedfeError: if there are none, or they are damaged.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise MedfeError(f"{folder}: not a run folder, {CONFIG_FILE} is missing")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MedfeError(f"{path}: not readable as JSON ({error})") from None
    return parse(kind, values, str(path))


def check_same_run(folder: Path, config: Settings, weights: Path | None = None) -> None:
    """Check that the run in `folder`, if there is one, has these settings, so that it can go on.

    Args:
        folder: run folder.
        config: settings of the run that is to go on.
        weights: its weight file. If given, a folder with neither this file nor a state holds no run: the one whose
            settings it holds failed before it had saved anything.

    Raises:
        MedfeError: naming every setting that differs; or `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise MedfeError(f"{folder}: is a file, expected a folder for the run")
    if not (folder / CONFIG_FILE).exists():
        return
    if weights is not None and not weights.exists() and not (folder / STATE_FILE).exists():
        return
    found, asked = flat(load_config(folder, type(config))), flat(config)
    differing = [name for name in asked if found[name] != asked[name] and name not in FREE_SETTINGS]
    if differing:
        listed = ", ".join(f"{name} {found[name]!r} there, {asked[name]!r} asked for" for name in differing[:4])
        raise MedfeError(f"{folder}: holds a run with other settings ({listed}); use its settings or another folder")


def flat(config: Settings) -> dict[str, Any]:
    """Return all settings as JSON-able values by their dotted names."""
    return _flat(config.model_dump(mode="json"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def refuse_finished(folder: Path, weights: Path, max_steps: int) -> None:
    """Refuse to train anew, where a run has no saved state, over weights that are finished, or not of this run.

    Args:
        folder: run folder, whose settings were compared already.
        weights: its weight file.
        max_steps: steps of the whole run.

    Raises:
        MedfeError: if there are such weights.
    """
    if not weights.exists() or (folder / STATE_FILE).exists():
        return
    if not (folder / CONFIG_FILE).exists():
        raise MedfeError(f"{weights}: weights without their settings; give another folder, or delete the file to train")
    if read_metadata(weights).get("step") == max_steps:
        raise MedfeError(f"{weights}: this training is complete, but its state is gone; delete the file to train again")


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write everything needed to resume, atomically: a kill leaves the state before or the state after.

    Raises:
        OSError: the disk is full or not writable; the state before is kept.
    """
    path = folder / STATE_FILE
    temporary = path.with_suffix(".part")  # always the same, so that kills leave no heap of them
    try:
        with temporary.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except RuntimeError as error:  # torch's writer does not say what the file system said
        if "PytorchStreamWriter" not in str(error) and "inline_container" not in str(error):
            raise
        raise OSError(errno.EIO, "cannot be written, is the disk full?", str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Read the state of a run, or None where it has none yet. Nothing in it is executed.

    Raises:
        MedfeError: if the file is damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise MedfeError(f"{path}: damaged ({reason}); delete it to start again") from None
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise MedfeError(f"{path}: not the state of a training; delete it to start again")
    return state


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a kill leaves the old one or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")  # several processes may be at it
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def commits(state: Mapping[str, Any] | None) -> str:
    """Return the commits of all starts of a run, the earlier ones from its saved state, each once."""
    earlier = str((state or {}).get("commits", "")).split()
    return " ".join(dict.fromkeys([*earlier, *commit().split()]))


@functools.cache
def commit() -> str:
    """Return the commit of the source tree, with `+` where the package was changed since; empty outside a checkout.

    Found once a process, and asked for first when a run starts: what is committed while it runs is not its code.
    """
    try:
        found = _git("rev-parse", "--short=12", "HEAD")
        # Results that are written do not count, nor do weights: they are no code.
        changed = _git("diff", "--quiet", "HEAD", "--", ".", ":!weights").returncode == 1
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() + "+" * changed if found.returncode == 0 else ""


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    package = Path(__file__).parents[1]
    return subprocess.run(["git", *arguments], cwd=package, capture_output=True, text=True, check=False, timeout=10)
