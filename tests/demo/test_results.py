import base64
import re
from pathlib import Path

import pytest
from PIL import Image

from demo import reports
from demo.reports import find_reports, text_of
from demo.results import MAX_ROWS, figures_of, table_html, tables_of


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "main.md").write_text("# The main experiment\n\n![curve](main_curve.png)\n\nDone.\n")
    (tmp_path / "main_runs.csv").write_text("run,kid,commit\na,0.123456,abc\nb,,abc\n")
    (tmp_path / "main_fast.md").write_text("no heading\n")
    (tmp_path / "main_fast_runs.csv").write_text("run\n1\n")
    (tmp_path / "speed.csv").write_text("what,ms\n<b>forward</b>,12.5\n")
    (tmp_path / "README.md").write_text("# The claims\n")
    Image.new("RGB", (4, 3), "teal").save(tmp_path / "main_curve.png")
    Image.new("RGB", (4, 3)).save(tmp_path / "main_other.png")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a.csv").write_text("x\n1\n")
    return tmp_path


def test_files_belong_to_the_report_with_the_longest_name_that_begins_theirs(folder):
    reports = find_reports(folder)
    assert list(reports) == ["README", "main", "main_fast", "Other tables"]
    titles = [report.title for report in reports.values()]
    assert titles == ["The claims", "The main experiment", "Main fast", "Other tables"]
    assert [path.name for path in reports["main"].tables] == ["main_runs.csv"]
    assert [path.name for path in reports["main_fast"].tables] == ["main_fast_runs.csv"]
    assert [path.name for path in reports["Other tables"].tables] == ["speed.csv"]


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_where_nothing_is_there_is_no_report(tmp_path, name):
    (tmp_path / "empty").mkdir()
    assert find_reports(tmp_path / name) == {}


def test_a_picture_in_a_report_is_put_into_it_and_not_shown_twice(folder):
    report = find_reports(folder)["main"]
    text, _ = text_of(report)
    (encoded,) = re.findall(r"!\[curve\]\(data:image/png;base64,([^)]+)\)", text)
    assert base64.b64decode(encoded) == (folder / "main_curve.png").read_bytes()
    assert text.endswith("Done.\n")
    shown = figures_of(report)
    assert shown.count("<figure>") == 1
    assert 'alt="Main other"' in shown


@pytest.mark.parametrize("target", ["../secret.png", "/etc/passwd", "https://example.org/a.png", "main_runs.csv"])
def test_a_picture_from_elsewhere_is_left_out(folder, target):
    Image.new("RGB", (4, 3)).save(folder.parent / "secret.png")
    (folder / "main.md").write_text(f"# Report\n\nbefore ![x]({target}) after\n")
    assert text_of(find_reports(folder)["main"]) == ("# Report\n\nbefore  after\n", "")


def test_a_link_to_a_file_which_the_page_does_not_serve_is_words(folder):
    (folder / "main.md").write_text("# R\n\n[`a.csv`](a.csv), [papers](https://example.org/p), ![x](main_curve.png)\n")
    text, _ = text_of(find_reports(folder)["main"])
    assert text.startswith("# R\n\n`a.csv`, [papers](https://example.org/p), ![x](data:image/png;base64,")


def test_the_claims_come_first_then_the_main_experiment(folder):
    for name in ("autoencoders", "zebra"):
        (folder / f"{name}.md").write_text("# Experiment `x`\n")
    assert list(find_reports(folder)) == ["README", "main", "autoencoders", "main_fast", "zebra", "Other tables"]
    assert find_reports(folder)["zebra"].title == "Experiment x"


def test_the_answer_stands_first_and_what_few_want_to_know_is_folded_away(folder):
    missing = ", ".join(f"`run{i}`" for i in range(3))
    sections = [
        "# Q\n\nWhy?\n\n**Missing:** " + missing + ".\n\n",
        "## Primary endpoint\n\nYes.\n\n",
        "## Arms\n\n1\n\n",
    ]
    (folder / "main.md").write_text("".join([*sections, "## Not tested\n\n2\n\n", "## Matched\n\n3\n"]))
    found, rest = text_of(find_reports(folder)["main"])
    assert found.endswith("## Primary endpoint\n\nYes.\n\n")
    assert f"<details><summary>3 runs are not done yet</summary>\n\n{missing}.\n\n</details>" in found
    folded = "<details><summary>Not tested</summary>\n\n2\n\n</details>\n\n"
    assert rest == f"## Arms\n\n1\n\n{folded}## Matched\n\n3\n"


def test_tables_are_folded_away(folder):
    shown = tables_of(find_reports(folder)["main"])
    assert "<details><summary>main_runs.csv" in shown
    assert "open" not in shown


def test_a_table_names_what_all_rows_share_once_and_can_be_saved_whole(folder):
    html = table_html(folder / "main_runs.csv")
    assert re.findall(r"<th(?: [^>]*)?>([^<]*)", html) == ["run", "kid"]
    assert re.findall(r"<td[^>]*>([^<]*)", html) == ["a", "0.1235", "b", "–"]
    assert "commit abc" in html
    assert "2 rows" in html
    (encoded,) = re.findall(r'download="main_runs.csv" href="data:text/csv;base64,([^"]+)"', html)
    assert base64.b64decode(encoded) == (folder / "main_runs.csv").read_bytes()


def test_cells_are_text_and_never_markup(folder):
    html = table_html(folder / "speed.csv")
    assert "&lt;b&gt;forward&lt;/b&gt;" in html
    assert "<b>" not in html


def test_of_a_long_table_the_first_rows_are_shown_and_it_is_said(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("n\n" + "\n".join(map(str, range(MAX_ROWS + 5))) + "\n")
    html = table_html(path)
    assert html.count("<tr>") == MAX_ROWS + 1
    assert f"first {MAX_ROWS} of {MAX_ROWS + 5} rows" in html


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a,b\n1,2\n1,2,3\n"'])
def test_a_table_that_cannot_be_read_is_named_without_its_folder(tmp_path, content):
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    html = table_html(path)
    assert "broken.csv cannot be read" in html
    assert str(tmp_path) not in html


def test_the_experiments_write_where_the_page_looks():
    assert Path(__file__).parents[2] / "notebooks" / "results" == reports.FOLDER
