"""A real server and real methods: no byte before an answer, no side, no order and no time tells them apart."""

import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sqlalchemy import select

from demo.label import PAGE
from medfe.config import GeneratorConfig
from medfe.models.generator import build_generator
from medfe.preference import tables, tokens
from medfe.preference.database import database_url
from medfe.preference.definition import Design
from medfe.preference.store import VoteStore
from medfe.preference.study import Pictures, create_study
from medfe.weightfiles import save_weights

from ..ports import free_port

TRIALS, RATERS = 40, 10


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder and definition of a study of an untrained run and a baseline."""
    folder = tmp_path_factory.mktemp("blinding")
    config = GeneratorConfig(image_size=64, base_channels=2, feature_channels=4)
    tensors = {f"generator.{name}": value for name, value in build_generator(config).state_dict().items()}
    metadata = {"kind": "generator", "config": config.model_dump(mode="json"), "target": {"arm": "low_resolution"}}
    save_weights(folder / "quietrun" / "generator.safetensors", tensors, metadata)
    (folder / "photographs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        large = Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)
        large.save(folder / "photographs" / f"portrait{number}.png")
    pictures = Pictures([str(folder / "quietrun"), "secretname=telea"], folder / "photographs", "irregular", 32)
    design = Design(trials=TRIALS, practice=2, target_votes=10_000)
    torch.set_num_threads(1)
    return folder / "study", create_study(pictures, design, folder / "study")


@pytest.fixture(scope="module")
def address(study):
    """Where `python -m demo --study` listens."""
    command = [sys.executable, "-m", "demo", "--study", str(study[0]), "--port", str(free_port())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        line = next((line for line in iter(process.stdout.readline, "") if "http://" in line), None)
        assert line, f"the server ended with code {process.wait()}"
        yield urllib.parse.urlsplit(line.split()[2])
    finally:
        process.terminate()
        process.wait(30)


class Wire:
    """Requests on a bare socket; every byte of the answers is kept."""

    def __init__(self, address):
        self.address, self.token, self.received = address, "", []

    def ask(self, path, body=None):
        content = b"" if body is None else json.dumps(body).encode()
        head = [
            f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"Host: {self.address.netloc}", "Connection: close",
            f"Authorization: Bearer {self.token}", f"Content-Length: {len(content)}", "", "",
        ]  # fmt: skip
        started = time.perf_counter()
        with socket.create_connection((self.address.hostname, self.address.port), timeout=60) as connection:
            connection.sendall("\r\n".join(head).encode() + content)
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        self.seconds = time.perf_counter() - started
        self.received.append(answer)
        return answer.partition(b"\r\n\r\n")[2]

    def join(self):
        self.token = json.loads(self.ask("/api/join", {"consent_version": "1"}))["token"]

    def next(self):
        return json.loads(self.ask("/api/next"))

    def vote(self, trial, choice):
        body = {
            "trial": trial, "request": tokens.random_name(), "choice": choice, "milliseconds": 800, "width": 800,
            "height": 600, "pixel_ratio": 1, "zoomed": False,
        }  # fmt: skip
        assert json.loads(self.ask("/api/vote", body))["saved"]


def spellings(text):
    """Return a text, its words, and hashes of it, as they might be written."""
    yield text.encode()
    for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256"):
        digest = hashlib.new(name, text.encode()).digest()
        for length in {len(digest), 6, 8, 10}:
            yield digest[:length]
            yield digest[:length].hex().encode()
            yield base64.b64encode(digest[:length]).rstrip(b"=")
            yield base64.urlsafe_b64encode(digest[:length]).rstrip(b"=")


def secrets_of(folder, definition):
    """Return what must not be sent: names, sources and digests of methods, of the photographs and the pictures."""
    texts = set()
    for place, method in enumerate(definition.methods):
        own = (folder.parent / "quietrun" if place == 0 else folder).as_posix()
        texts |= {method.name, method.source, method.digest, own, f"{method.name}-{method.digest}"}
    texts |= {"quietrun", "generator.safetensors", "low_resolution", "telea", "mean_fill", folder.name + ".json"}
    texts |= {item.photograph for item in definition.items} | definition.picture_digests() | {definition.digest}
    return {text for text in texts if len(text) >= 5}


def test_no_byte_before_the_answer_names_a_method(study, address):
    folder, definition = study
    wire = Wire(address)
    for path in (*PAGE, "favicon.ico", "api/study", "api/progress", "api/next"):
        wire.ask(f"/{path}")
    wire.join()
    for number in range(2):
        wire.ask(f"/api/practice/{number}")
        wire.ask(f"/api/practice/{number}", {"choice": "left"})
    wire.ask("/api/progress")
    for _ in range(3):
        wire.next()
    wire.ask("/api/vote", {"trial": "none"})
    wire.ask("/api/last")
    sent = b"\n".join(wire.received)
    pictures = [base64.b64decode(data) for data in re.findall(rb"base64,([\w+/=]+)", sent)]
    assert len(pictures) == 3 * 5
    assert len({len(picture) for picture in pictures}) == 1
    everything = (sent + b"\n".join(pictures)).lower()
    found = [
        (text, spelling)
        for text in secrets_of(folder, definition)
        for spelling in spellings(text)
        if spelling.lower() in everything
    ]
    assert found == []
    assert b"portrait" not in everything


def test_over_400_trials_no_side_order_or_time_tells_the_methods_apart(study, address):
    folder, definition = study
    seconds, lengths = {}, set()
    for _ in range(RATERS):
        wire = Wire(address)
        wire.join()
        while not (content := wire.next()).get("finished"):
            seconds[content["trial"]] = wire.seconds
            lengths.add(len(wire.received[-1]) - len(str(content["position"])))
            wire.vote(content["trial"], "tie")
    assert len(seconds) == TRIALS * RATERS
    assert max(lengths) - min(lengths) <= 1  # digits of the reply's own length
    store = VoteStore.open(database_url(folder, None), definition)
    with store.engine.connect() as connection:
        planned = connection.execute(select(tables.trials).where(tables.trials.c.kind == "main")).all()
    store.close()
    main = [row for row in planned if row.name in seconds]
    left = np.array([row.left_method == 0 for row in main])
    for rater in {row.rater for row in main}:
        own = left[[row.rater == rater for row in main]]
        assert abs(2 * own.sum() - len(own)) <= 1
    for item in {row.item for row in planned}:  # of all raters, those of other tests among them
        own = [row.left_method == 0 for row in planned if row.item == item]
        assert abs(2 * sum(own) - len(own)) <= 1
    # A ten-thousandth: the only chance in these tests.
    positions = np.array([row.position for row in main])
    times = np.array([seconds[row.name] for row in main])
    for values in (positions, times):
        assert stats.mannwhitneyu(values[left], values[~left]).pvalue > 1e-4
