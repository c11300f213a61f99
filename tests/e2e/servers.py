"""The app as a process of its own, and models for it."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from medfe.config import GeneratorConfig
from medfe.models.generator import build_generator
from medfe.weightfiles import save_weights

from ..ports import free_port


class Served(NamedTuple):
    """A running server."""

    address: str
    process: int
    temporary: Path
    """Folder of temporary files that no other process uses."""

    def outside(self):
        """Return the temporary files that lie outside the server's cache."""
        files = self.cached()
        return [path for path in files if not path.relative_to(self.temporary).parts[0].startswith("medfe-demo-")]

    def cached(self):
        """Return all temporary files."""
        return {path for path in self.temporary.rglob("*") if path.is_file()}


@contextlib.contextmanager
def running(*arguments):
    """Run `python -m demo`; it must write into its cache alone and clear that away at its end."""
    command = [sys.executable, "-m", "demo", "--port", str(free_port()), *map(str, arguments)]
    temporary = Path(tempfile.mkdtemp())
    environment = os.environ | {"TMPDIR": str(temporary)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        lines = iter(process.stdout.readline, "")
        address = next((word for line in lines for word in line.split() if word.startswith("http://")), None)
        assert address, f"the server ended with code {process.wait()}"
        yield Served(address, process.pid, temporary)
    finally:
        process.terminate()
        process.wait(120)
        left = [path for path in temporary.rglob("*") if path.is_file() or path.name.startswith("medfe")]
        shutil.rmtree(temporary)
    assert left == []


def save_untrained_models(folder):
    """Write two runs of preset tiny, one of each published arm, and return their folders."""
    for seed, (arm, head) in enumerate({"low_resolution": "norm_lrelu", "autoencoder": "tanh"}.items()):
        torch.manual_seed(seed)
        config = GeneratorConfig.preset("tiny").replace(head=head)
        tensors = {f"generator.{name}": value for name, value in build_generator(config).state_dict().items()}
        metadata = {"kind": "generator", "config": config.model_dump(mode="json"), "target": {"arm": arm}}
        save_weights(folder / arm / "generator.safetensors", tensors, metadata)
    return [folder / "low_resolution", folder / "autoencoder"]


def save_results(folder):
    """Write what an experiment might have written: a report with a figure, contrasts, and a table."""
    table = "| before | after |\n|---|---|\n| less | more |\n"
    (folder / "found.md").write_text(f"# What was found\n\nA sentence.\n\n{table}\n![curve](found_curve.png)\n")
    (folder / "found_runs.csv").write_text("run,kid,seed\na,0.031,0\nb,0.029,1\nc,0.030,2\n")
    (folder / "found_contrasts.csv").write_text(
        "first,second,metric,masks,role,n,difference,low,high,level,verdict\n"
        "one,two,kid_efficientnet_lite2,center,primary,6,-0.002,-0.003,-0.001,0.95,better\n"
        "three,two,kid_efficientnet_lite2,center,secondary,3,0.001,-0.004,0.006,0.95,not shown\n"
    )
    Image.new("RGB", (60, 40), "teal").save(folder / "found_curve.png")
    return folder
