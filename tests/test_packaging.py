import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Home and temporary folders of Unix and Windows machines, not preceded by what makes them part of a longer name.
MACHINE_PATH = re.compile(
    rb"(?<![\w.~$}])/(?:home|Users|root|work|tmp|mnt|var/folders)/\w[\w./-]*|\b[A-Z]:\\+Users\\+\w+"
)


def requirements() -> list[Requirement]:
    """Every requirement of pyproject.toml, extras included, the project's own name left out."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    parsed = [Requirement(line) for group in groups for line in group]
    return [requirement for requirement in parsed if requirement.name != PROJECT["name"]]


def pins() -> dict[str, Requirement]:
    """Pinned requirement of each package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    parsed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def is_installed(pin: Requirement, found: Distribution | None) -> bool:
    return found is not None and found.version in pin.specifier


def test_environment_yml_asks_for_what_pyproject_asks_for():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, section = conda["dependencies"]
    assert (python, pip) == (f"python{PROJECT['requires-python']}", "pip")
    options = [line for line in section["pip"] if line.startswith("-")]
    asked = [Requirement(line) for line in section["pip"] if not line.startswith("-")]
    assert options == ["-c constraints.txt", "-e ."]
    assert sorted(map(str, asked)) == sorted(map(str, requirements()))


def test_every_constraint_is_one_exact_version():
    for pin in pins().values():
        assert re.fullmatch(r"==[\w.!]+", str(pin.specifier)), pin
        assert pin.marker is None, pin


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_constraints_name_a_version_in_the_range_of(requirement):
    pin = pins()[canonicalize_name(requirement.name)]
    assert Version(str(pin.specifier).removeprefix("==")) in requirement.specifier


def test_the_oldest_python_of_pyproject_runs_the_pinned_versions():
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    installed = {canonicalize_name(found.name): found for found in distributions()}
    checked = {name: installed[name] for name, pin in pins().items() if is_installed(pin, installed.get(name))}
    if not checked:
        pytest.skip("needs a package in its version of constraints.txt")
    too_new = [
        f"{name}: Requires-Python {needs}"
        for name, found in checked.items()
        if (needs := found.metadata.get("Requires-Python")) and oldest not in SpecifierSet(needs)
    ]
    assert too_new == []


def test_constraints_leave_the_packages_of_a_cuda_build_to_torch():
    assert not [name for name in pins() if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_the_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]


@pytest.mark.parametrize("path", PROJECT["license-files"])
def test_licence_files_exist(path):
    assert "medfe authors" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["medfe", "demo", "tests"])
def test_modules_that_windows_lacks_are_imported_where_they_are_used(folder):
    lacking = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        found = ast.parse(file.read_text(encoding="utf-8")).body
        names = {alias.name for node in found if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in found if isinstance(node, ast.ImportFrom)}
        assert not names & lacking, file


def test_imports_point_one_way():
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout  # a process of its own: it switches this one's loggers off


def test_settings_are_read_without_torch():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, medfe.config; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert "medfe.config" in loaded
    assert not {"torch", "torchvision", "lightning_fabric", "numpy"} & set(loaded)


def test_no_file_names_a_path_of_somebodys_machine():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("needs a git checkout: the list of the repository's files comes from git")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    found = {
        str(file.relative_to(ROOT)): paths
        for file in files
        if file.is_file() and (paths := MACHINE_PATH.findall(file.read_bytes()))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "names_one"),
    [
        ("open('{}home/ann/x.png')", True),
        ("cache={}tmp/weights", True),
        ('"C:\\\\{0}Users{0}ann"'.replace("{0}", "\\"), True),
        ("https://example.org{}home/ann", False),
        ("tests{}work/x", False),
        ("$HOME{}tmp/x", False),
    ],
)
def test_the_search_for_machine_paths_tells_them_from_other_text(text, names_one):
    assert bool(MACHINE_PATH.search(text.format("/").encode())) == names_one
