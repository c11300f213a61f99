"""The server behind the page: what it refuses; nothing of it is stored."""

import re
import socket

import pytest
from sqlalchemy import select

from demo.label import PAGE, serve_study
from medfe.errors import MedfeError
from medfe.preference import tables
from medfe.preference.database import database_url
from medfe.preference.store import VoteStore

from .browser import Rater, serve
from .conftest import write_study


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A study for all tests of this file: what is refused changes nothing."""
    folder = tmp_path_factory.mktemp("study")
    study = write_study(folder)
    store = VoteStore.create(database_url(folder, None), study)
    yield folder, study, store
    store.close()


@pytest.fixture(scope="module")
def client(place):
    return serve(*place)


@pytest.fixture(scope="module")
def rater(client):
    return Rater(client).join()


@pytest.fixture(autouse=True)
def _nothing_is_stored(place, rater):
    """No test here may leave a vote, or a rater beside the one."""
    yield
    with place[2].engine.connect() as connection:
        assert connection.execute(select(tables.votes)).all() == []
        assert len(connection.execute(select(tables.raters)).all()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"trial": "'; DROP TABLE votes; --"}, {"trial": "A" * 32}, {"trial": None}, {"trial": 7},
        {"request": "x' OR '1'='1"}, {"request": ""}, {"choice": "both"}, {"choice": "left'); DELETE FROM votes; --"},
        {"milliseconds": -1}, {"milliseconds": "900"}, {"milliseconds": 2**31}, {"milliseconds": 1.5}, {"width": 0},
        {"pixel_ratio": 0}, {"zoomed": "yes"}, {"comment": "'; DROP TABLE raters; --"}, {"choice": "x" * 10_000},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_of_another_form_is_refused_without_repeating_it(rater, change):
    response = rater.vote(**change)
    assert response.status_code == 422
    assert response.json() == {"error": "The request is not understood.", "why": "request"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b"null", b'{"consent_version": "1", "x": 1}'])
def test_what_is_no_consent_lets_nobody_in(client, body):
    assert client.post("/api/join", content=body).status_code == 422


def test_every_reply_forbids_what_the_page_does_not_need(client, rater):
    for response in (*(client.get(f"/{path}") for path in PAGE), rater.ask("next"), client.get("/absent")):
        headers = response.headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert not {"etag", "last-modified", "set-cookie", "server-timing", "server"} & set(headers)


def test_foreign_pages_and_names_are_refused(client):
    assert client.post("/api/join", json={"consent_version": "1"}, headers={"Origin": "https://a.b"}).status_code == 403
    assert client.get("/", headers={"Host": "attacker.example"}).status_code == 421


def test_a_port_that_is_taken_is_told(place):
    folder, _, _ = place
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MedfeError, match="cannot listen there"):
            serve_study(folder, "127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("path", ["/study.json", "/votes.sqlite", "/pictures/", "/../study.json", "/docs", "/api"])
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code == 404


def test_no_table_has_a_column_for_an_address():
    columns = {column.name for table in tables.metadata.tables.values() for column in table.columns}
    assert not {name for name in columns if re.search("addr|host|ip$|agent|email", name)}


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "join", b'{"consent_version": "1"}' + b" " * 5000, 422),
        ("POST", "join", b'{"consent_version": "1"}' + b" " * 2_000_000, 413),
        ("POST", "join", b'{"consent_version": "1\\u0000"}', 409),
        ("POST", "join", b'{"consent_version": "1\x00"}', 422),
        ("POST", "join", b"consent_version=1", 422),
        ("POST", "join", b"[" * 4000, 422),
        ("POST", "next", b"", 405),
        ("GET", "practice/0/0", b"", 404),
        ("GET", "next/%00", b"", 404),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_odd_requests_are_refused_on_one_line_and_store_nothing(client, method, path, content, status):
    response = client.request(method, f"/api/{path}", content=content, headers={"Content-Type": "text/plain"})
    assert (response.status_code, response.text.count("\n")) == (status, 0)
