"""The words of a model file: their types, and what `calibrate` and `update` can have written.

In: the decoded JSON of a file's `meta`. Out: `Meta`, or a `ModelFileError` that names the first
field at fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from mcmargin.data.bar_stamps import STAMPS
from mcmargin.data.bars import LAST_WEEKDAY, WEEK_SECONDS, BarCalendar
from mcmargin.data.plausibility import plausibility_from
from mcmargin.data.times import utc_time
from mcmargin.data.typed_fields import read_dataclass
from mcmargin.data.zones import check_zone
from mcmargin.errors import DataError, ModelFileError, PolicyError
from mcmargin.models.dependence import check_pair
from mcmargin.models.innovations import PARAMETERS
from mcmargin.models.volatility import KINDS


@dataclass(frozen=True)
class Meta:
    """The words of a model file without its schema, with the type of each."""

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
"""Facts that the program reads, by name: a type, a list of one type, or a table. Other facts are
only shown."""


def read_meta(meta: Mapping[str, Any]) -> Meta:
    """Check the words of a model file.

    Raises
    ------
    ModelFileError
        It names the first field at fault.
    """
    words: Meta = read_dataclass(Meta, meta, ModelFileError, defaults=True)
    if not words.assets:
        refuse("assets", "is empty; a model has an asset at least")
    for at, asset in enumerate(words.assets):
        if not asset.strip() or asset in words.assets[:at]:
            refuse(f"assets[{at}]", f"is {asset!r:.60}; every asset has a name of its own")
    for name, each in (("kinds", words.kinds), ("innovations", words.innovations)):
        if len(each) != len(words.assets):
            refuse(name, f"has {len(each)} entries; one for each of the assets is needed")
    for at, kind in enumerate(words.kinds):
        if kind not in KINDS:
            refuse(f"kinds[{at}]", f"is {kind!r:.60}; it is one of {', '.join(KINDS)}")
    for at, kind in enumerate(words.innovations):
        if kind not in PARAMETERS:
            refuse(f"innovations[{at}]", f"is {kind!r:.60}; it is one of {', '.join(PARAMETERS)}")
        check_pair(kind, words.dependence)
    if not {"committed"} <= set(words.as_of) <= {"committed", "state"}:
        refuse("as_of", "needs the time of the committed state, and may have one of the state")
    for name in words.as_of:
        time_of_state(words, name)
    _check_calendar(words.calendar)
    _check_facts(words)
    return words


def time_of_state(words: Meta, name: str) -> np.datetime64:
    """Time of a state, `committed` or `state`.

    Raises
    ------
    ModelFileError
        If it is not a time, or lies before 1678 or after 2261.
    """
    try:
        return utc_time(words.as_of[name])
    except ValueError as error:
        refuse(f"as_of.{name}", f"is not a time: {error}")


def _check_calendar(calendar: BarCalendar) -> None:
    if not 1e-6 <= calendar.days <= 36_500.0:
        refuse("calendar.days", f"is {calendar.days}; the length of a bar in days is above 0")
    if calendar.mean is not None and not 1e-6 <= calendar.mean <= 36_500.0:
        refuse("calendar.mean", f"is {calendar.mean}; the days that a bar takes are above 0")
    for name, values, most in (
        ("weekdays", calendar.weekdays, 6),
        ("slots", calendar.slots, 24 * 60 - 1),
    ):
        if list(values) != sorted(set(values)) or any(not 0 <= each <= most for each in values):
            refuse(f"calendar.{name}", f"must rise, each from 0 to {most}")
    if not calendar.weekdays:
        refuse("calendar.weekdays", "is empty; bars end on one weekday at least")
    if calendar.slots and calendar.days >= 1.0:
        refuse("calendar.slots", "are of bars shorter than a day; these are longer")
    last = -1
    for at, (first, step, count) in enumerate(calendar.week):
        # Bounds are checked first, as a product of huge whole numbers would take forever.
        small = max(first, step, count) <= WEEK_SECONDS and min(first, step, count - 1) >= 0
        if not small or first <= last or (count > 1 and step == 0):
            refuse(f"calendar.week[{at}]", "is not a run of rising seconds of a week")
        last = first + step * (count - 1)
        if last >= WEEK_SECONDS:
            refuse(f"calendar.week[{at}]", "reaches beyond the week")
    if calendar.week and (calendar.months or calendar.days >= 7.5):
        refuse("calendar.week", "is of bars of a week or less; these are longer")
    if not 0 <= calendar.months <= 24:
        refuse("calendar.months", f"is {calendar.months}; bars have 0 to 24 months")
    if calendar.month_day not in range(LAST_WEEKDAY, 32) or (
        (calendar.months == 0) != (calendar.month_day == 0)
    ):
        refuse("calendar.month_day", "is not a day on which bars of months end")
    if calendar.stamps not in ("", *STAMPS):
        refuse("calendar.stamps", f"is {calendar.stamps!r:.60}; it is one of {', '.join(STAMPS)}")
    if calendar.exchange and not re.fullmatch(r"[\w/.-]{1,30}", calendar.exchange, re.ASCII):
        refuse("calendar.exchange", f"is {calendar.exchange!r:.60}; no exchange has that name")
    try:
        check_zone(calendar.zone)
    except DataError as error:
        refuse("calendar.zone", f"is not a zone: {error}")


def _check_facts(words: Meta) -> None:
    facts, fits = words.facts, words.facts.get("fits", {})
    for name in ("join", "data_fingerprint"):
        if name in facts:
            _check_fact(f"facts.{name}", facts[name], str)
    _check_fact("facts.versions", facts.get("versions", {}), {str: str})
    _check_fact("facts.fits", fits, {})
    if fits and set(fits) != set(words.assets):
        refuse("facts.fits", "must name the assets of the model, each once")
    for asset, fit in fits.items():
        where = f"facts.fits.{asset}"
        _check_fact(where, fit, FIT_FACTS, FIT_FACTS_NEEDED)
        if "residual_std" in fit and not fit["residual_std"] > 0.0:
            refuse(f"{where}.residual_std", "must be above 0")
        at = words.assets.index(asset)
        if (fit["volatility"], fit["innovations"]) != (words.kinds[at], words.innovations[at]):
            refuse(where, "names another volatility or other innovations than the model has")
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
                refuse(f"facts.update.{name}", "is below 0")
        if set(update["missing"]) != set(words.assets):
            refuse("facts.update.missing", "must name the assets of the model")


def _check_time(where: str, text: str) -> None:
    try:
        utc_time(text)
    except ValueError as error:
        refuse(where, f"is not a time: {error}")


def _check_fact(where: str, value: Any, kind: Any, needed: tuple[str, ...] = ()) -> None:
    """Check a fact and the facts within it; names of a table that are not declared are ignored."""
    if isinstance(kind, Mapping):
        if not isinstance(value, dict):
            refuse(where, f"is {value!r:.60}; a table is needed")
        for name in needed:
            if name not in value:
                refuse(f"{where}.{name}", "is missing")
        for name, each in value.items():
            if (inner := kind.get(name, kind.get(str))) is not None:
                required = tuple(inner) if isinstance(inner, Mapping) and str not in inner else ()
                _check_fact(f"{where}.{name}", each, inner, required)
    elif isinstance(kind, list):
        if not isinstance(value, list):
            refuse(where, f"is {value!r:.60}; a list is needed")
        for at, each in enumerate(value):
            _check_fact(f"{where}[{at}]", each, kind[0])
    else:
        kinds = (int, float) if kind is float else kind
        if isinstance(value, bool) or not isinstance(value, kinds):
            words = {str: "text", int: "a whole number", float: "a number"}
            refuse(where, f"is {value!r:.60}; {words[kind]} is needed")
        if kind is not str and not abs(value) <= 1e300:
            refuse(where, f"is {value!r:.60}; a finite number is needed")


def refuse(name: str, what: str) -> NoReturn:
    """Raise a `ModelFileError` that names a field."""
    raise ModelFileError(f"field {name} {what}")
