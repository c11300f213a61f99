"""The server behind the page: what it keeps, and what it tells before an answer."""

import base64
import json
import re
import struct
from unittest.mock import Mock

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient

from demo.label import PAGE, LabelServer, build_app
from demo.turnstile import Turnstile
from medfe.preference import tables, tokens
from medfe.preference.database import connect, database_url
from medfe.preference.records import RefusedError
from medfe.preference.store import VoteStore

from .browser import Rater, answer, serve


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


def test_the_page_is_served_with_everything_it_names(client):
    named, served = {""}, {}
    while waiting := named - served.keys():
        for path in waiting:
            response = client.get(f"/{path}")
            assert response.status_code == 200
            served[path] = response.headers["content-type"].partition(";")[0]
            named |= set(re.findall(r"""(?:src="|href="|from './)(label\.css|\w+\.js)""", response.text))
    assert served == {path: media_type for path, (_, media_type) in PAGE.items()}


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


def test_forged_tokens_foreign_trials_and_second_answers_are_refused(client, stored):
    mine, other = Rater(client).join(), Rater(client).join()
    foreign, own = other.ask("next").json()["trial"], mine.ask("next").json()["trial"]
    forged = mine.token[:-1] + ("1" if mine.token.endswith("0") else "0")
    statuses = {
        "foreign": mine.ask("vote", answer(foreign)).status_code,
        "no token": Rater(client).ask("vote", answer(own)).status_code,
        "forged": mine.ask("vote", answer(own), headers={"Authorization": f"Bearer {forged}"}).status_code,
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
    client, saved = serve(folder, study, small), []
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
        response = shown
        if shown.status_code == 200:
            response = raters[-1].ask("vote", body := answer(shown.json()["trial"]))
        if response.status_code != 200:
            break
        saved.append(body["request"])
    assert response.status_code == 507
    assert "Not saved" in response.json()["error"]
    assert "saved" not in response.json()
    with store.engine.connect() as connection:
        votes = connection.execute(select(tables.votes).order_by(tables.votes.c.id)).all()
    assert [vote.request for vote in votes] == saved
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


def chunks(png):
    """Return the types of a PNG's chunks."""
    found, place = [], 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        found.append(png[place + 4 : place + 8].decode())
        place += 12 + length
    return found


def test_trials_of_all_kinds_look_alike_and_their_pictures_hold_no_metadata(client, place):
    rater, kinds, lengths = Rater(client).join(), {}, set()
    with place[2].engine.connect() as connection:
        names = dict(connection.execute(select(tables.trials.c.name, tables.trials.c.kind)).all())
    for _ in range(8):
        response = rater.ask("next")
        lengths.add(len(response.content))
        content = response.json()
        for name in ("left", "right", "original"):
            head, _, data = content[name].partition(",")
            assert head == "data:image/png;base64"
            assert chunks(base64.b64decode(data)) == ["IHDR", "IDAT", "IEND"]
        form = {name: type(value).__name__ for name, value in content.items()}
        kinds.setdefault(names[content["trial"]], set()).add(json.dumps(form, sort_keys=True))
        assert rater.ask("vote", answer(content["trial"])).status_code == 200
    assert len(lengths) == 1
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


def test_who_was_not_let_in_takes_no_place_of_the_address(place, monkeypatch):
    folder, study, store = place
    app = build_app(LabelServer(folder, study, store), local=True, turnstile=Turnstile(at_once=1))
    rater = Rater(TestClient(app, base_url="http://127.0.0.1"))
    failures = {409: RefusedError("consent", "changed"), 503: DBAPIError("INSERT", {}, Exception("gone"))}
    for status, failure in failures.items():
        with monkeypatch.context() as patch:
            patch.setattr(VoteStore, "join", Mock(side_effect=failure))
            assert [rater.ask("join", {"consent_version": "1"}).status_code for _ in range(2)] == [status, status]
    assert [rater.ask("join", {"consent_version": "1"}).status_code for _ in range(2)] == [200, 429]
