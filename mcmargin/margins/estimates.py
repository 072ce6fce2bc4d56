"""Estimates: amounts that were taken from simulated paths, and how they move with the paths.

In: tails of losses, each with its standard error. Out: amounts with movements. Estimates can be
added up, scaled, and compared with one another, and the standard error of the result is right even
if they share paths. No amount depends on the movements.

An expected shortfall is an average over paths. Each path moves it by its influence: its excess over
the value at risk, less the mean of all excesses. Paths are put into `GROUPS` groups by their
numbers, and the influences within a group are added up. So a movement is a short vector: its length
is the standard error, and the product of two movements is the covariance of two figures. The groups
add a standard error of (1 - r**2) / sqrt(GROUPS) to a correlation r; the standard error of a single
tail is exact.

The larger of two estimates is treated as the larger of two correlated normals (Clark 1961): each
movement counts by the probability that its estimate is the larger. The rest, which no movement
explains, is put into a column of its own.

References
----------
Clark (1961), The greatest of a finite set of random variables, Operations Research 9, 145-162.
Hong and Liu (2009), Simulating sensitivities of conditional value at risk, Management Science 55:
the influence of a path on an expected shortfall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mcmargin.numerics.arrays import to_host
from mcmargin.numerics.tail import Tails

GROUPS = 256
"""Groups of paths within which influences are added up."""

FAR = 7.5
"""Distance in standard errors from which on the larger of two estimates is certain."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """Amounts, and how each of them moves with the paths.

    Attributes
    ----------
    amounts : ndarray of shape (n,), float64
    moves : ndarray of shape (n, groups), float64
        By how much each group of paths moves an amount; it has no columns where nothing moves.
    rest : ndarray of shape (n, kinks), float64
        Standard errors that the movements do not explain, one column for each comparison.
    """

    amounts: NDArray[np.float64]
    moves: NDArray[np.float64]
    rest: NDArray[np.float64]

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard errors of the amounts; float64 [n]."""
        return np.asarray(np.sqrt(_squares(self.moves) + _squares(self.rest)))


def fixed(amounts: NDArray[np.float64]) -> Estimate:
    """Amounts that do not move with the paths.

    Examples
    --------
    >>> fixed(np.array([3.0])).error.tolist()
    [0.0]
    """
    none = np.zeros((len(amounts), 0))
    return Estimate(amounts, none, none)


def alone(amounts: NDArray[np.float64], errors: NDArray[np.float64]) -> Estimate:
    """Amounts with their standard errors, where nobody asks how they move with one another.

    Parameters
    ----------
    amounts, errors : ndarray of shape (n,), float64
    """
    return Estimate(amounts, errors[:, None], np.zeros((len(amounts), 0)))


def movements(
    tails: Tails, errors: NDArray[np.float64], *, of: str = "expected_shortfall"
) -> NDArray[np.float64]:
    """How the tails' figures move with the paths; float64 [accounts, GROUPS].

    Parameters
    ----------
    tails : Tails
    errors : ndarray of shape (accounts,), float64
        Standard errors of the figures, which become the lengths of the movements.
    of : str
        `expected_shortfall`: a path moves it by its excess over the value at risk. Or
        `value_at_risk`: every path of the tail moves it by the same amount.

    Examples
    --------
    >>> from mcmargin.numerics.tail import estimate_tails
    >>> tails = estimate_tails(np.random.default_rng(1).normal(size=(2, 1000)), level=0.9)
    >>> moves = movements(tails, tails.expected_shortfall_error)
    >>> moves.shape, np.allclose(np.linalg.norm(moves, axis=1), tails.expected_shortfall_error)
    ((2, 256), True)
    """
    count, length = tails.paths.shape
    group = to_host(tails.paths) % GROUPS
    cells = (np.arange(count)[:, None] * GROUPS + group).ravel()
    weights = tails.excesses if of == "expected_shortfall" else np.ones((count, length))
    flat_sums = np.bincount(cells, weights.ravel(), count * GROUPS).astype(np.float64)
    sums = flat_sums.reshape(count, GROUPS)
    sums -= sums.mean(axis=1, keepdims=True)
    sizes = np.sqrt(_squares(sums))
    # A tail of one path has no excess: the figure moves with that path.
    flat = sizes <= 1e-12 * np.abs(tails.expected_shortfall)
    sums[flat] = 0.0
    sums[flat, group[flat, 0]] = sizes[flat] = 1.0
    return np.asarray(sums * (errors / sizes)[:, None])


def tail_estimate(
    tails: Tails, *, together: bool = True, of: str = "expected_shortfall"
) -> Estimate:
    """Expected shortfall or value at risk of tails, one row an account.

    Parameters
    ----------
    tails : Tails
    together : bool
        Whether movements are wanted; if not, the estimate has standard errors alone.
    of : str
        As for `movements`.
    """
    amounts, errors = getattr(tails, of), getattr(tails, f"{of}_error")
    if not together:
        return alone(amounts, errors)
    return Estimate(amounts, movements(tails, errors, of=of), np.zeros((len(amounts), 0)))


def collapsed(estimate: Estimate) -> Estimate:
    """The same amounts with their standard errors, but without movements."""
    return alone(estimate.amounts, estimate.error)


def plus(*estimates: Estimate) -> Estimate:
    """Sum of estimates, row by row, added up in the given order.

    Examples
    --------
    >>> one = alone(np.array([1.0]), np.array([0.5]))
    >>> plus(one, one).error.tolist(), minus(one, one).error.tolist()
    ([1.0], [0.0])
    """
    total = estimates[0]
    for each in estimates[1:]:
        total = Estimate(
            total.amounts + each.amounts,
            _added(total.moves, each.moves),
            _added(total.rest, each.rest),
        )
    return total


def minus(first: Estimate, second: Estimate) -> Estimate:
    """The first estimate minus the second, row by row."""
    return plus(first, times(-1.0, second))


def times(factor: Any, estimate: Estimate) -> Estimate:
    """An estimate times one number, or times one number for each row."""
    column = np.asarray(factor, np.float64).reshape(-1, 1)
    return Estimate(factor * estimate.amounts, column * estimate.moves, column * estimate.rest)


def larger(first: Estimate, second: Estimate, kink: int) -> Estimate:
    """The larger of two estimates, row by row.

    Parameters
    ----------
    first, second : Estimate
    kink : int
        Column for the part that the movements do not explain; each comparison has its own.

    References
    ----------
    Clark (1961). With a the standard error of the difference, d the difference over a, and T the
    part of the difference that is above 0: var T = a**2 [(d**2 + 1) N(d) + d n(d) - (d N(d) +
    n(d))**2], of which the movements explain a**2 N(d)**2.

    Examples
    --------
    >>> one, two = alone(np.array([1.0]), np.array([1.0])), fixed(np.array([1.0]))
    >>> round(float(larger(one, two, 0).error[0] ** 2), 4), round(0.5 - 0.5 / np.pi, 4)
    (0.3408, 0.3408)
    """
    amounts = np.maximum(first.amounts, second.amounts)
    apart = minus(first, second)
    size = apart.error
    # If both move together, the one that is larger now is always the larger. A probability below
    # one in a million million counts as 0.
    still = ~(size > 1e-12 * np.maximum(first.error, second.error))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.clip(apart.amounts / size, -FAR, FAR)
    ratio = np.where(still, np.where(apart.amounts > 0, FAR, -FAR), ratio)
    certain = np.abs(ratio) >= FAR
    share = (ratio > 0).astype(np.float64)
    beside = np.zeros((len(amounts), kink + 1))
    if not certain.all():
        share = np.where(certain, share, ndtr(ratio))
        density = np.exp(-0.5 * ratio**2) / np.sqrt(2.0 * np.pi)
        mean = ratio * share + density
        unexplained = (ratio**2 + 1.0) * share + ratio * density - mean**2 - share**2
        beside[:, kink] = np.where(certain, 0.0, size * np.sqrt(np.maximum(unexplained, 0.0)))
    moved = _added(share[:, None] * apart.moves, second.moves)
    rest = _added(_added(share[:, None] * apart.rest, second.rest), beside)
    return Estimate(amounts, moved, rest)


def smaller(first: Estimate, second: Estimate, kink: int) -> Estimate:
    """The smaller of two estimates, row by row; see `larger`."""
    return times(-1.0, larger(times(-1.0, first), times(-1.0, second), kink))


def chosen(first: Estimate, second: Estimate, which: NDArray[np.bool_]) -> Estimate:
    """Rows of the first estimate where `which` is true, and of the second elsewhere."""
    column = which[:, None].astype(np.float64)
    return Estimate(
        np.where(which, first.amounts, second.amounts),
        _added(column * first.moves, (1.0 - column) * second.moves),
        _added(column * first.rest, (1.0 - column) * second.rest),
    )


def summed_by_row(
    estimate: Estimate,
    row: NDArray[np.int64],
    rows: int,
    weights: NDArray[np.float64] | None = None,
) -> Estimate:
    """Sums of estimates by row: movements add up, and the squares of the rest add up.

    Parameters
    ----------
    estimate : Estimate
    row : ndarray of shape (n,), int64
        The row that each amount belongs to.
    rows : int
    weights : ndarray of shape (n,), float64, optional
    """
    if weights is not None:
        estimate = times(weights, estimate)
    amounts = np.bincount(row, estimate.amounts, rows).astype(np.float64)
    if len(row) == rows and (row == np.arange(rows)).all():
        return Estimate(amounts, estimate.moves, estimate.rest)
    moves = np.zeros((rows, estimate.moves.shape[1]))
    rest = np.zeros((rows, estimate.rest.shape[1]))
    np.add.at(moves, row, estimate.moves)
    np.add.at(rest, row, estimate.rest**2)
    return Estimate(amounts, moves, np.sqrt(rest))


def with_kink(estimate: Estimate, kink: int) -> Estimate:
    """The same estimates, with all that the movements do not explain in one column."""
    rest = np.zeros((len(estimate.amounts), kink + 1))
    rest[:, kink] = np.sqrt(_squares(estimate.rest))
    return Estimate(estimate.amounts, estimate.moves, rest)


def with_rows(estimate: Estimate, rows: NDArray[np.int64], part: Estimate) -> Estimate:
    """The same estimates, with some rows replaced.

    Parameters
    ----------
    estimate : Estimate
    rows : ndarray of shape (m,), int64
    part : Estimate
        The new rows.
    """
    arrays = []
    for name in ("moves", "rest"):
        old, new = getattr(estimate, name), getattr(part, name)
        out = np.zeros((len(old), max(old.shape[1], new.shape[1])))
        out[:, : old.shape[1]] = old
        out[rows] = 0.0
        out[rows, : new.shape[1]] = new
        arrays.append(out)
    amounts = estimate.amounts.copy()
    amounts[rows] = part.amounts
    return Estimate(amounts, *arrays)


def rows_of(estimate: Estimate, rows: Any) -> Estimate:
    """Some rows of an estimate, in the order of `rows`."""
    return Estimate(estimate.amounts[rows], estimate.moves[rows], estimate.rest[rows])


def joined(parts: Sequence[Estimate]) -> Estimate:
    """Rows of several estimates, one after the other; missing columns are filled with zeros."""
    if len(parts) == 1:
        return parts[0]
    return Estimate(
        np.concatenate([part.amounts for part in parts]),
        _stacked([part.moves for part in parts]),
        _stacked([part.rest for part in parts]),
    )


def _stacked(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    out = np.zeros((sum(map(len, arrays)), max(array.shape[1] for array in arrays)))
    start = 0
    for array in arrays:
        out[start : start + len(array), : array.shape[1]] = array
        start += len(array)
    return out


def together_with(first: Estimate, second: Estimate) -> Estimate:
    """Sum of two accounts' estimates: movements add up, and the squares of the rest add up."""
    total = plus(first, second)
    return Estimate(total.amounts, total.moves, np.sqrt(_added(first.rest**2, second.rest**2)))


def _added(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of two arrays; columns that one of them lacks count as zeros."""
    short, long = sorted((first, second), key=lambda each: each.shape[1])
    if short.shape[1] in (0, long.shape[1]):
        return long if short.shape[1] == 0 else first + second
    total = long.copy()
    total[:, : short.shape[1]] += short
    return total


def _squares(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->i", array, array))
