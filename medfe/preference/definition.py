"""What a study is: question, texts, methods, pictures and plan, frozen before the first vote.

study.json                 the definition; nothing in it changes once it is written
pictures/ab/ab12….png      pictures, named by the SHA-256 of their content
votes.sqlite               answers (see `medfe.preference.store`), unless they go to a PostgreSQL server
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from medfe.config import Settings

FORMAT: Literal[1] = 1
"""Version of `study.json`; raised with every change of its fields, which the digest of a study covers."""


class Question(NamedTuple):
    """What raters are asked."""

    text: str
    shows_original: bool
    answers: tuple[str, str, str]
    """Labels of the buttons: left, no difference, right."""


QuestionName = Literal["closer", "real"]
QUESTIONS: dict[QuestionName, Question] = {
    "closer": Question(
        "Which of the two is closer to the original?", True, ("Left is closer", "No difference", "Right is closer")
    ),
    "real": Question(
        "Which of the two looks more real?", False, ("Left looks more real", "No difference", "Right looks more real")
    ),
}
"""The two are different endpoints: a study asks one of them, so answers are never pooled."""

CONSENT = (
    "Taking part is voluntary, and you can stop at any time without giving a reason.\n\n"
    "Stored are, under a random number: your answers, when you gave them and how long each took, whether you enlarged "
    "the pictures, the size of your browser's window, and how fine its screen is. Neither your name nor your network "
    "address is stored. A key stays in this browser, so that you can pause and go on.\n\n"
    "If you withdraw, which you can do in this browser for as long as this page is served, your answers are deleted; "
    "a backup made before may hold them for as long as it is kept, and what has been published by then cannot be "
    "called back.\n\n"
    "The answers are analysed together and may be published, with nothing in them that points to you."
)
INSTRUCTIONS = (
    "Part of a picture was missing, and a computer has filled it in, in two ways. You see both results side by side "
    "and answer one question about them. Take the time you need, and enlarge the pictures if it helps. If you see no "
    "difference, say so. A few pairs have a known answer: they show that answers were given with care."
)


class Design(Settings):
    """What the maker of a study decides."""

    question: QuestionName = "closer"
    """`closer`: to the original, which is shown. `real`: more real, the original is not shown."""
    title: str = Field("Compare pictures", min_length=1, max_length=120)
    """Heading of the page."""
    instructions: str = Field(INSTRUCTIONS, min_length=1)
    """What raters read before they begin."""
    consent: str = Field(CONSENT, min_length=1)
    """What raters agree to."""
    consent_version: str = Field("1", min_length=1, max_length=40)
    """Version of the consent; kept with every rater."""
    trials: int = Field(40, ge=2)
    """Trials a rater, catch trials and repeats among them."""
    catch_share: float = Field(0.1, ge=0, le=0.5)
    """Share of catch trials: the photograph itself against a visibly bad filling."""
    repeat_share: float = Field(0.1, ge=0, le=0.5)
    """Share of trials shown a second time with sides swapped."""
    practice: int = Field(4, ge=0)
    """Practice trials before the first, with feedback; their answers are not stored."""
    target_votes: int = Field(900, ge=1)
    """Answers after which nobody new is let in and results are shown; catch trials and repeats do not count.

    All pairs of methods share them: of three methods each pair gets a third. The default is for one pair on some 90
    pictures, 60 % of wins, and raters and pictures that differ (notebooks/06_human_preference.ipynb); `medfe study
    power` plans another.
    """
    max_catch_failures: float = Field(0.25, ge=0, lt=1)
    """Exclusion rule: raters who fail more than this share of the catch trials they answered are left out of the
    primary result."""
    session_hours: float = Field(24.0, gt=0)
    """Time from joining until a rater's open trials expire and fall to others; half an hour without any answer."""
    seed: int = Field(0, ge=0)
    """Seed of masks and of the choice of photographs."""

    @model_validator(mode="after")
    def _trials_fit(self) -> Design:
        if self.main_trials < max(1, self.repeats):
            raise ValueError(f"trials: {self.trials} leave {self.main_trials} beside catch trials and repeats")
        return self

    @property
    def catches(self) -> int:
        """Catch trials a rater."""
        return round(self.catch_share * self.trials)

    @property
    def repeats(self) -> int:
        """Repeated trials a rater."""
        return round(self.repeat_share * self.trials)

    @property
    def main_trials(self) -> int:
        """Trials a rater that enter the primary result."""
        return self.trials - self.catches - self.repeats


class StudyMethod(Settings):
    """A method under test."""

    name: str
    """How reports call it; raters never see it."""
    source: str
    """What it was made from."""
    digest: str
    """Of weights or source text."""


class Item(Settings):
    """A photograph with a hole, and every method's filling of it."""

    photograph: str
    """Path of the photograph, relative to the data folder."""
    mask_area: float
    """Share of the hole."""
    area_bin: str | None
    """Class of that share, percent (see `medfe.data.masks.AREA_BINS`)."""
    original: str
    """SHA-256 of the photograph's picture."""
    fills: tuple[str, ...]
    """SHA-256 of each method's picture, in the order of the methods."""


class Study(Settings):
    """A frozen study."""

    format: Literal[1] = FORMAT
    """Version of this file's layout."""
    design: Design
    """What was decided."""
    methods: tuple[StudyMethod, ...] = Field(min_length=2)
    """Methods under test; the first two are the primary comparison."""
    items: tuple[Item, ...] = Field(min_length=1)
    """What the trials show."""
    catches: tuple[Item, ...] = ()
    """Catch trials: `fills` holds one picture, the visibly bad filling."""
    practice: tuple[Item, ...] = ()
    """Practice trials, as catch trials."""
    image_size: int = Field(ge=1)
    """Side of the pictures, pixels."""
    masks: str
    """Rule or folder of masks."""
    data: str
    """Folder of photographs, as far as it names no machine."""
    created: str
    """Time of creation, UTC."""

    @model_validator(mode="after")
    def _fits(self) -> Study:
        if any(len(item.fills) != len(self.methods) for item in self.items):
            raise ValueError(f"items: expected {len(self.methods)} fillings each, one a method")
        if self.design.main_trials > len(self.items):
            raise ValueError(
                f"trials: found {len(self.items)} pictures, expected at least {self.design.main_trials}, so that no "
                "rater sees one twice"
            )
        if len(self.catches) < self.design.catches or len(self.practice) < self.design.practice:
            raise ValueError("catches, practice: fewer pictures than trials")
        return self

    @property
    def question(self) -> Question:
        """What raters are asked."""
        return QUESTIONS[self.design.question]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of methods, by place; the first is the primary one."""
        return list(itertools.combinations(range(len(self.methods)), 2))

    @property
    def digest(self) -> str:
        """SHA-256 of the definition; a database of votes belongs to one."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def picture_digests(self) -> set[str]:
        """Return the digests of all pictures."""
        items = (*self.items, *self.catches, *self.practice)
        return {digest for item in items for digest in (item.original, *item.fills)}
