"""The notebooks: prose, pictures and a few lines a cell; they run anywhere, and their outputs are committed whole."""

import ast
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 3_000_000
MAX_LINES = 10
# Settings of a quick run; `make notebooks` runs them as they are.
FEWER = {"N": 8, "EXCHANGED": 6, "STUDIES": 60, "MASKS": 200}
LEAST = {"04_fid_and_friends": {"N": 40, "EXCHANGES": 9}}

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def parsed(path):
    return [ast.parse(cell.source) for cell in cells(path, "code")]


def calls(tree, *names):
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [node for node in found if node.func.id in names]


def names_in(node):
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def test_the_first_cell_of_code_holds_the_settings(path):
    first, *others = cells(path, "code")
    assert first.source.startswith("# Settings\n")
    assert "MEDFE_DATA" in first.source
    assert not any(line.startswith(("import ", "from ")) for cell in others for line in cell.source.splitlines())


def test_no_class_and_no_function_of_more_than_ten_lines_is_defined(path):
    for tree in parsed(path):
        for node in ast.walk(tree):
            assert not isinstance(node, ast.ClassDef), node.name
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < MAX_LINES, node.name


def test_no_measured_number_is_typed_into_prose(path):
    for cell in cells(path, "markdown"):
        prose = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.DOTALL)
        assert not re.findall(r"\d+[.,]\d+|\d+ ?%", prose), prose


def test_everything_was_run_without_errors_and_kept_small(path):
    assert path.stat().st_size <= MAX_BYTES
    counts = [cell.execution_count for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))
    assert not any(output.output_type == "error" for cell in cells(path, "code") for output in cell.outputs)


def test_outputs_name_no_folder_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(?:home|root|Users|tmp|work|mnt)/", text)


def test_only_photographs_of_dependencies_are_shown(path):
    private, shown = set(), set()
    for tree in parsed(path):
        for node in ast.walk(tree):
            is_private = isinstance(node, ast.Assign) and any(
                "DATA" in names_in(call) for call in calls(node.value, "example_images")
            )
            private |= {name for target in node.targets for name in names_in(target)} if is_private else set()
        shown |= {name for call in calls(tree, "pictures", "heat") for name in names_in(call)}
    assert not private & shown


def test_the_readme_has_a_sentence_and_a_figure_of_it(path):
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"({path.name})" in readme
    assert f"(figures/{path.stem}.png)" in readme
    assert (FOLDER / "figures" / f"{path.stem}.png").stat().st_size < 600_000


@pytest.mark.timeout(600)
def test_it_runs_from_top_to_bottom_on_few_photographs_without_the_data_folder(path, tmp_path, monkeypatch):
    monkeypatch.delenv("MEDFE_DATA", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]))
    shutil.copytree(
        FOLDER, tmp_path / "notebooks", ignore=shutil.ignore_patterns("runs", ".ipynb_checkpoints", "*.png")
    )
    notebook = nbformat.read(path, as_version=4)
    settings = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for name, value in {**FEWER, **LEAST.get(path.stem, {})}.items():
        settings.source = re.sub(rf"^{name} = [^#\n]*", f"{name} = {value}  ", settings.source, flags=re.MULTILINE)
    resources = {"metadata": {"path": str(tmp_path / "notebooks")}}
    NotebookClient(notebook, timeout=500, kernel_name="python3", resources=resources).execute()
    assert (tmp_path / "notebooks" / "figures" / f"{path.stem}.png").stat().st_size > 0
