"""A visitor of the app without a browser: the requests that the page makes, over HTTP."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medfe.data.masks import Mask

_PATIENCE = 600  # seconds
_FILE = {"_type": "gradio.FileData"}


class AppError(RuntimeError):
    """The app answered a visitor with an error."""


class Visitor:
    """One visitor with a session of their own.

    Args:
        address: where the page is, with the slash at its end.

    Raises:
        AppError: there is no such page.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.session = uuid.uuid4().hex
        config = json.loads(self._get("config"))
        self._events = config["dependencies"]
        parts = [(part["id"], part["props"]) for part in config["components"]]
        self._named = {properties["elem_id"]: part for part, properties in parts if properties.get("elem_id")}
        self._panels = [part for part, properties in parts if "picture" in (properties.get("elem_classes") or ())]
        self._canvas = (0, 0)

    def choose(self, picture: Image.Image | bytes, name: str = "picture.png") -> str:
        """Upload a picture, or whatever a file holds, take it, and return what the page says of it.

        Raises:
            AppError: it was refused, with what the page says.
        """
        content = picture if isinstance(picture, bytes) else _png(picture)
        answer = self._call("upload", "upload", {"upload": self._upload(content, name)})
        background = answer[self._named["editor"]]["background"]
        with Image.open(io.BytesIO(self._file(background))) as canvas:
            self._canvas = canvas.size
        return _text(answer[self._named["status"]])

    def fill(self, hole: Mask) -> list[NDArray[np.uint8]]:
        """Draw a hole, press the button, and fetch every picture: ground truth, masked input and the results.

        Args:
            hole: H×W, True = hole, of the picture's size, which must divide the canvas'.

        Raises:
            AppError: it was refused.
        """
        pixels = np.zeros((*hole.shape, 4), dtype=np.uint8)
        pixels[hole] = (255, 0, 0, 255)
        layer = Image.fromarray(pixels).resize(self._canvas, Image.Resampling.NEAREST)
        drawing = f"data:image/png;base64,{base64.b64encode(_png(layer)).decode()}"
        answer = self._call("fill", "click", {"drawing": drawing, "blind": False})
        return [np.asarray(Image.open(io.BytesIO(self._file(answer[panel])))) for panel in self._panels]

    def _upload(self, content: bytes, name: str) -> dict[str, Any]:
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
        (path,) = json.loads(self._post("gradio_api/upload", body, f"multipart/form-data; boundary={edge}"))
        return {"path": path, "orig_name": name, "meta": _FILE}

    def _call(self, name: str, event: str, inputs: dict[str, Any]) -> dict[int, Any]:
        """Trigger an event of a component and return the new values of all others that it changes."""
        target = [self._named[name], event]
        function = next(found for found in self._events if target in found["targets"])
        values = {self._named[key]: value for key, value in inputs.items()}
        data = [values.get(part) for part in function["inputs"]]  # what the server keeps itself stays empty
        body = {"data": data, "fn_index": function["id"], "session_hash": self.session}
        self._post("gradio_api/queue/join", json.dumps(body).encode(), "application/json")
        for message in self._messages():
            if message["msg"] == "process_completed":
                break
        else:
            raise AppError(f"{name}: the app closed the connection")
        if not message["success"]:
            raise AppError(f"{name}: {message['output'].get('error')}")
        changed = dict(zip(function["outputs"], map(_value, message["output"]["data"]), strict=True))
        status = changed.get(self._named["status"]) or ""
        if 'role="alert"' in status:
            raise AppError(_text(status))
        return changed

    def _messages(self) -> Iterator[dict[str, Any]]:
        with self._open(f"gradio_api/queue/data?session_hash={self.session}") as stream:
            for line in stream:
                if line.startswith(b"data:"):
                    yield json.loads(line.removeprefix(b"data:"))

    def _file(self, value: dict[str, Any]) -> bytes:
        return self._get(f"gradio_api/file={quote(value['path'])}")

    def _get(self, path: str) -> bytes:
        with self._open(path) as answer:
            return bytes(answer.read())

    def _post(self, path: str, body: bytes, kind: str) -> bytes:
        with self._open(path, body, {"Content-Type": kind}) as answer:
            return bytes(answer.read())

    def _open(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(self.address + path, data=body, headers=headers or {})
        try:
            return urllib.request.urlopen(request, timeout=_PATIENCE)
        except OSError as error:
            raise AppError(f"{path.partition('?')[0]}: {error}") from None


def _value(sent: Any) -> Any:
    """Return a component's new value, or None where only its looks changed."""
    return sent.get("value") if isinstance(sent, dict) and sent.get("__type__") == "update" else sent


def _text(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup)).strip()


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="PNG", compress_level=1)
    return content.getvalue()
