"""The tables that votes are kept in, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Integer, MetaData, String, Table, UniqueConstraint

SCHEMA_VERSION = 1
"""Raised with every change of the tables; a database of another version is refused."""

metadata = MetaData()

study = Table(
    "study", metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),  # of study.json
    Column("secret", String(64), nullable=False),  # signs the raters' tokens
)  # fmt: skip

raters = Table(
    "raters", metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),  # random; what a token carries
    Column("consent_version", String(40), nullable=False),
    Column("joined", Float, nullable=False),  # times are seconds since 1970, UTC
    Column("deadline", Float, nullable=False),
    Column("withdrawn", Float),
)  # fmt: skip

trials = Table(
    "trials", metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),  # random; what the page knows a trial by
    Column("rater", ForeignKey("raters.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", String(8), CheckConstraint("kind IN ('main', 'catch', 'repeat')"), nullable=False),
    Column("item", Integer, nullable=False),
    Column("left_method", Integer, nullable=False),
    Column("right_method", Integer, CheckConstraint("left_method <> right_method"), nullable=False),
    Column("repeats", ForeignKey("trials.id")),
    Column("shown", Float),  # the first time
    UniqueConstraint("rater", "position"),
)  # fmt: skip

votes = Table(
    "votes", metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", ForeignKey("trials.id"), nullable=False, unique=True),
    Column("request", String(32), nullable=False, unique=True),  # random, the page's; the same again is a retry
    Column("choice", String(5), CheckConstraint("choice IN ('left', 'tie', 'right')"), nullable=False),
    Column("milliseconds", Integer, nullable=False),  # from both pictures on the screen to the answer
    Column("viewport_width", Integer, nullable=False),  # CSS pixels
    Column("viewport_height", Integer, nullable=False),
    Column("pixel_ratio", Float, nullable=False),  # device pixels a CSS pixel
    Column("zoomed", Integer, CheckConstraint("zoomed IN (0, 1)"), nullable=False),
    Column("saved", Float, nullable=False),
)  # fmt: skip

corrections = Table(
    "corrections", metadata,
    Column("id", Integer, primary_key=True),
    Column("vote", ForeignKey("votes.id"), nullable=False),
    Column("request", String(32), nullable=False, unique=True),
    Column("choice", String(5), CheckConstraint("choice IN ('left', 'tie', 'right')"), nullable=False),
    Column("saved", Float, nullable=False),
)  # fmt: skip
