"""What a model file may hold: one schema of its arrays and words, which checks every field.

In: the arrays of a file and its words (`meta`), as they were read. Out: the words, or the first
fault: the name of the field, and what `calibrate` and `update` would have written. A checksum tells
of accidents alone: whoever edits a file can make it anew, so that nothing here relies on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mcmargin.data.bar_stamps import STAMPS
from mcmargin.data.bars import LAST_WEEKDAY, WEEK_SECONDS, BarCalendar
from mcmargin.data.plausibility import plausibility_from
from mcmargin.data.ranges import PRICE, Range
from mcmargin.data.times import FIRST, utc_time
from mcmargin.data.typed_fields import read_dataclass
from mcmargin.data.zones import check_zone
from mcmargin.errors import DataError, ModelFileError, PolicyError
from mcmargin.models.dependence import check_pair
from mcmargin.models.innovations import BODY_KNOTS, Innovations, empirical_moments
from mcmargin.models.marginals import (
    TABLE_INTERVALS,
    TABLE_WIDTH,
    TAIL_INTERVALS,
    is_scale,
    mixing_table,
    table_nodes,
)
from mcmargin.models.model_values import STATE_FIELDS, VOLATILITY_FIELDS
from mcmargin.models.volatility import VARIANCE_FLOOR

VARIANCE = Range(1e-30, 1e12)
"""Of a bar: deviations from 1e-15 to a million times the price."""

VOLATILITIES = ("garch", "gjr", "egarch", "ewma", "constant")

COEFFICIENT = 1e3
"""Largest coefficient of a recursion in absolute value."""

SLACK = 1e-6
"""What rounding may take off a bound, relative."""

PARAMETERS = {"normal": 0, "t": 1, "skewt": 2, "ged": 1, "empirical": 4 + BODY_KNOTS}
"""How many numbers describe the innovations of each kind."""


@dataclass(frozen=True)
class Meta:
    """The words of a file but for its schema, by the types that they are read with."""

    assets: tuple[str, ...]
    kinds: tuple[str, ...]
    innovations: tuple[str, ...]
    dependence: str
    as_of: dict[str, str]
    calendar: BarCalendar
    facts: dict[str, Any] = field(default_factory=dict)


FIT_FACTS: Mapping[str, Any] = {
    "volatility": str,
    "innovations": str,
    "persistence": float,
    "refused": [str],
    "largest_move": {"return": float, "at": str},
    "weekdays": [int],
    "bar_variance_ratio": float,
    "own_bars": float,
    "residual_mean": float,
    "residual_std": float,
}
FIT_FACTS_NEEDED = ("volatility", "innovations", "persistence", "refused")
UPDATE_FACTS: Mapping[str, Any] = {
    "from": str,
    "to": str,
    "bars": int,
    "lost": int,
    "missing": {str: int},
    "waiting": int,
    "waiting_for": [str],
    "longest": int,
    "longest_to": str,
}
REVISED_FACTS: Mapping[Any, Any] = {
    str: {"count": int, "at": str, "model": float, "prices": float},
}
UPDATE_FACTS_NEEDED = tuple(name for name in UPDATE_FACTS if name != "longest_to")
"""Facts that the program reads, by name: types, lists of them, or tables. Others are only told."""


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
        Naming the first field that `calibrate` and `update` cannot have made.
    """
    words: Meta = read_dataclass(Meta, meta, ModelFileError, defaults=True)
    _check_words(words)
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


def _check_words(words: Meta) -> None:
    if not words.assets:
        _refuse("assets", "is empty; a model has an asset at least")
    for at, asset in enumerate(words.assets):
        if not asset.strip() or asset in words.assets[:at]:
            _refuse(f"assets[{at}]", f"is {asset!r:.60}; every asset has a name of its own")
    for name, each in (("kinds", words.kinds), ("innovations", words.innovations)):
        if len(each) != len(words.assets):
            _refuse(name, f"has {len(each)} entries; one for each of the assets is needed")
    for at, kind in enumerate(words.kinds):
        if kind not in VOLATILITIES:
            _refuse(f"kinds[{at}]", f"is {kind!r:.60}; it is one of {', '.join(VOLATILITIES)}")
    for at, kind in enumerate(words.innovations):
        if kind not in PARAMETERS:
            _refuse(f"innovations[{at}]", f"is {kind!r:.60}; it is one of {', '.join(PARAMETERS)}")
        check_pair(kind, words.dependence)
    if not {"committed"} <= set(words.as_of) <= {"committed", "state"}:
        _refuse("as_of", "needs the time of the committed state, and may have one of the state")
    for name in words.as_of:
        time_of_state(words, name)
    _check_calendar(words.calendar)
    _check_facts(words)


def time_of_state(words: Meta, name: str) -> np.datetime64:
    """Time of the committed or of the provisional state.

    Raises
    ------
    ModelFileError
        If it is none, or before 1678 or after 2261.
    """
    try:
        return utc_time(words.as_of[name])
    except ValueError as error:
        _refuse(f"as_of.{name}", f"is no time: {error}")


def _check_calendar(calendar: BarCalendar) -> None:
    if not 1e-6 <= calendar.days <= 36_500.0:
        _refuse("calendar.days", f"is {calendar.days}; the length of a bar in days is above 0")
    if calendar.mean is not None and not 1e-6 <= calendar.mean <= 36_500.0:
        _refuse("calendar.mean", f"is {calendar.mean}; the days that a bar takes are above 0")
    for name, values, most in (
        ("weekdays", calendar.weekdays, 6),
        ("slots", calendar.slots, 24 * 60 - 1),
    ):
        if list(values) != sorted(set(values)) or any(not 0 <= each <= most for each in values):
            _refuse(f"calendar.{name}", f"must rise, each from 0 to {most}")
    if not calendar.weekdays:
        _refuse("calendar.weekdays", "is empty; bars end on one weekday at least")
    if calendar.slots and calendar.days >= 1.0:
        _refuse("calendar.slots", "are of bars shorter than a day; these are longer")
    last = -1
    for at, (first, step, count) in enumerate(calendar.week):
        # Bounds first: the product of whole numbers of any size takes for ever.
        small = max(first, step, count) <= WEEK_SECONDS and min(first, step, count - 1) >= 0
        if not small or first <= last or (count > 1 and step == 0):
            _refuse(f"calendar.week[{at}]", "is no run of rising seconds of a week")
        last = first + step * (count - 1)
        if last >= WEEK_SECONDS:
            _refuse(f"calendar.week[{at}]", "reaches beyond the week")
    if calendar.week and (calendar.months or calendar.days >= 7.5):
        _refuse("calendar.week", "is of bars of a week or less; these are longer")
    if not 0 <= calendar.months <= 24:
        _refuse("calendar.months", f"is {calendar.months}; bars have 0 to 24 months")
    if calendar.month_day not in range(LAST_WEEKDAY, 32) or (
        (calendar.months == 0) != (calendar.month_day == 0)
    ):
        _refuse("calendar.month_day", "is no day on which bars of months end")
    if calendar.stamps not in ("", *STAMPS):
        _refuse("calendar.stamps", f"is {calendar.stamps!r:.60}; it is one of {', '.join(STAMPS)}")
    if calendar.exchange and not re.fullmatch(r"[\w/.-]{1,30}", calendar.exchange, re.ASCII):
        _refuse("calendar.exchange", f"is {calendar.exchange!r:.60}; no exchange has that name")
    try:
        check_zone(calendar.zone)
    except DataError as error:
        _refuse("calendar.zone", f"is no zone: {error}")


def _check_facts(words: Meta) -> None:
    facts, fits = words.facts, words.facts.get("fits", {})
    for name in ("join", "data_fingerprint"):
        if name in facts:
            _check_fact(f"facts.{name}", facts[name], str)
    _check_fact("facts.versions", facts.get("versions", {}), {str: str})
    _check_fact("facts.fits", fits, {})
    if fits and set(fits) != set(words.assets):
        _refuse("facts.fits", "must name the assets of the model, each once")
    for asset, fit in fits.items():
        where = f"facts.fits.{asset}"
        _check_fact(where, fit, FIT_FACTS, FIT_FACTS_NEEDED)
        if "residual_std" in fit and not fit["residual_std"] > 0.0:
            _refuse(f"{where}.residual_std", "must be above 0")
        at = words.assets.index(asset)
        if (fit["volatility"], fit["innovations"]) != (words.kinds[at], words.innovations[at]):
            _refuse(where, "names another volatility or other innovations than the model has")
        if "largest_move" in fit:
            _check_time(f"{where}.largest_move.at", fit["largest_move"]["at"])
    if "revised" in facts:
        _check_fact("facts.revised", facts["revised"], REVISED_FACTS)
        for asset, each in facts["revised"].items():
            _check_time(f"facts.revised.{asset}.at", each["at"])
    if "plausibility" in facts:
        _check_fact("facts.plausibility", facts["plausibility"], {str: float})
        try:
            plausibility_from(facts["plausibility"], where="facts.plausibility")
        except PolicyError as error:
            raise ModelFileError(str(error)) from None
    if "update" in facts:
        update = facts["update"]
        _check_fact("facts.update", update, UPDATE_FACTS, UPDATE_FACTS_NEEDED)
        for name in ("from", "to", "longest_to"):
            if name in update:
                _check_time(f"facts.update.{name}", update[name])
        for name in ("bars", "lost", "waiting", "longest"):
            if update[name] < 0:
                _refuse(f"facts.update.{name}", "is below 0")
        if set(update["missing"]) != set(words.assets):
            _refuse("facts.update.missing", "must name the assets of the model")


def _check_time(where: str, text: str) -> None:
    try:
        utc_time(text)
    except ValueError as error:
        _refuse(where, f"is no time: {error}")


def _check_fact(where: str, value: Any, kind: Any, needed: tuple[str, ...] = ()) -> None:
    """Check a fact and those within it; a table's names that are not declared are passed over."""
    if isinstance(kind, Mapping):
        if not isinstance(value, dict):
            _refuse(where, f"is {value!r:.60}; a table is needed")
        for name in needed:
            if name not in value:
                _refuse(f"{where}.{name}", "is missing")
        for name, each in value.items():
            if (inner := kind.get(name, kind.get(str))) is not None:
                required = tuple(inner) if isinstance(inner, Mapping) and str not in inner else ()
                _check_fact(f"{where}.{name}", each, inner, required)
    elif isinstance(kind, list):
        if not isinstance(value, list):
            _refuse(where, f"is {value!r:.60}; a list is needed")
        for at, each in enumerate(value):
            _check_fact(f"{where}[{at}]", each, kind[0])
    else:
        kinds = (int, float) if kind is float else kind
        if isinstance(value, bool) or not isinstance(value, kinds):
            words = {str: "text", int: "a whole number", float: "a number"}
            _refuse(where, f"is {value!r:.60}; {words[kind]} is needed")
        if kind is not str and not abs(value) <= 1e300:
            _refuse(where, f"is {value!r:.60}; a finite number is needed")


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
        _refuse(name, f"has the type {array.dtype.str:.60}; {kind} is needed")
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, length) for length, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        asked = ", ".join("any" if each is None else str(each) for each in shape)
        _refuse(name, f"has the shape {array.shape}; ({asked}) is needed")
    if array.dtype.kind == "f" and name not in MAY_BE_INFINITE and not np.isfinite(array).all():
        _refuse(name, "has numbers that are not finite")


def _check_volatility(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    omega, alpha, gamma, beta, sample = (arrays[f"volatility.{name}"] for name in VOLATILITY_FIELDS)
    _in_range("volatility.sample_variance", sample, VARIANCE, words)
    for name in VOLATILITY_FIELDS[:4]:
        _all(f"volatility.{name}", np.abs(arrays[f"volatility.{name}"]) <= COEFFICIENT, words)
    kinds = np.array(words.kinds)
    egarch, constant = kinds == "egarch", kinds == "constant"
    linear = ~egarch
    # arch's optimiser stops on either side of a bound, by rounding.
    _all("volatility.omega", ~linear | (omega >= 0.0), words)
    _all("volatility.omega", ~constant | (omega > 0.0), words)
    _all("volatility.alpha", ~linear | (alpha >= -SLACK), words)
    _all("volatility.gamma", ~linear | (alpha + gamma >= -SLACK), words)
    _all("volatility.gamma", (egarch | (kinds == "gjr")) | (gamma == 0.0), words)
    _all("volatility.beta", ~linear | (beta >= -SLACK), words)
    _all("volatility.beta", np.abs(beta) <= 1.0 + SLACK, words)
    for name, column in (("alpha", alpha), ("beta", beta)):
        _all(f"volatility.{name}", ~constant | (column == 0.0), words)
    share = np.zeros(len(kinds))
    for at in np.flatnonzero(kinds == "gjr"):
        share[at] = Innovations(
            words.innovations[at], arrays[f"innovations.{at}"]
        ).negative_second_moment()
    # By more than this, a variance grows without bound; fits beyond 1 are never used.
    persistence = alpha + beta + gamma * share
    _all("volatility.alpha", ~linear | (persistence <= 1.0 + SLACK), words)


def _check_innovations(name: str, kind: str, parameters: NDArray[np.float64]) -> None:
    if kind in ("t", "skewt") and not 2.0 < parameters[0] <= 1e6:
        _refuse(name, f"has {parameters[0]:g} degrees of freedom; more than 2 are needed")
    if kind == "skewt" and not abs(parameters[1]) < 1.0:
        _refuse(name, f"has a skewness of {parameters[1]:g}; it lies between -1 and 1")
    if kind == "ged" and not 0.1 <= parameters[0] <= 1e3:
        _refuse(name, f"has a shape of {parameters[0]:g}; it lies between 0.1 and 1,000")
    if kind == "empirical":
        shapes, scales, body = parameters[[0, 2]], parameters[[1, 3]], parameters[4:]
        if (shapes >= 0.5).any() or (np.abs(shapes) > 1e3).any() or (scales <= 0.0).any():
            _refuse(name, "has a tail without a variance: shapes are below 1/2, scales above 0")
        if (np.diff(body) < 0.0).any():
            _refuse(name, "has quantiles that fall")
        mean, variance = empirical_moments(body, parameters[:2].tolist(), parameters[2:4].tolist())
        if not (abs(mean) <= SLACK and abs(variance - 1.0) <= SLACK):
            _refuse(name, f"has mean {mean:g} and variance {variance:g}; 0 and 1 are needed")


def _check_dependence(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    factor, diagonal, mixing, dates = (
        arrays[f"dependence.{name}"] for name in ("factor", "diagonal", "mixing", "residuals")
    )
    nu, half_life, shrinkage, lookback = (
        arrays[f"dependence.{name}"].item() for name in ("nu", "half_life", "shrinkage", "lookback")
    )
    count = len(words.assets)
    if len(diagonal) not in (0, count) or (diagonal < 0.0).any():
        _refuse("dependence.diagonal", "must be empty, or 0 or more for each asset")
    if len(diagonal) == 0:
        square = factor.shape == (count, count)
        if not square or np.triu(factor, 1).any() or not (np.diag(factor) > 0.0).all():
            _refuse("dependence.factor", "is not the lower Cholesky factor of a correlation")
    elif not 1 <= factor.shape[1] < count:
        _refuse("dependence.factor", "must have fewer common factors than there are assets")
    own = diagonal**2 if len(diagonal) else 0.0
    if (np.abs((factor**2).sum(axis=1) + own - 1.0) > SLACK).any():
        _refuse("dependence.factor", "has a row whose squares do not add up to 1")
    if words.dependence == "t":
        if not 2.0 < nu <= 1e6:
            _refuse("dependence.nu", f"is {nu:g} degrees of freedom; more than 2 are needed")
        expected = mixing_table(nu)
        if mixing.shape != expected.shape or not np.allclose(mixing, expected, 1e-6, 1e-6):
            _refuse("dependence.mixing", "is not the table of these degrees of freedom")
    else:
        if nu != np.inf:
            _refuse("dependence.nu", f"is {nu:g}; {words.dependence} dependence has none (inf)")
        if len(mixing):
            _refuse("dependence.mixing", f"must be empty for {words.dependence} dependence")
    if not half_life > 0.0:
        _refuse("dependence.half_life", f"is {half_life:g}; it must be above 0 bars")
    if not 0.0 <= shrinkage <= 1.0:
        _refuse("dependence.shrinkage", f"is {shrinkage:g}; it lies from 0 to 1")
    if lookback < 0:
        _refuse("dependence.lookback", f"is {lookback}; it is 0 or more bars")
    if (words.dependence == "historical") != (len(dates) > 0):
        _refuse("dependence.residuals", "must be there for historical dependence, and only then")
    if 0 < lookback < len(dates):
        _refuse("dependence.residuals", f"has {len(dates)} dates; the lookback keeps {lookback}")
    if len(dates) and (np.abs(dates) > 1e6).any():
        _refuse("dependence.residuals", "has a date beyond a million standard deviations")


def _check_tables(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    tables, nu = arrays["tables"], arrays["dependence.nu"].item()
    laws = [
        Innovations(kind, arrays[f"innovations.{at}"]) for at, kind in enumerate(words.innovations)
    ]
    needless = words.dependence == "historical" or all(is_scale(each, nu) for each in laws)
    shape = (0, 0) if needless else (len(laws), TABLE_WIDTH)
    if tables.shape != shape:
        _refuse("tables", f"has the shape {tables.shape}; {shape} is needed")
    if needless:
        return
    body = tables[:, : TABLE_INTERVALS + 1]
    tails = tables[:, TABLE_INTERVALS + 1 :].reshape(len(laws), 2, TAIL_INTERVALS + 1)
    for asset, row in zip(words.assets, np.diff(body), strict=True):
        if (row < 0.0).any():
            _refuse("tables", f"has a transform that falls, of asset {asset!r}")
    for asset, each in zip(words.assets, tails, strict=True):
        if each[:, 0].any() or (np.diff(each) < 0.0).any():
            _refuse("tables", f"has a tail that does not rise from 0, of asset {asset!r}")
    for at, (asset, law) in enumerate(zip(words.assets, laws, strict=True)):
        places, expected = table_nodes(law, nu)
        if not np.allclose(tables[at, places], expected, 1e-5, 1e-7):
            _refuse("tables", f"is not that of the innovations of asset {asset!r}")


def _check_states(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name in words.as_of:
        _in_range(f"{name}.prices", arrays[f"{name}.prices"], PRICE, words)
        variance = arrays[f"{name}.variance"]
        _in_range(f"{name}.variance", variance, VARIANCE, words)
        least = VARIANCE_FLOOR * arrays["volatility.sample_variance"] * (1.0 - SLACK)
        _all(f"{name}.variance", variance >= least, words)
    committed = time_of_state(words, "committed")
    if "state" in words.as_of and not time_of_state(words, "state") > committed:
        _refuse("as_of.state", "is not after the committed state")


def _check_history(words: Meta, arrays: Mapping[str, NDArray[Any]]) -> None:
    times, returns, variances = (
        arrays[f"history.{name}"] for name in ("times", "returns", "variances")
    )
    if np.isnat(times).any() or (np.diff(times) <= np.timedelta64(0, "ns")).any():
        _refuse("history.times", "must be times that rise")
    if len(times) and (times[0] < FIRST or times[-1] != time_of_state(words, "committed")):
        _refuse("history.times", "must end at the time of the committed state")
    if (returns <= -1.0).any() or (returns > 1e12).any():
        _refuse("history.returns", "has a loss of all, or a gain beyond 1e12 times the price")
    if (variances < VARIANCE.least).any() or (variances > VARIANCE.most).any():
        _refuse("history.variances", f"has a variance that does not lie {VARIANCE.words}")


def _in_range(name: str, column: NDArray[Any], allowed: Range, words: Meta) -> None:
    good = (column >= allowed.least) & (column <= allowed.most)
    for at in np.flatnonzero(~good)[:1].tolist():
        _refuse(name, f"is {column[at]:g} for asset {words.assets[at]!r}; it lies {allowed.words}")


def _all(name: str, good: NDArray[np.bool_], words: Meta) -> None:
    for at in np.flatnonzero(~good)[:1].tolist():
        _refuse(
            name,
            f"has for asset {words.assets[at]!r} what no fit of {words.kinds[at]!r} can give",
        )


def _refuse(name: str, what: str) -> NoReturn:
    raise ModelFileError(f"field {name} {what}")
