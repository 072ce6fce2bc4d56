"""Observations of a backtest: what happened, beside what had been forecast for it.

In: profit and loss, value at risk and expected shortfall, one entry a date. Out: the same as
checked arrays of the dates that have all of them, and the result that every test returns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import real_number, require_real_array
from mcmargin.errors import DataError, PolicyError

PASS, FAIL, UNDECIDED = "pass", "fail", "undecided"


@dataclass(frozen=True)
class TestResult:
    """What one test found.

    Attributes
    ----------
    test : str
        Name of the test.
    statistic : float
        NaN where the test cannot be taken.
    p_value : float
        Probability of a statistic at least as unfavourable if the forecasts are right; NaN where
        the test cannot be taken.
    verdict : str
        `pass`; `fail` where the p-value is below the significance level; `undecided` where there
        is nothing to test, as `note` says.
    observations, exceptions : int
        Dates that were tested, and those whose loss exceeded value at risk.
    note : str
        Empty, or why the verdict is to be read with care.
    critical : float
        Statistic below which the verdict is `fail`, where it was simulated (Acerbi and Szekely's
        tests); NaN elsewhere.
    """

    __test__ = False  # pytest takes a class of this name for tests

    test: str
    statistic: float
    p_value: float
    verdict: str
    observations: int
    exceptions: int
    note: str = ""
    critical: float = float("nan")


@dataclass(frozen=True, eq=False)
class Observations:
    """Dates that have profit and loss and all forecasts.

    Attributes
    ----------
    profit_and_loss : ndarray of shape (dates,), float64
        A loss is negative.
    value_at_risk, expected_shortfall : ndarray of shape (dates,), float64
        Losses are positive. Expected shortfall is empty where it was not given.
    left_out : int
        Dates that were left out because a figure was NaN.
    """

    profit_and_loss: NDArray[np.float64]
    value_at_risk: NDArray[np.float64]
    expected_shortfall: NDArray[np.float64]
    left_out: int

    @property
    def exceptions(self) -> NDArray[np.bool_]:
        """Whether each date's loss exceeded its value at risk; a loss equal to it did not."""
        return -self.profit_and_loss > self.value_at_risk


def observations(
    profit_and_loss: Any, value_at_risk: Any, expected_shortfall: Any = None
) -> Observations:
    """Check and pair what happened with what had been forecast.

    A date on which any figure is NaN is left out of all of them, and counted.

    Parameters
    ----------
    profit_and_loss : array_like of shape (dates,)
        A loss is negative.
    value_at_risk : array_like of shape (dates,)
        A loss is positive.
    expected_shortfall : array_like of shape (dates,), optional
        A loss is positive, above 0 and not below value at risk.

    Raises
    ------
    DataError
        For arrays of other shapes, an infinite figure, an expected shortfall that is not above 0
        or is below value at risk, naming the first date by its place.

    Examples
    --------
    >>> found = observations([1.0, -3.0, float("nan")], [2.0, 2.0, 2.0])
    >>> found.exceptions.tolist(), found.left_out
    ([False, True], 1)
    """
    given = {"profit_and_loss": profit_and_loss, "value_at_risk": value_at_risk}
    if expected_shortfall is not None:
        given["expected_shortfall"] = expected_shortfall
    arrays = {name: _series(name, values) for name, values in given.items()}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
        raise DataError(f"backtest: give one figure a date of each: {told}")
    known = ~np.isnan(np.array(list(arrays.values()))).any(axis=0)
    if "expected_shortfall" in arrays:
        _check_shortfall(arrays["value_at_risk"], arrays["expected_shortfall"], known)
    kept = [values[known] for values in arrays.values()]
    none = np.zeros(0)
    return Observations(kept[0], kept[1], kept[2] if len(kept) > 2 else none, int((~known).sum()))


def series(name: str, values: Any) -> NDArray[np.float64]:
    """One figure a date, without those that are NaN.

    Raises
    ------
    DataError
        For what is no series of real numbers, or has an infinite one.
    """
    found = _series(name, values)
    return found[~np.isnan(found)]


def tail_share(level: float) -> float:
    """Share of dates that value at risk of a level leaves to exceptions.

    Raises
    ------
    PolicyError
        If the level does not lie between 0.5 and 1.
    """
    number = real_number("level", level)
    if not 0.5 < number < 1.0:
        raise PolicyError(f"level must lie between 0.5 and 1 (0.99 is 99 %), not {level!r}")
    # 1 - 0.99 is 0.010000000000000009.
    return float(np.round(1.0 - number, 15))


def result(
    test: str,
    statistic: float,
    p_value: float,
    exceptions: NDArray[np.bool_],
    significance: float,
    note: str = "",
) -> TestResult:
    """Put a test's result together, with the verdict at a level of significance."""
    if not 0.0 < real_number("significance", significance) < 1.0:
        raise PolicyError(f"significance must lie between 0 and 1, not {significance!r}")
    verdict = PASS if p_value >= significance else FAIL
    if np.isnan(p_value):
        verdict = UNDECIDED
    return TestResult(
        test,
        float(statistic),
        float(p_value),
        verdict,
        len(exceptions),
        int(exceptions.sum()),
        note,
    )


def ranked(
    test: str,
    statistic: float,
    drawn: NDArray[np.float64],
    exceptions: NDArray[np.bool_],
    significance: float,
) -> TestResult:
    """Put together the result of a test whose statistic is low where forecasts are wrong.

    The p-value is the share of drawn statistics, with the observed one among them, that are at
    most the observed one. The critical value is the drawn statistic below which that share is
    lower than `significance`; NaN where too few were drawn for any to be.
    """
    # Sums in another order differ in their last digits.
    most = statistic + 1e-12 * max(1.0, abs(statistic))
    p_value = (1 + int(np.sum(drawn <= most))) / (1 + len(drawn))
    found = result(test, statistic, p_value, exceptions, significance)
    place = int(np.ceil(significance * (1 + len(drawn)) - 1e-9)) - 2
    critical = float(np.partition(drawn, place)[place]) if place >= 0 else float("nan")
    return replace(found, critical=critical)


def _series(name: str, values: Any) -> NDArray[np.float64]:
    require_real_array(f"backtest: {name}", values)
    found = np.asarray(values, np.float64)
    if found.ndim != 1:
        raise DataError(f"backtest: {name} must be one figure a date, not of shape {found.shape}")
    if np.isinf(found).any():
        at = int(np.argmax(np.isinf(found)))
        raise DataError(f"backtest: {name} of date {at} is infinite")
    return found


def _check_shortfall(
    var: NDArray[np.float64], shortfall: NDArray[np.float64], known: NDArray[np.bool_]
) -> None:
    wrong = known & ~((shortfall > 0.0) & (shortfall >= var))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"backtest: expected_shortfall of date {at} is {shortfall[at]:g}; it must be above 0 "
            f"and not below value_at_risk, which is {var[at]:g}"
        )
