"""Blind preference studies."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from medfe.commands.part import Part
from medfe.errors import MedfeError
from medfe.preference.scenario import Scenario

if TYPE_CHECKING:
    from medfe.preference.store import VoteStore


@dataclass
class Create:
    """Fill the holes with every method and freeze a study."""

    methods: tuple[str, ...]
    """Methods to compare, as for evaluate; the first two are the primary pair."""
    data: Path
    """Folder of photographs."""
    n: int
    """Number of pictures; catch and practice trials take some more photographs."""
    out: Path
    """Folder of the study."""
    part: Annotated[Part, arg(name="")] = field(default_factory=Part)
    masks: str = "irregular"
    """center, irregular, another kind of mask, or a folder of mask files of the images' size."""
    question: Literal["closer", "real"] = "closer"
    """closer: which is closer to the original, which is shown. real: which looks more real, without the original."""
    trials: int = 40
    """Trials a rater, catch trials and repeats among them."""
    target_votes: int = 900
    """Answers after which nobody new is let in and results are shown, shared by all pairs; power plans one pair."""
    catch_share: float = 0.1
    """Share of catch trials: the photograph itself against a visibly bad filling."""
    repeat_share: float = 0.1
    """Share of trials that come again with sides swapped."""
    practice: int = 4
    """Practice trials, with feedback."""
    max_catch_failures: float = 0.25
    """Raters who fail more than this share of the catch trials they answered are left out of the primary result."""
    session_hours: float = 24.0
    """Hours from joining until a rater's open trials fall to others; half an hour for who has not answered at all."""
    title: str | None = None
    """Heading of the page."""
    instructions: Path | None = None
    """Text file: what raters read before they begin."""
    consent: Path | None = None
    """Text file: what raters agree to, and whom they can ask; give a --consent-version with it."""
    consent_version: str = "1"
    """Version of the consent, kept with every rater."""
    image_size: int | None = None
    """Side of the pictures, pixels; default: the models' own, or 256 where no method has one."""
    hole: Literal["white", "black"] = "white"
    """Colour of the hole in mask files."""
    resize_masks: bool = False
    """Resize mask files of another size instead of refusing them."""
    seed: int = 0
    """Seed of masks and of the choice of photographs."""
    device: str | None = None
    """cpu, cuda or mps; default: the best there is."""
    database: str | None = None
    """postgresql://USER:PASSWORD@HOST/NAME; default: MEDFE_STUDY_DATABASE if set, else SQLite in the folder."""

    def run(self) -> None:
        """Make the study."""
        import math

        from medfe.config import parse
        from medfe.preference.definition import Design

        names = (
            "question", "trials", "target_votes", "catch_share", "repeat_share", "practice", "max_catch_failures",
            "session_hours", "consent_version", "seed",
        )  # fmt: skip
        values = {name: getattr(self, name) for name in names}
        texts = {name: getattr(self, name) for name in ("instructions", "consent")}
        values |= {name: _text(name, path) for name, path in texts.items() if path is not None}
        design = parse(Design, values if self.title is None else {**values, "title": self.title})

        from medfe.preference.study import Pictures, create_study

        pictures = Pictures(
            self.methods, self.data, self.masks, self.n, self.image_size, self.hole, self.resize_masks, self.device,
            **vars(self.part),
        )  # fmt: skip
        study = create_study(pictures, design, self.out, _database(self.database))
        raters = -(-design.target_votes // design.main_trials)
        print(
            f"{self.out}: {len(study.items)} pictures, {len(study.methods)} methods; {design.target_votes} answers "
            f"take {raters} raters of {design.trials} trials ({design.main_trials} main, {design.catches} catch, "
            f"{design.repeats} repeated); python -m demo --study {self.out}"
        )
        if len(study.pairs) > 1:
            each = design.target_votes // len(study.pairs)
            print(f"{len(study.pairs)} pairs share them, about {each} answers each; medfe study power plans one pair")
        if design.catches:
            from scipy.stats import binom

            allowed = math.floor(design.max_catch_failures * design.catches)
            by_chance, by_coin = (100 * float(binom.cdf(allowed, design.catches, wrong)) for wrong in (2 / 3, 1 / 2))
            print(
                f"raters who fail more than {100 * design.max_catch_failures:g} % of the catch trials they answer do "
                f"not count; who answers all {design.catches} may fail {allowed}. {by_chance:.0f} % of those who "
                f"answer at random pass, {by_coin:.0f} % of those who choose left or right at random; a larger "
                "--catch-share lets fewer pass"
            )
        else:
            print("without catch trials nobody who answers at random is left out")
        if self.consent is None:
            print("the consent is the built-in text, which names nobody to ask; --consent FILE gives your own")


@dataclass
class Power:
    """Print how many votes show a share of wins (exact binomial test)."""

    share: float = 0.6
    """True share of wins without ties that the study should show."""
    power: float = 0.8
    """Probability to show it."""
    alpha: float = 0.05
    """Level of the test, two-sided."""
    design_effect: float | None = None
    """Variance of the share over that of independent votes; default: from the four settings below."""
    votes_a_rater: float = 1.0
    """Votes of each rater."""
    votes_an_image: float = 1.0
    """Votes on each image."""
    rater_icc: float = 0.0
    """Correlation of two votes of one rater."""
    image_icc: float = 0.0
    """Correlation of two votes on one image."""
    ties: float = 0.0
    """Share of ties to expect, which come on top."""

    def run(self) -> None:
        """Print the number of votes."""
        import math

        from medfe.preference.power import design_effect, votes_needed

        if not 0 <= self.ties < 1:
            raise MedfeError(f"ties: found {self.ties:g}, expected 0 to less than 1")
        effect = self.design_effect
        if effect is None:
            effect = design_effect(self.votes_a_rater, self.votes_an_image, self.rater_icc, self.image_icc)
        size = votes_needed(self.share, self.power, self.alpha, effect)
        print(f"share of wins      {self.share:g} against 0.5, two-sided level {self.alpha:g}")
        print(f"independent votes  {size.independent} for power {self.power:g} (exact binomial: {size.power:.3f})")
        print(f"design effect      {effect:.3g}")
        print(f"votes              {size.votes} without ties")
        print(f"target votes       {math.ceil(round(size.votes / (1 - self.ties), 9))} with {self.ties:.0%} ties")


@dataclass
class Simulate:
    """Simulate studies that nobody took part in, to see whether the intervals hold what they promise."""

    scenario: Annotated[Scenario, arg(name="")] = field(default_factory=Scenario)
    """What every study is like."""
    studies: int = 500
    """Number of studies."""
    seed: int = 0
    """Seed of the simulation."""

    def run(self) -> None:
        """Simulate and print."""
        from medfe.preference.simulation import simulate

        print(simulate(self.scenario, self.studies, self.seed).text())


@dataclass
class OnVotes:
    """Settings of what is done with a study's votes."""

    study: Positional[Path]
    """Folder of the study."""
    database: str | None = None
    """Database of the votes; default: MEDFE_STUDY_DATABASE if set, else SQLite in the folder."""

    def store(self) -> VoteStore:
        """Open the votes."""
        from medfe.preference.database import database_url
        from medfe.preference.folder import load_study
        from medfe.preference.store import VoteStore

        return VoteStore.open(database_url(self.study, _database(self.database)), load_study(self.study))


@dataclass
class Analyse(OnVotes):
    """Analyse a study's votes and write a report."""

    out: Path | None = None
    """HTML file to write; default: report.html in the folder of the study."""
    peek: bool = False
    """Show results before the target number of answers; the report says so."""

    def run(self) -> None:
        """Analyse, write the report and print the primary result."""
        from medfe.preference.run import analyse_study

        out = self.out or self.study / "report.html"
        analysis = analyse_study(self.store(), out, peek=self.peek)
        print(("PEEKED: " if analysis.peeked else "") + analysis.pairs[0].verdict)
        print(out)


@dataclass
class Export(OnVotes):
    """Write a study's votes as CSV and Parquet, with checksums."""

    out: Path | None = None
    """Folder for votes.csv, votes.parquet and export.json; default: export in the folder of the study."""
    peek: bool = False
    """Export before the target number of answers; export.json says so."""

    def run(self) -> None:
        """Export."""
        store = self.store()
        from medfe.preference.export import export_votes

        out = self.out or self.study / "export"
        summary = export_votes(store, out, peek=self.peek)
        print(f"{summary['rows']} votes written to {out}")


@dataclass
class Backup(OnVotes):
    """Copy a study's database into a new SQLite file, while raters go on; keep the file private."""

    out: Path = Path("votes-backup.sqlite")
    """File to write; `medfe study restore` brings it back."""

    def run(self) -> None:
        """Copy."""
        store = self.store()
        from medfe.preference.export import backup

        print(f"{backup(store, self.out)} votes copied to {self.out}")


@dataclass
class Restore(OnVotes):
    """Put a backup in the place of a study's votes; who withdrew since stays withdrawn. Stop the server first."""

    backup: Path = Path("votes-backup.sqlite")
    """What `medfe study backup` wrote."""

    def run(self) -> None:
        """Restore, and say what became of the old votes."""
        from medfe.preference.database import database_url
        from medfe.preference.folder import load_study
        from medfe.preference.restore import restore

        found = restore(self.backup, database_url(self.study, _database(self.database)), load_study(self.study))
        print(f"{found.votes} votes restored" + (f"; the old ones: {found.put_aside}" if found.put_aside else ""))
        if found.withdrawn is None:
            print("there were no old votes that can be read: answers withdrawn after the backup are in it again")
        elif found.withdrawn:
            print(f"{found.withdrawn} withdrew after the backup and stay so; {self.backup} still holds their answers")


@dataclass
class Study:
    """Let people decide, blind: make a study, plan its size, analyse and keep its votes."""

    command: OmitSubcommandPrefixes[
        Annotated[Create, subcommand("create")]
        | Annotated[Power, subcommand("power")]
        | Annotated[Simulate, subcommand("simulate")]
        | Annotated[Analyse, subcommand("analyse")]
        | Annotated[Export, subcommand("export")]
        | Annotated[Backup, subcommand("backup")]
        | Annotated[Restore, subcommand("restore")]
    ]

    def run(self) -> None:
        """Run the subcommand."""
        self.command.run()


def _database(named: str | None) -> str | None:
    return named or os.environ.get("MEDFE_STUDY_DATABASE")


def _text(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MedfeError(f"--{name} {path}: cannot be read ({error})") from None
