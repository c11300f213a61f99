"""The page and its server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from demo import script, style, theme
from demo.about import build_about
from demo.cache import Sweeper
from demo.compare import CompareTab
from demo.guard import Guard, is_loopback
from demo.models import Contender
from demo.pictures import Library
from demo.results import ResultsTab
from medfe.errors import MedfeError

TITLE = "MEDFE and MEDFE+CAE"


@dataclass(frozen=True)
class Server:
    """Where the app listens, who may use it, and how much it takes."""

    host: str = "127.0.0.1"
    port: int = 7860
    users: tuple[tuple[str, str], ...] = ()
    """Names and passwords; empty: everyone."""
    max_upload_mb: float = 20.0
    """Largest file a visitor may send, MB."""
    public_name: str = ""
    """See `Guard`."""


def build_app(contenders: list[Contender], library: Library, cache: Path, results: Path, max_age: float) -> gr.Blocks:
    """Return the page.

    Args:
        contenders: the models compared.
        library: the pictures offered.
        cache: folder that uploads and results are kept in for a while.
        results: folder of the experiments' tables and reports.
        max_age: seconds that uploads and results are kept.
    """
    period, age = max(1, round(max_age / 10)), max(1, round(max_age))
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(period, age), fill_width=True) as app:
        gr.HTML(theme.HEADER, elem_id="header", padding=False)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Compare", id="compare"):
                compare = CompareTab(contenders, library, cache)
            with gr.Tab("Results", id="results") as tab:
                ResultsTab(results).connect(tab)
            with gr.Tab("About", id="about"):
                build_about(contenders, max_age)
    static = {file for block in app.blocks.values() for file in getattr(block, "keep_in_cache", ())}
    static |= set(map(str, compare.example.files()))
    # Gradio deletes the files it knows of by age; the others (runs, uploads broken off) go a little later.
    Sweeper(cache, max_age + 2 * period, static)
    # One at a time on the processors; the others see their place in the queue.
    return app.queue(api_open=False, max_size=64, default_concurrency_limit=4)


def serve(app: gr.Blocks, server: Server) -> None:
    """Start the server, print its address, and return when it is interrupted.

    Args:
        app: the page.
        server: address, users, limits.

    Raises:
        MedfeError: the port is taken or the address is not this machine's.
    """
    max_bytes = round(server.max_upload_mb * 1e6)
    guard = Middleware(
        Guard, max_body=max_bytes + 1_000_000, local=is_loopback(server.host), public_name=server.public_name
    )
    try:
        app.launch(
            server_name=server.host,
            server_port=server.port,
            auth=list(server.users) or None,
            max_file_size=max_bytes,
            theme=theme.build_theme(),
            css=style.CSS,
            head=script.HEAD,
            app_kwargs={"middleware": [guard]},
            share=False,
            ssr_mode=False,
            enable_monitoring=False,
            mcp_server=False,
            pwa=False,
            run_history=False,
            footer_links=[],
            show_error=False,
            state_session_capacity=500,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise MedfeError(f"{server.host}:{server.port}: cannot listen there ({error.strerror or error})") from None
    print(f"MEDFE demo: {app.local_url}  (Ctrl+C ends it)", flush=True)
    app.block_thread()
