"""The running server refuses what is not meant for it, goes on, and gives each of many visitors their own."""

import http.client
import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from PIL import Image

from medfe.benchmark.app import make_task, many_visitors
from medfe.benchmark.visitor import AppError, Visitor
from medfe.inference import Inpainter


def ask(url, data=None, **headers):
    """Return status and body of an answer."""
    request = urllib.request.Request(url, data=data, headers={name.replace("_", "-"): v for name, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def announce(address, path, length):
    """Return the status of the answer to a request of which only the head is sent."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def form(content, name="photo.png"):
    """Return body and type of an upload."""
    head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


def test_a_foreign_page_and_a_foreign_name_are_refused(address):
    assert ask(address, Origin="https://example.org")[0] == 403
    body, kind = form(b"x")
    assert ask(f"{address}gradio_api/upload", body, Content_Type=kind, Origin="null")[0] == 403
    assert ask(address, Host="attacker.example")[0] == 421
    assert ask(address, Origin=address.rstrip("/"))[0] == 200


@pytest.mark.parametrize("path", ["/etc/passwd", "demo/app.py", "../../../../etc/passwd", "pyproject.toml"])
def test_files_outside_the_cache_are_not_served(address, path):
    for prefix in ("gradio_api/file=", "file=", "gradio_api/static/", "assets/"):
        status, body = ask(address + prefix + urllib.request.quote(path, safe="/."))
        assert status in (403, 404)
        assert b"root:" not in body
        assert b"import" not in body


def test_a_file_too_large_is_refused_while_it_is_sent(address):
    body, kind = form(bytes(4_500_000))
    status, text = ask(f"{address}gradio_api/upload", body, Content_Type=kind)
    assert status == 413, text
    assert announce(address, "/gradio_api/queue/join", 6_000_000) == 413
    assert ask(address)[0] == 200


def test_an_upload_s_name_leads_nowhere(address):
    content = io.BytesIO()
    Image.new("RGB", (20, 20)).save(content, format="PNG")
    body, kind = form(content.getvalue(), "../../../../tmp/escaped.png")
    status, text = ask(f"{address}gradio_api/upload", body, Content_Type=kind)
    assert status == 200
    (path,) = json.loads(text)
    assert ".." not in path
    assert "medfe-demo-" in path


def test_no_function_is_offered_to_programs(address):
    status, text = ask(f"{address}gradio_api/info")
    assert status == 200
    assert json.loads(text) == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_the_page_tells_an_upload_that_is_too_large_and_goes_on(visit, address):
    compare = visit(address)
    compare.upload_bytes(bytes(4_500_000), "large.png")
    compare.page.get_by_text("size").first.wait_for()
    compare.upload(Image.new("RGB", (40, 30), "teal"))
    compare.wait_for_status("40×30")


@pytest.mark.slow
def test_who_has_no_password_gets_nothing(start, run_folders, tmp_path):
    users = tmp_path / "users.txt"
    users.write_text("ada:lovelace\n")
    with start("--no-shipped", "--models", *run_folders, "--auth-file", users) as server:
        config, login = f"{server.address}config", f"{server.address}login"
        body, kind = form(b"x")
        assert ask(config)[0] == 401
        assert ask(f"{server.address}gradio_api/upload", body, Content_Type=kind)[0] == 401
        assert ask(f"{server.address}gradio_api/queue/join", b"{}", Content_Type="application/json")[0] == 401
        assert ask(login, urllib.parse.urlencode({"username": "ada", "password": "guess"}).encode())[0] == 400
        assert ask(config)[0] == 401
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        visitor.open(login, urllib.parse.urlencode({"username": "ada", "password": "lovelace"}).encode(), timeout=60)
        assert visitor.open(config, timeout=60).status == 200


@pytest.fixture(scope="session")
def inpainters(run_folders):
    return [Inpainter.from_pretrained(folder, "cpu") for folder in run_folders]


def test_twenty_visitors_at_once_get_their_own_right_results(served, inpainters):
    tasks = [make_task(seed, inpainters) for seed in range(20)]
    assert len(many_visitors(served.address, tasks)) == 20


@pytest.mark.slow
def test_pictures_are_deleted_by_age_and_a_visitor_is_told(start, run_folders, inpainters):
    with start("--no-shipped", "--models", *run_folders, "--keep-minutes", 0.5) as server:
        before = server.cached()
        task, visitor = make_task(0, inpainters), Visitor(server.address)
        visitor.choose(task.picture)
        task.check(visitor.fill(task.hole))
        assert server.cached() > before
        deadline = time.monotonic() + 180
        while server.cached() != before and time.monotonic() < deadline:
            time.sleep(0.5)
        assert server.cached() == before
        with pytest.raises(AppError, match="no longer on the server"):
            visitor.fill(task.hole)
        visitor.choose(task.picture)
        task.check(visitor.fill(task.hole))
