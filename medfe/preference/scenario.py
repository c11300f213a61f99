"""What a simulated study is like (see `medfe.preference.simulation`); read without numerical libraries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """A study to simulate."""

    raters: int = 20
    """Raters of a study."""
    images: int = 60
    """Pictures of a study."""
    trials: int = 30
    """Main trials of each rater."""
    share: float = 0.6
    """True share of wins of the first method without ties, over all raters and pictures there could be."""
    rater_sd: float = 0.5
    """Spread of the raters' preferences, standard deviation in logits."""
    image_sd: float = 0.8
    """Spread of the pictures' differences, standard deviation in logits."""
    ties: float = 0.15
    """Share of ties."""
