"""What the server of a study answers.

Before an answer nothing tells the methods apart: both pictures come in one reply, as files of equal length without
metadata, and a trial is called by a random number.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from medfe.preference.definition import Item, Study
from medfe.preference.folder import read_picture
from medfe.preference.records import Answer, RefusedError, Session, Trial
from medfe.preference.store import VoteStore

RandomName = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
ChoiceName = Literal["left", "tie", "right"]


class Body(BaseModel):
    """Body of a request; anything unexpected in it is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class JoinBody(Body):
    """Consent of a new rater."""

    consent_version: Annotated[str, Field(max_length=40)]
    request: RandomName | None = None


class PracticeBody(Body):
    """Answer to a practice trial; it is not stored."""

    choice: ChoiceName


class CorrectionBody(Body):
    """Another answer to the last trial."""

    trial: RandomName
    request: RandomName
    choice: ChoiceName


class VoteBody(CorrectionBody):
    """Answer to a trial."""

    milliseconds: Annotated[int, Field(ge=0, lt=2**31)]
    width: Annotated[int, Field(ge=1, lt=100_000)]
    height: Annotated[int, Field(ge=1, lt=100_000)]
    pixel_ratio: Annotated[float, Field(gt=0, lt=100, strict=False)]
    zoomed: bool


@dataclass(frozen=True)
class LabelServer:
    """Answers of the server; every method takes a request's token and body, and returns what is sent.

    Attributes:
        folder: Of the study.
        study: Definition.
        store: Votes.
    """

    folder: Path
    study: Study
    store: VoteStore

    def describe(self, _token: str, _body: None) -> dict[str, Any]:
        """Return what everyone may read."""
        design, question = self.study.design, self.study.question
        return {
            "title": design.title, "question": question.text, "answers": list(question.answers),
            "shows_original": question.shows_original, "instructions": design.instructions, "consent": design.consent,
            "consent_version": design.consent_version, "trials": design.trials, "practice": design.practice,
            "size": self.study.image_size, "created": self.study.created,
        }  # fmt: skip

    def join(self, _token: str, body: JoinBody) -> dict[str, Any]:
        """Let a new rater in."""
        return {"token": self.store.join(body.consent_version, request=body.request)}

    def progress(self, token: str, _body: None) -> dict[str, Any]:
        """Tell how far a rater is."""
        return _progress(self.store.session(token))

    def practice(self, token: str, _body: None, number: str) -> dict[str, Any]:
        """Return the pictures of a practice trial."""
        self.store.session(token)
        item, photograph_left = self._practice(token, number)
        pair = (item.original, item.fills[0])
        return self._pictures(item, *(pair if photograph_left else pair[::-1]))

    def answer_practice(self, token: str, body: PracticeBody, number: str) -> dict[str, Any]:
        """Tell which of a practice trial was the photograph."""
        self.store.session(token)
        _, photograph_left = self._practice(token, number)
        side = "left" if photograph_left else "right"
        return {"photograph": side, "correct": body.choice == side}

    def next_trial(self, token: str, _body: None) -> dict[str, Any]:
        """Return the next trial, or that there is none."""
        trial = self.store.next_trial(token)
        return {"finished": True} if trial is None else self._trial(trial)

    def last_trial(self, token: str, _body: None) -> dict[str, Any]:
        """Return the trial that may be corrected."""
        trial = self.store.last_trial(token)
        if trial is None:
            raise RefusedError("not shown", "There is no answer to change yet.")
        return self._trial(trial)

    def vote(self, token: str, body: VoteBody) -> dict[str, Any]:
        """Keep an answer; what returns says that it has been committed."""
        answer = Answer(
            body.request, body.choice, body.milliseconds, (body.width, body.height), body.pixel_ratio, body.zoomed
        )
        return {"saved": True, **_progress(self.store.vote(token, body.trial, answer))}

    def correct(self, token: str, body: CorrectionBody) -> dict[str, Any]:
        """Keep a correction; what returns says that it has been committed."""
        session = self.store.correct(token, body.trial, body.request, body.choice)
        return {"saved": True, **_progress(session)}

    def withdraw(self, token: str, _body: None) -> dict[str, Any]:
        """Delete a rater's answers."""
        self.store.withdraw(token)
        return {"withdrawn": True}

    def _practice(self, token: str, number: str) -> tuple[Item, bool]:
        places = {str(place): place for place in range(self.study.design.practice)}
        if number not in places:
            raise RefusedError("trial", "There is no such practice trial.")
        place = places[number]
        return self.study.practice[place], int(token[place % 32], 16) % 2 == 0  # digits of a random name

    def _trial(self, trial: Trial) -> dict[str, Any]:
        if trial.kind == "catch":
            item = self.study.catches[trial.item]
            choices: tuple[str, ...] = (item.original, item.fills[0])
        else:
            item = self.study.items[trial.item]
            choices = item.fills
        head = {"trial": trial.name, "position": trial.position, "total": self.study.design.trials}
        return {**head, **self._pictures(item, choices[trial.left], choices[trial.right])}

    def _pictures(self, item: Item, left: str, right: str) -> dict[str, Any]:
        digests = {"left": left, "right": right}
        if self.study.question.shows_original:
            digests["original"] = item.original
        return {name: _data(read_picture(self.folder, digest)) for name, digest in digests.items()}


def _progress(session: Session) -> dict[str, Any]:
    return {"answered": session.answered, "total": session.total, "expired": session.expired}


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
