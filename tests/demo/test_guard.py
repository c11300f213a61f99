import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from demo.guard import Guard, is_loopback

ADDRESS = "http://127.0.0.1:7860"
SOCKET = "ws://127.0.0.1:7860/socket"


async def answer(request):
    return PlainTextResponse(f"{len(await request.body())} bytes")


async def greet(websocket):
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


def client(local=True, base_url=ADDRESS, **settings):
    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"]), WebSocketRoute("/socket", greet)])
    return TestClient(Guard(app, max_body=1000, local=local, **settings), base_url=base_url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_this_machine_is_recognized(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "192.168.1.2", "example.org", "localhost.example.org", "", "127.0.0.1.nip.io"]
)
def test_no_other_machine_passes_for_this_one(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("origin", [None, ADDRESS])
def test_the_own_page_may_ask(origin):
    headers = {} if origin is None else {"origin": origin}
    assert client().post("/", headers=headers, content=b"abc").text == "3 bytes"


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.org",
        "http://127.0.0.1:9999",
        "http://127.0.0.1",
        "http://localhost:7860",
        "null",
        "",
        "http://[",
    ],
)
def test_a_foreign_page_is_refused(origin):
    response = client().post("/", headers={"origin": origin}, content=b"abc")
    assert response.status_code == 403


def test_a_foreign_page_cannot_embed_but_can_link():
    foreign = {"sec-fetch-site": "cross-site"}
    assert client().get("/", headers=foreign | {"sec-fetch-mode": "no-cors"}).status_code == 403
    assert client().get("/", headers=foreign | {"sec-fetch-mode": "navigate"}).status_code == 200
    assert client().get("/", headers={"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}).status_code == 200


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:7860", "192.168.1.2:7860", "["])
def test_another_name_for_this_machine_is_refused_even_with_its_own_origin(host):
    response = client().get("/", headers={"host": host, "origin": f"http://{host}"})
    assert response.status_code == 421


def test_a_public_server_answers_to_any_name_but_to_no_foreign_page():
    public = client(local=False, base_url="https://demo.example")
    assert public.get("/", headers={"origin": "https://demo.example"}).status_code == 200
    assert public.get("/", headers={"origin": "https://demo.example:444"}).status_code == 403


def test_behind_a_proxy_that_ends_tls_the_page_may_ask():
    public = client(local=False, base_url="http://demo.example")  # what reaches the server is plain HTTP
    assert public.get("/", headers={"origin": "https://demo.example"}).status_code == 200


@pytest.mark.parametrize("host", ["demo.example", "127.0.0.1:7860"])  # as the proxy passes it on, or does not
def test_behind_a_proxy_on_this_machine_its_public_name_may_ask_and_no_other(host):
    local = client(public_name="Demo.example")
    assert local.post("/", headers={"host": host, "origin": "https://demo.example"}, content=b"abc").text == "3 bytes"
    assert local.get("/", headers={"host": host}).status_code == 200
    for origin in ("https://evil.example", "https://demo.example:444", "https://demo.example.evil.example", "null"):
        assert local.post("/", headers={"host": host, "origin": origin}).status_code == 403
    assert local.get("/", headers={"host": "evil.example", "origin": "http://evil.example"}).status_code == 421


@pytest.mark.parametrize("length", ["1001", "99999999999", "-1", "abc"])
def test_a_body_announced_too_large_or_without_sense_is_refused(length):
    assert client().post("/", headers={"content-length": length}).status_code == 413


def test_a_body_that_is_not_announced_is_counted():
    chunks = (b"x" * 100 for _ in range(11))
    assert client().post("/", content=chunks).status_code == 413
    assert client().post("/", content=(b"x" * 100 for _ in range(10))).text == "1000 bytes"


def test_answers_forbid_the_browser_to_load_from_elsewhere():
    headers = client().get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_a_foreign_page_gets_no_websocket():
    with client().websocket_connect(SOCKET, headers={"origin": ADDRESS}) as socket:
        assert socket.receive_text() == "hello"
    with (
        pytest.raises(WebSocketDisconnect),
        client().websocket_connect(SOCKET, headers={"origin": "https://example.org"}),
    ):
        pytest.fail("it was let in")
