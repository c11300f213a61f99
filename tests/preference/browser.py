"""A rater's browser, as far as the server can tell."""

from starlette.testclient import TestClient

from demo.label import LabelServer, build_app
from medfe.preference import tokens


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
