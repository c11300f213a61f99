"""Where a report comes from: command, settings, versions; without the paths of a machine."""

from __future__ import annotations

import os
import platform
import shlex
from html import escape
from importlib.metadata import version
from pathlib import Path

from medfe.evaluation.html_parts import section, table
from medfe.evaluation.protocol import Measurements
from medfe.evaluation.settings import EvaluationSettings
from medfe.training.checkpoint import commit

PACKAGES = (
    "medfe", "torch", "torchvision", "torchmetrics", "torch-fidelity", "numpy", "scipy", "opencv-python-headless",
)  # fmt: skip
_FROM_PYTHON_ALONE = ("level", "resamples", "permutations")


def shown(path: str | Path) -> str:
    """Return a path without the parts that name this machine: below $MEDFE_DATA, below this folder, or its end."""
    absolute = Path(path).absolute()
    data = os.environ.get("MEDFE_DATA")
    if data and absolute.is_relative_to(Path(data).absolute()):
        return (Path("$MEDFE_DATA") / absolute.relative_to(Path(data).absolute())).as_posix()
    if absolute.is_relative_to(Path.cwd()):
        return absolute.relative_to(Path.cwd()).as_posix()
    return Path(*absolute.parts[-2:]).as_posix()


def command(settings: EvaluationSettings) -> str:
    """Return the command that makes this evaluation."""
    words = ["medfe evaluate --methods", *(_quoted(source(method)) for method in settings.methods)]
    words += ["--data", _quoted(shown(settings.data)), "--masks", _quoted(source(settings.masks))]
    given = settings.model_dump(mode="json", exclude_defaults=True, exclude={"methods", "data", "masks", "out"})
    unnamed = [f"{name}={given.pop(name)}" for name in _FROM_PYTHON_ALONE if name in given]
    for name, value in given.items():
        flag = "--" + {"contrasts": "contrast"}.get(name, name).replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif name == "contrasts":
            words += [flag, *(_quoted(method) for pair in value for method in pair)]
        elif isinstance(value, list):
            words += [flag, *map(str, value)]
        else:
            words += [flag, _quoted(shown(value)) if name.endswith("_weights") else str(value)]
    words += ["--out", _quoted(shown(settings.out)), *(["#", *unnamed, "from Python alone"] if unnamed else [])]
    return " ".join(words)


def _quoted(word: str) -> str:
    """Return a word as a shell takes it; what stands for the data folder is left to be expanded."""
    bare = word.replace("$MEDFE_DATA", "")
    if bare == word:
        return shlex.quote(word)
    return word if shlex.quote(bare) == bare else f'"{word}"'


def source(text: str) -> str:
    """Return `NAME=SOURCE` or a source with its path, if it is one, as `shown`."""
    name, separator, rest = text.rpartition("=")
    return f"{name}{separator}{shown(rest) if Path(rest).exists() else rest}"


def recipe(measured: Measurements) -> str:
    """Return the section that says how the numbers were made."""
    methods = table(
        ["method", "made from", "digest", "arm"],
        [[m.name, source(m.source), m.digest, m.arm or "–"] for m in measured.methods], words=(0, 1, 2, 3),
    )  # fmt: skip
    settings = measured.settings.model_dump(mode="json")
    settings |= {name: shown(settings[name]) for name in ("data", "out")}
    settings |= {"methods": " ".join(source(method) for method in measured.settings.methods)}
    settings |= {"masks": source(measured.settings.masks), "image_size": measured.image_size}
    for name in ("inception_weights", "lpips_weights"):
        settings[name] = settings[name] and shown(settings[name])
    listed = [[name, _plain(value)] for name, value in settings.items()]
    versions = [[name, version(name)] for name in PACKAGES] + [["python", platform.python_version()]]
    versions.append(["commit", commit() or "–"])
    return section([
        "<h2>How it was made</h2>",
        f"<pre>{escape(command(measured.settings))}</pre>",
        "<p>All methods see the same images and the same stored masks. What is in the hole is not passed on to them: "
        "it is grey. Outputs have the known pixels pasted back and are rounded to 8 bits before they are measured.</p>",
        methods,
        "<details><summary>Settings</summary>",
        table(["setting", "value"], listed, words=(0, 1)),
        "</details>",
        "<details open><summary>Versions</summary>",
        table(["package", "version"], versions, words=(0, 1)),
        "</details>",
    ])  # fmt: skip


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value) or "–"
    return "–" if value is None else str(value)
