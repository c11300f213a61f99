"""The server behind the page: what it refuses, and what it tells before an answer."""

import base64
import json
import re
import socket
import struct

import pytest
from sqlalchemy import event, select
from starlette.testclient import TestClient

from demo.label import LabelServer, build_app, serve_study
from demo.turnstile import Turnstile
from medfe.errors import MedfeError
from medfe.preference import tables, tokens
from medfe.preference.database import connect, database_url
from medfe.preference.store import VoteStore


class Rater:
    """A browser of one rater."""

    def __init__(self, client):
        self.client, self.token = client, None

    def ask(self, path, body=None, **changes):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= changes.pop("headers", {})
        return self.client.request("GET" if body is None else "POST", f"/api/{path}", json=body, headers=headers)

    def join(self):
        self.token = self.ask("join", {"consent_version": "1"}).json()["token"]
        return self

    def vote(self, **changes):
        return self.ask("vote", answer(self.ask("next").json()["trial"], **changes))


def answer(trial, /, **changes):
    return {
        "trial": trial, "request": tokens.random_name(), "choice": "left", "milliseconds": 900, "width": 1280,
        "height": 720, "pixel_ratio": 1, "zoomed": False, **changes,
    }  # fmt: skip


def serve(folder, study, store):
    app = build_app(LabelServer(folder, study, store), local=True)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def place(make_study):
    folder, study = make_study(items=12)
    store = VoteStore.create(database_url(folder, None), study)
    yield folder, study, store
    store.close()


@pytest.fixture
def client(place):
    return serve(*place)


@pytest.fixture
def stored(place):
    """Return a function that returns the votes in the database."""

    def rows():
        with place[2].engine.connect() as connection:
            return connection.execute(select(tables.votes)).all()

    return rows


def test_a_session_runs_from_consent_to_the_end(client, stored):
    rater = Rater(client).join()
    assert rater.ask("progress").json() == {"answered": 0, "total": 8, "expired": False}
    for number in range(8):
        assert rater.vote().json() == {"saved": True, "answered": number + 1, "total": 8, "expired": False}
    assert rater.ask("next").json() == {"finished": True}
    assert len(stored()) == 8


def test_practice_tells_which_was_the_photograph_and_stores_nothing(client, stored):
    rater = Rater(client).join()
    pictures = rater.ask("practice/0").json()
    feedback = [rater.ask("practice/0", {"choice": choice}).json() for choice in ("left", "right", "tie")]
    photograph = feedback[0]["photograph"]
    assert pictures[photograph] == pictures["original"]
    assert [item["correct"] for item in feedback] == [photograph == "left", photograph == "right", False]
    for number in ("1", "-1", "00", "x", "9" * 5000):
        assert rater.ask(f"practice/{number}").status_code == 404
    assert stored() == []


def test_the_original_is_sent_only_with_the_question_that_shows_it(make_study):
    for question, names in (("closer", {"left", "right", "original"}), ("real", {"left", "right"})):
        folder, study = make_study(folder=question, question=question)
        store = VoteStore.create(database_url(folder, None), study)
        content = Rater(serve(folder, study, store)).join().ask("next").json()
        assert set(content) == names | {"trial", "position", "total"}
        store.close()


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
def test_an_answer_of_another_form_is_refused_without_repeating_it(client, stored, change):
    rater = Rater(client).join()
    response = rater.vote(**change)
    assert response.status_code == 422
    assert response.json() == {"error": "The request is not understood.", "why": "request"}
    assert stored() == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b"null", b'{"consent_version": "1", "x": 1}'])
def test_what_is_no_consent_lets_nobody_in(client, place, body):
    assert client.post("/api/join", content=body).status_code == 422
    with place[2].engine.connect() as connection:
        assert connection.execute(select(tables.raters)).all() == []


def test_forged_tokens_foreign_trials_and_second_answers_are_refused(client, stored):
    mine, other = Rater(client).join(), Rater(client).join()
    foreign, own = other.ask("next").json()["trial"], mine.ask("next").json()["trial"]
    statuses = {
        "foreign": mine.ask("vote", answer(foreign)).status_code,
        "no token": Rater(client).ask("vote", answer(own)).status_code,
        "forged": mine.ask("vote", answer(own), headers={"Authorization": f"Bearer {mine.token[:-2]}00"}).status_code,
        "odd": mine.ask("vote", answer(own), headers={"Authorization": "Basic abc"}).status_code,
        "practice": Rater(client).ask("practice/0").status_code,
    }
    assert statuses == {"foreign": 404, "no token": 401, "forged": 401, "odd": 401, "practice": 401}
    assert stored() == []
    body = answer(own)
    assert [mine.ask("vote", body).status_code for _ in range(3)] == [200, 200, 200]
    assert mine.ask("vote", answer(own)).status_code == 409
    assert mine.ask("vote", {**body, "choice": "right"}).status_code == 409
    assert [row.choice for row in stored()] == ["left"]


def test_a_correction_and_a_withdrawal_are_kept(client, place, stored):
    rater = Rater(client).join()
    trial = rater.ask("next").json()
    rater.ask("vote", answer(trial["trial"]))
    assert rater.ask("last").json() == trial
    change = {"trial": trial["trial"], "request": tokens.random_name(), "choice": "tie"}
    assert rater.ask("correct", change).json()["saved"]
    assert [row.choice for row in stored()] == ["left"]
    assert rater.ask("withdraw", {}).json() == {"withdrawn": True}
    assert stored() == []
    assert rater.ask("next").status_code == 403


def test_on_a_full_disk_the_rater_is_told_and_nothing_is_marked_saved(place):
    folder, study, store = place
    full = connect(store.engine.url)

    @event.listens_for(full, "connect")
    def _forbid_growth(connection, _record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}").close()

    Rater(serve(folder, study, store)).join()
    small = VoteStore(full, study)
    client, saved = serve(folder, study, small), 0
    raters = [Rater(client)]
    raters[0].token = tokens.sign(_first_rater(store), small._secret)
    for _ in range(200):
        shown = raters[-1].ask("next")
        if shown.json().get("finished"):
            rater = Rater(client)
            shown = rater.ask("join", {"consent_version": "1"})
            if shown.status_code == 200:
                rater.token = shown.json()["token"]
                raters.append(rater)
                continue
        response = shown if shown.status_code != 200 else raters[-1].ask("vote", answer(shown.json()["trial"]))
        if response.status_code != 200:
            break
        saved += response.json()["saved"]
    assert response.status_code == 507
    assert "Not saved" in response.json()["error"]
    assert "saved" not in response.json()
    with store.engine.connect() as connection:
        assert len(connection.execute(select(tables.votes)).all()) == saved
    small.close()


def _first_rater(store):
    with store.engine.connect() as connection:
        return connection.execute(select(tables.raters.c.name)).scalars().first()


def test_a_changed_picture_is_not_shown_and_the_rater_is_told(client, place):
    folder, _, _ = place
    rater = Rater(client).join()
    for path in (folder / "pictures").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    response = rater.ask("next")
    assert response.status_code == 500
    assert set(response.json()) == {"error", "why"}


def test_every_reply_forbids_what_the_page_does_not_need(client):
    rater = Rater(client).join()
    for response in (client.get("/"), client.get("/label.js"), rater.ask("next"), client.get("/absent")):
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


def chunks(png):
    """Return the types of a PNG's chunks."""
    found, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        found.append(png[place + 4 : place + 8].decode())
        place += 12 + length
    return found


def test_pictures_of_all_trials_are_equally_long_and_without_metadata(client):
    rater = Rater(client).join()
    lengths = set()
    for _ in range(8):
        response = rater.ask("next")
        lengths.add(len(response.content))
        content = response.json()
        for name in ("left", "right", "original"):
            head, _, data = content[name].partition(",")
            assert head == "data:image/png;base64"
            assert chunks(base64.b64decode(data)) == ["IHDR", "IDAT", "IEND"]
        assert rater.ask("vote", answer(content["trial"])).status_code == 200
    assert len(lengths) == 1


def test_trials_of_all_kinds_look_alike(client, place):
    rater, kinds = Rater(client).join(), {}
    with place[2].engine.connect() as connection:
        names = dict(connection.execute(select(tables.trials.c.name, tables.trials.c.kind)).all())
    for _ in range(8):
        content = rater.ask("next").json()
        form = {name: type(value).__name__ for name, value in content.items()}
        kinds.setdefault(names[content["trial"]], set()).add(json.dumps(form, sort_keys=True))
        rater.ask("vote", answer(content["trial"]))
    assert set(kinds) == {"main", "catch", "repeat"}
    assert len(set.union(*kinds.values())) == 1


def test_a_device_that_joins_over_and_over_has_to_wait_and_takes_no_places(place):
    folder, study, store = place
    app = build_app(LabelServer(folder, study, store), local=True, turnstile=Turnstile(at_once=2))
    client = TestClient(app, base_url="http://127.0.0.1")
    assert [Rater(client).ask("join", {"consent_version": "1"}).status_code for _ in range(4)] == [200, 200, 429, 429]
    response = Rater(client).ask("join", {"consent_version": "1"})
    assert response.json()["why"] == "crowded"
    with store.engine.connect() as connection:
        assert len(connection.execute(select(tables.raters)).all()) == 2
    elsewhere = TestClient(app, base_url="http://127.0.0.1", client=("192.0.2.7", 50_000))
    assert Rater(elsewhere).ask("join", {"consent_version": "1"}).status_code == 200


def test_no_table_has_a_column_for_an_address(place):
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
def test_odd_requests_are_refused_on_one_line_and_store_nothing(client, place, method, path, content, status):
    response = client.request(method, f"/api/{path}", content=content, headers={"Content-Type": "text/plain"})
    assert (response.status_code, response.text.count("\n")) == (status, 0)
    with place[2].engine.connect() as connection:
        assert connection.execute(select(tables.raters)).all() == []
