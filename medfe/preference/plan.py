"""Which trials a rater gets, in which order, with which side left: balanced for everybody at once.

A rater's whole session is planned when the rater joins, in one transaction. So these hold at any moment, whoever stops
where, as long as no session expires:

- no two (picture, pair of methods) differ by more than one in the number of raters they were given to;
- within each, left and right differ by at most one;
- within a rater, each method stands left and right equally often, as nearly as the first two allow;
- a picture that came late in earlier sessions comes early in the next, and halves of a session have equal sides.

What an expired or withdrawn session leaves open is given to the next raters first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["main", "catch", "repeat"]
_POOL = 200  # equally good pictures that are looked at for a choice
_GAP = 3  # a repetition comes at the earliest before the third main trial after the first, if so many follow

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Planned:
    """A trial before it is stored.

    Attributes:
        kind: `main`, `catch` or `repeat`.
        item: Place of the picture in the study's items, or its catches.
        left: Place of the method on the left; of a catch trial 0 for the photograph, 1 for the bad filling.
        right: The same for the right.
        repeats: Position in the session of the trial that this one repeats.
    """

    kind: Kind
    item: int
    left: int
    right: int
    repeats: int | None = None


@dataclass(frozen=True)
class History:
    """What was given to earlier raters and is not expired.

    Attributes:
        counts: items×pairs×2 main trials; last axis: the pair's first method left, right.
        lateness: (items,) times that an item came in the second half of a session, minus in the first.
        catch_sides: (catches,) times that the photograph stood left, minus right.
    """

    counts: Counts
    lateness: Counts
    catch_sides: Counts

    @classmethod
    def empty(cls, items: int, pairs: int, catches: int) -> History:
        """Return the history of a study without raters."""
        return cls(np.zeros((items, pairs, 2), int), np.zeros(items, int), np.zeros(catches, int))


def plan_session(
    pairs: Sequence[tuple[int, int]], history: History, *, main: int, catches: int, repeats: int,
    rng: np.random.Generator,
) -> list[Planned]:  # fmt: skip
    """Return a rater's trials, in their order.

    Args:
        pairs: Pairs of methods, first < second.
        history: Earlier trials.
        main: Number of main trials, at most the number of items.
        catches: Number of catch trials.
        repeats: Number of main trials that come again with sides swapped.
        rng: Source of randomness.
    """
    chosen = _choose(pairs, history.counts, main, rng)
    order = _arrange(chosen, history.lateness, rng)
    return _mix_in(order, _catches(history.catch_sides, catches, rng), repeats, rng)


def _choose(pairs: Sequence[tuple[int, int]], counts: Counts, number: int, rng: np.random.Generator) -> list[Planned]:
    """Choose items, for each a pair and its left method: least used first, and sides balanced within the rater."""
    totals = counts.sum(axis=(1, 2))
    by_pair = counts.sum(axis=(0, 2))
    balance = np.zeros(1 + max(second for _, second in pairs), int)  # times left minus times right, by method
    used = np.zeros(len(pairs), int)
    chosen: list[Planned] = []
    for total in np.unique(totals):
        pool = rng.permutation(np.flatnonzero(totals == total))[: max(_POOL, number - len(chosen))].tolist()
        options = [option for item in pool for option in _options(item, counts[item], rng)]
        while options and len(chosen) < number:

            def cost(option: tuple[int, int, int, bool]) -> tuple[int, int, int, bool]:
                _, pair, side, free = option
                left, right = pairs[pair] if side == 0 else pairs[pair][::-1]
                # Change of the sum of squares when left gains one and right loses one; free sides are kept for later.
                return int(balance[left] - balance[right]), int(used[pair]), int(by_pair[pair]), free

            item, pair, side, _ = min(options, key=cost)
            left, right = pairs[pair] if side == 0 else pairs[pair][::-1]
            balance[left] += 1
            balance[right] -= 1
            used[pair] += 1
            chosen.append(Planned("main", item, left, right))
            options = [option for option in options if option[0] != item]
        if len(chosen) == number:
            return chosen
    raise ValueError(f"found {len(totals)} items, expected at least {number}")


def _options(item: int, counts: Counts, rng: np.random.Generator) -> list[tuple[int, int, int, bool]]:
    """Return (item, pair, side of the pair's first method, whether the side is free) that keep the item balanced."""
    by_pair = counts.sum(axis=1)
    options = []
    for pair in rng.permutation(np.flatnonzero(by_pair == by_pair.min())).tolist():
        left, right = counts[pair]
        sides = [0, 1] if left == right else [int(left > right)]
        options += [(item, pair, side, len(sides) == 2) for side in rng.permutation(sides).tolist()]
    return options


def _arrange(chosen: list[Planned], lateness: Counts, rng: np.random.Generator) -> list[Planned]:
    """Order trials: what came late so far comes in the first half; sides are balanced within halves and couples."""
    halves: tuple[list[Planned], list[Planned]] = ([], [])
    odd_one_early = int(rng.integers(2))
    for first_method_left in (0, 1):
        part = [trial for trial in chosen if (trial.left < trial.right) == bool(first_method_left)]
        late_first = sorted(rng.permutation(len(part)).tolist(), key=lambda place: -lateness[part[place].item])
        cut = (len(part) + (odd_one_early ^ first_method_left)) // 2
        halves[0].extend(part[place] for place in late_first[:cut])
        halves[1].extend(part[place] for place in late_first[cut:])
    return [trial for half in halves for trial in _alternate(half, rng)]


def _alternate(trials: list[Planned], rng: np.random.Generator) -> list[Planned]:
    shuffled = [trials[place] for place in rng.permutation(len(trials))]
    sides = [[trial for trial in shuffled if (trial.left < trial.right) is first] for first in (True, False)]
    ordered = []
    while any(sides):
        for side in rng.permutation(2).tolist():
            if sides[side]:
                ordered.append(sides[side].pop())
    return ordered


def _catches(sides: Counts, number: int, rng: np.random.Generator) -> list[Planned]:
    """Return catch trials; within each picture and within the rater the photograph's sides are balanced."""
    free_last = sorted(rng.permutation(len(sides)).tolist(), key=lambda place: sides[place] == 0)[:number]
    trials, balance = [], 0
    for item in free_last:
        lean = int(sides[item]) or balance or int(rng.choice([-1, 1]))
        left, right = (1, 0) if lean > 0 else (0, 1)
        balance += 1 if left == 0 else -1
        trials.append(Planned("catch", item, left, right))
    return [trials[place] for place in rng.permutation(len(trials))]


def _mix_in(main: list[Planned], catches: list[Planned], repeats: int, rng: np.random.Generator) -> list[Planned]:
    """Put catch trials anywhere, and repetitions of trials of the first half into the second."""
    early = max(repeats, len(main) // 2)
    again = rng.permutation(early)[:repeats].tolist()
    # Sort keys: main trial i has i; what is mixed in lies between two of them.
    keyed: list[tuple[float, Planned, int | None]] = [(float(place), trial, None) for place, trial in enumerate(main)]
    for place in again:
        first = main[place]
        lowest = min(max(early, place + _GAP), len(main))
        key = rng.uniform(lowest - 0.5, len(main)) if lowest < len(main) else len(main) + rng.uniform()
        keyed.append((float(key), Planned("repeat", first.item, first.right, first.left), place))
    for number, trial in enumerate(catches):
        stretch = len(main) / len(catches)
        keyed.append((float(rng.uniform(number * stretch, (number + 1) * stretch) - 0.5), trial, None))
    keyed.sort(key=lambda entry: entry[0])
    position = {int(key): place for place, (key, trial, _) in enumerate(keyed) if trial.kind == "main"}
    return [
        trial if origin is None else Planned(trial.kind, trial.item, trial.left, trial.right, position[origin])
        for _, trial, origin in keyed
    ]
