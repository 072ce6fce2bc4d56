"""The arrays of a model file: their types and shapes, and what `calibrate` can have written.

In: the arrays of a file and its words (`meta`), as they were read. Out: the words, or a
`ModelFileError` that names the first field at fault. Nothing here relies on the checksum, since
whoever edits a file can write a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.ranges import PRICE, Range
from mcmargin.data.times import FIRST
from mcmargin.errors import ModelFileError
from mcmargin.models.innovations import PARAMETERS, Innovations, empirical_moments
from mcmargin.models.marginals import (
    TABLE_INTERVALS,
    TABLE_WIDTH,
    TAIL_INTERVALS,
    is_scale,
    mixing_table,
    table_nodes,
)
from mcmargin.models.model_meta import Meta, read_meta, refuse, time_of_state
from mcmargin.models.model_values import STATE_FIELDS, VOLATILITY_FIELDS
from mcmargin.models.volatility import COEFFICIENTS, KINDS, VARIANCE_FLOOR, Recursion

VARIANCE = Range(1e-30, 1e12)
"""Variance of a bar: standard deviations from 1e-15 to a million times the price."""

COEFFICIENT = 1e3
"""Largest absolute value of a coefficient of a recursion."""

SLACK = 1e-6
"""Relative amount by which rounding may exceed a bound."""


def check_model(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Meta:
    """Check everything that a model file holds.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        All entries but the checksum and `meta`.
    meta : mapping
        The words of the file.

    Returns
    -------
    Meta

    Raises
    ------
    ModelFileError
        It names the first field that `calibrate` and `update` cannot have made.
    """
    words = read_meta(meta)
    wanted = _shapes(words, arrays)
    for name in sorted(set(wanted) ^ set(arrays)):
        what = "is missing" if name in wanted else "is unknown"
        raise ModelFileError(f"field {name} {what}")
    for name, (kind, shape) in wanted.items():
        _check_array(name, arrays[name], kind, shape)
    _check_volatility(words, arrays)
    for number, kind in enumerate(words.innovations):
        _check_innovations(f"innovations.{number}", kind, arrays[f"innovations.{number}"])
    _check_dependence(words, arrays)
    _check_tables(words, arrays)
    _check_states(words, arrays)
    _check_history(words, arrays)
    return words


def _shapes(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> dict[str, tuple[str, Any]]:
    """Type and shape of every array; None is any length."""
    count = len(words.assets)
    states = [f"{name}.{each}" for name in words.as_of for each in STATE_FIELDS]
    columns = [f"volatility.{name}" for name in VOLATILITY_FIELDS]
    shapes: dict[str, tuple[str, Any]] = dict.fromkeys([*states, *columns], ("<f8", (count,)))
    for number, kind in enumerate(words.innovations):
        shapes[f"innovations.{number}"] = ("<f8", (PARAMETERS[kind],))
    for name in ("nu", "half_life", "shrinkage"):
        shapes[f"dependence.{name}"] = ("<f8", ())
    shapes["dependence.lookback"] = ("<i8", ())
    shapes["dependence.factor"] = ("<f8", (count, None))
    shapes["dependence.diagonal"] = ("<f8", (None,))
    shapes["dependence.mixing"] = ("<f8", (None,))
    shapes["dependence.residuals"] = ("<f8", (None, count))
    shapes["tables"] = ("<f8", (None, None))
    times = arrays.get("history.times", np.empty(0))
    bars = len(times) if times.ndim else None
    shapes["history.times"] = ("<M8[ns]", (None,))
    shapes["history.returns"] = shapes["history.variances"] = ("<f8", (bars, count))
    return shapes


MAY_BE_INFINITE = ("dependence.nu", "dependence.half_life")


def _check_array(name: str, array: NDArray[Any], kind: str, shape: tuple[Any, ...]) -> None:
    if array.dtype != np.dtype(kind):
        refuse(name, f"has the type {array.dtype.str:.60}; {kind} is needed")
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, length) for length, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        asked = ", ".join("any" if each is None else str(each) for each in shape)
        refuse(name, f"has the shape {array.shape}; ({asked}) is needed")
    if array.dtype.kind == "f" and name not in MAY_BE_INFINITE and not np.isfinite(array).all():
        refuse(name, "has numbers that are not finite")


def _check_volatility(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    columns = {name: arrays[f"volatility.{name}"] for name in COEFFICIENTS}
    rules = [KINDS[kind] for kind in words.kinds]
    _in_range("volatility.sample_variance", arrays["volatility.sample_variance"], VARIANCE, words)
    for name, column in columns.items():
        _all(f"volatility.{name}", np.abs(column) <= COEFFICIENT, words)
        # A coefficient that a kind does not have is 0.
        own = [name in each.coefficients for each in rules]
        _all(f"volatility.{name}", np.array(own) | (column == 0.0), words)
    omega, alpha, gamma, beta = columns.values()
    linear = np.array([each.recursion is Recursion.LINEAR for each in rules])
    moves = np.array([each.moves for each in rules])
    # arch's optimiser stops on either side of a bound, by rounding.
    _all("volatility.omega", ~linear | (omega >= 0.0), words)
    _all("volatility.omega", moves | (omega > 0.0), words)
    _all("volatility.alpha", ~linear | (alpha >= -SLACK), words)
    _all("volatility.gamma", ~linear | (alpha + gamma >= -SLACK), words)
    _all("volatility.beta", ~linear | (beta >= -SLACK), words)
    _all("volatility.beta", np.abs(beta) <= 1.0 + SLACK, words)
    share = np.zeros(len(words.kinds))
    for at in np.flatnonzero(linear & (gamma != 0.0)):
        law = Innovations(words.innovations[at], arrays[f"innovations.{at}"])
        share[at] = law.negative_second_moment()
    # A variance of a higher persistence grows without bound; `fit_asset` uses no such fit.
    persistence = alpha + beta + gamma * share
    _all("volatility.alpha", ~linear | (persistence <= 1.0 + SLACK), words)


def _check_innovations(name: str, kind: str, parameters: NDArray[np.float64]) -> None:
    if kind in ("t", "skewt") and not 2.0 < parameters[0] <= 1e6:
        refuse(name, f"has {parameters[0]:g} degrees of freedom; more than 2 are needed")
    if kind == "skewt" and not abs(parameters[1]) < 1.0:
        refuse(name, f"has a skewness of {parameters[1]:g}; it lies between -1 and 1")
    if kind == "ged" and not 0.1 <= parameters[0] <= 1e3:
        refuse(name, f"has a shape of {parameters[0]:g}; it lies between 0.1 and 1,000")
    if kind == "empirical":
        shapes, scales, body = parameters[[0, 2]], parameters[[1, 3]], parameters[4:]
        if (shapes >= 0.5).any() or (np.abs(shapes) > 1e3).any() or (scales <= 0.0).any():
            refuse(name, "has a tail without a variance: shapes are below 1/2, scales above 0")
        if (np.diff(body) < 0.0).any():
            refuse(name, "has quantiles that fall")
        mean, variance = empirical_moments(body, parameters[:2].tolist(), parameters[2:4].tolist())
        if not (abs(mean) <= SLACK and abs(variance - 1.0) <= SLACK):
            refuse(name, f"has mean {mean:g} and variance {variance:g}; 0 and 1 are needed")


def _check_dependence(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    factor, diagonal, mixing, dates = (
        arrays[f"dependence.{name}"] for name in ("factor", "diagonal", "mixing", "residuals")
    )
    nu, half_life, shrinkage, lookback = (
        arrays[f"dependence.{name}"].item() for name in ("nu", "half_life", "shrinkage", "lookback")
    )
    count = len(words.assets)
    if len(diagonal) not in (0, count) or (diagonal < 0.0).any():
        refuse("dependence.diagonal", "must be empty, or 0 or more for each asset")
    if len(diagonal) == 0:
        square = factor.shape == (count, count)
        if not square or np.triu(factor, 1).any() or not (np.diag(factor) > 0.0).all():
            refuse("dependence.factor", "is not the lower Cholesky factor of a correlation")
    elif not 1 <= factor.shape[1] < count:
        refuse("dependence.factor", "must have fewer common factors than there are assets")
    own = diagonal**2 if len(diagonal) else 0.0
    if (np.abs((factor**2).sum(axis=1) + own - 1.0) > SLACK).any():
        refuse("dependence.factor", "has a row whose squares do not add up to 1")
    if words.dependence == "t":
        if not 2.0 < nu <= 1e6:
            refuse("dependence.nu", f"is {nu:g} degrees of freedom; more than 2 are needed")
        expected = mixing_table(nu)
        if mixing.shape != expected.shape or not np.allclose(mixing, expected, 1e-6, 1e-6):
            refuse("dependence.mixing", "is not the table of these degrees of freedom")
    else:
        if nu != np.inf:
            refuse("dependence.nu", f"is {nu:g}; {words.dependence} dependence has none (inf)")
        if len(mixing):
            refuse("dependence.mixing", f"must be empty for {words.dependence} dependence")
    if not half_life > 0.0:
        refuse("dependence.half_life", f"is {half_life:g}; it must be above 0 bars")
    if not 0.0 <= shrinkage <= 1.0:
        refuse("dependence.shrinkage", f"is {shrinkage:g}; it lies from 0 to 1")
    if lookback < 0:
        refuse("dependence.lookback", f"is {lookback}; it is 0 or more bars")
    if (words.dependence == "historical") != (len(dates) > 0):
        refuse("dependence.residuals", "must be there for historical dependence, and only then")
    if 0 < lookback < len(dates):
        refuse("dependence.residuals", f"has {len(dates)} dates; the lookback keeps {lookback}")
    if len(dates) and (np.abs(dates) > 1e6).any():
        refuse("dependence.residuals", "has a date beyond a million standard deviations")


def _check_tables(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    tables, nu = arrays["tables"], arrays["dependence.nu"].item()
    laws = [
        Innovations(kind, arrays[f"innovations.{at}"]) for at, kind in enumerate(words.innovations)
    ]
    needless = words.dependence == "historical" or all(is_scale(each, nu) for each in laws)
    shape = (0, 0) if needless else (len(laws), TABLE_WIDTH)
    if tables.shape != shape:
        refuse("tables", f"has the shape {tables.shape}; {shape} is needed")
    if needless:
        return
    body = tables[:, : TABLE_INTERVALS + 1]
    tails = tables[:, TABLE_INTERVALS + 1 :].reshape(len(laws), 2, TAIL_INTERVALS + 1)
    for asset, row in zip(words.assets, np.diff(body), strict=True):
        if (row < 0.0).any():
            refuse("tables", f"has a transform that falls, of asset {asset!r}")
    for asset, each in zip(words.assets, tails, strict=True):
        if each[:, 0].any() or (np.diff(each) < 0.0).any():
            refuse("tables", f"has a tail that does not rise from 0, of asset {asset!r}")
    for at, (asset, law) in enumerate(zip(words.assets, laws, strict=True)):
        places, expected = table_nodes(law, nu)
        if not np.allclose(tables[at, places], expected, 1e-5, 1e-7):
            refuse("tables", f"is not that of the innovations of asset {asset!r}")


def _check_states(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name in words.as_of:
        _in_range(f"{name}.prices", arrays[f"{name}.prices"], PRICE, words)
        variance = arrays[f"{name}.variance"]
        _in_range(f"{name}.variance", variance, VARIANCE, words)
        least = VARIANCE_FLOOR * arrays["volatility.sample_variance"] * (1.0 - SLACK)
        _all(f"{name}.variance", variance >= least, words)
    committed = time_of_state(words, "committed")
    if "state" in words.as_of and not time_of_state(words, "state") > committed:
        refuse("as_of.state", "is not after the committed state")


def _check_history(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    times, returns, variances = (
        arrays[f"history.{name}"] for name in ("times", "returns", "variances")
    )
    if np.isnat(times).any() or (np.diff(times) <= np.timedelta64(0, "ns")).any():
        refuse("history.times", "must be times that rise")
    if len(times) and (times[0] < FIRST or times[-1] != time_of_state(words, "committed")):
        refuse("history.times", "must end at the time of the committed state")
    if (returns <= -1.0).any() or (returns > 1e12).any():
        refuse("history.returns", "has a loss of all, or a gain beyond 1e12 times the price")
    if (variances < VARIANCE.least).any() or (variances > VARIANCE.most).any():
        refuse("history.variances", f"has a variance that does not lie {VARIANCE.words}")


def _in_range(name: str, column: NDArray[Any], allowed: Range, words: Meta) -> None:
    good = (column >= allowed.least) & (column <= allowed.most)
    for at in np.flatnonzero(~good)[:1].tolist():
        refuse(name, f"is {column[at]:g} for asset {words.assets[at]!r}; it lies {allowed.words}")


def _all(name: str, good: NDArray[np.bool_], words: Meta) -> None:
    for at in np.flatnonzero(~good)[:1].tolist():
        refuse(
            name,
            f"has a value for asset {words.assets[at]!r} that no fit of {words.kinds[at]!r} gives",
        )
