"""Votes out of the database: as a table, as files for other programs, and as a backup."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from medfe.errors import MedfeError
from medfe.preference.copying import copy_rows, write_database
from medfe.preference.database import reading, reason
from medfe.preference.definition import Study
from medfe.preference.folder import write_durably
from medfe.preference.store import VoteStore
from medfe.preference.tables import SCHEMA_VERSION, corrections, raters, trials, votes

ORIGINAL, BAD, TIE = "original", "bad filling", "tie"
"""What stands for a method in catch trials, and for the winner where there is none."""
WINDOW_CLASS = 100
"""CSS pixels to whose multiples a window's width is rounded down."""


def check_target(store: VoteStore, peek: bool) -> int:
    """Return the number of answers to main trials, if results may be seen.

    Raises:
        MedfeError: if the target is not reached and `peek` is not asked for: who looks early and stops when the result
            pleases finds differences that are not there.
    """
    found, target = store.main_votes(), store.study.design.target_votes
    if found < target and not peek:
        raise MedfeError(
            f"found {found} of {target} answers, expected all before results are seen; --peek shows them now"
        )
    return found


def vote_table(store: VoteStore) -> pd.DataFrame:
    """Return one row an answer, in the order of raters and positions.

    It can be published: time of day, exact size of the window and fineness of the screen, by which a rater might be
    known again elsewhere, stay in the database.

    Columns: `rater`, `position`, `kind` (main, catch, repeat), `question`, `item`, `mask_area`, `area_bin`, `left`,
    `right` (names of methods; in catch trials `original` and `bad filling`), `choice` (left, tie, right; after
    corrections), `first_choice`, `winner` (a name, or `tie`), `repeats` (position of the trial repeated),
    `milliseconds`, `viewport_width` (rounded down to hundreds), `zoomed` and `seconds` (from joining to the answer).
    """
    latest = select(func.max(corrections.c.id)).group_by(corrections.c.vote)
    corrected = select(corrections.c.vote, corrections.c.choice).where(corrections.c.id.in_(latest)).subquery()
    first = trials.alias()
    query = (
        select(
            raters.c.id.label("rater"), trials.c.position, trials.c.kind, trials.c.item, trials.c.left_method,
            trials.c.right_method, func.coalesce(corrected.c.choice, votes.c.choice).label("choice"),
            votes.c.choice.label("first_choice"), first.c.position.label("repeats"), votes.c.milliseconds,
            votes.c.viewport_width, votes.c.zoomed, (votes.c.saved - raters.c.joined).label("seconds"),
        )
        .select_from(votes.join(trials).join(raters, raters.c.id == trials.c.rater))
        .outerjoin(corrected, corrected.c.vote == votes.c.id)
        .outerjoin(first, first.c.id == trials.c.repeats)
        .order_by(raters.c.id, trials.c.position)
    )  # fmt: skip
    with reading(store.engine) as connection:
        result = connection.execute(query)
        rows = [_named(dict(row._mapping), store.study) for row in result]
    return pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)


_TYPES: dict[str, Any] = {
    "rater": "int64", "position": "int64", "kind": "str", "question": "str", "item": "int64", "mask_area": "float64",
    "area_bin": "str", "left": "str", "right": "str", "choice": "str", "first_choice": "str", "winner": "str",
    "repeats": "Int64", "milliseconds": "int64", "viewport_width": "int64", "zoomed": "bool", "seconds": "int64",
}  # fmt: skip


def _named(row: dict[str, Any], study: Study) -> dict[str, Any]:
    """Put names for places, and coarse values for exact ones."""
    catch = row["kind"] == "catch"
    names = [ORIGINAL, BAD] if catch else [method.name for method in study.methods]
    item = (study.catches if catch else study.items)[row["item"]]
    left, right = names[row.pop("left_method")], names[row.pop("right_method")]
    return row | {
        "question": study.design.question, "mask_area": item.mask_area, "area_bin": item.area_bin or "", "left": left,
        "right": right, "winner": {"left": left, "right": right, "tie": TIE}[row["choice"]],
        "viewport_width": row["viewport_width"] // WINDOW_CLASS * WINDOW_CLASS, "seconds": round(row["seconds"]),
    }  # fmt: skip


def export_votes(store: VoteStore, out: Path, *, peek: bool = False) -> dict[str, Any]:
    """Write `votes.csv`, `votes.parquet` and `export.json`, which names schema version, study and checksums.

    Args:
        store: Votes.
        out: Folder; files in it are replaced.
        peek: Export before the target is reached; `export.json` says so.

    Returns:
        What `export.json` holds.

    Raises:
        MedfeError: before the target without `peek`, or a full disk.
    """
    answers = check_target(store, peek)
    table = vote_table(store)
    parquet = io.BytesIO()
    table.to_parquet(parquet, index=False)
    files = {"votes.csv": table.to_csv(index=False).encode(), "votes.parquet": parquet.getvalue()}
    for name, content in files.items():
        write_durably(out / name, content)
    target = store.study.design.target_votes
    summary = {
        "schema_version": SCHEMA_VERSION, "study": store.study.digest, "question": store.study.design.question,
        "rows": len(table), "main_answers": answers, "target_votes": target, "peeked": answers < target,
        "may_still_answer": store.participation().going_on,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }  # fmt: skip
    write_durably(out / "export.json", (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def backup(store: VoteStore, out: Path) -> int:
    """Copy the database into a new SQLite file while it is in use; `medfe.preference.restore` brings it back.

    All tables are read in one transaction, so the copy is one state of the study. It holds the key that signs the
    raters' tokens and is readable by its owner alone.

    Returns:
        Number of votes.

    Raises:
        MedfeError: if the file exists or cannot be written, the disk is full, or the database fails.
    """
    if out.exists():
        raise MedfeError(f"{out}: exists already, expected the name of a new file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return write_database(out, lambda copy: _copy(store, copy))
    except OSError as error:
        raise MedfeError(f"{out}: cannot be written ({error.strerror or error})") from None
    except DBAPIError as error:
        raise MedfeError(f"{out}: the votes cannot be copied ({reason(error)})") from None


def _copy(store: VoteStore, copy: Connection) -> int:
    copy_rows(store.engine, copy)
    return int(copy.execute(select(func.count()).select_from(votes)).scalar_one())
