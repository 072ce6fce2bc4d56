"""Horizons: which horizons must be simulated: those of a policy, and those of earlier expiries.

In: instruments, a model and a policy. Out: horizons in bars. A contract that expires inside the
horizon of its product settles at the first bar close at or after its expiry, so that this close
must be simulated too. Where closes are dates alone, it is the close of the date of expiry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mcmargin.checks import few, plain_time
from mcmargin.data.bars import Closes
from mcmargin.data.times import utc_time
from mcmargin.instruments.instruments import Future, Instrument, Option
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy


def horizons_needed(
    instruments: Iterable[Instrument],
    model: MarketModel,
    policy: MarginPolicy,
    as_of: np.datetime64 | None = None,
) -> tuple[int, ...]:
    """Horizons that `margin` uses under a policy, settlements included; bars, increasing.

    Parameters
    ----------
    instruments : iterable of Instrument
    model : MarketModel
    policy : MarginPolicy
        If it has no `horizon`, the longest horizon that it names counts as one, and 1 bar if it
        names none.
    as_of : numpy.datetime64, optional
        Time of the market; the model's own by default.
    """
    named, part = {1, *policy.horizons.values()}, policy.maintenance
    if part is not None:
        named |= {part.horizon or 1, *part.horizons.values()}
    initial = policy.horizons_from(max(named))
    maintenance = policy.maintenance_horizons_from(max(named))
    needed = {*initial.values(), *maintenance.values()}
    start = model.as_of if as_of is None else utc_time(as_of)
    closes = model.closes(max(needed), start)
    for item in instruments:
        longest = max(initial[item.product], maintenance[item.product])
        for dated in (item, getattr(item, "future", None)):
            if isinstance(dated, (Option, Future)) and start < dated.expiry:
                bar = closes.bar_of(dated.expiry)
                needed |= {bar} if bar <= longest else set()
    return tuple(sorted(needed))


def settlement_notes(
    instruments: Iterable[Instrument],
    closes: Closes,
    as_of: np.datetime64,
    horizons: Mapping[str, int],
) -> tuple[str, ...]:
    """Say which times are moved to a bar close: the market's, and expiries inside the horizon.

    Parameters
    ----------
    instruments : iterable of Instrument
    closes : Closes
        Closes of the simulated bars.
    as_of : numpy.datetime64
        Time of the market.
    horizons : mapping of str to int
        Bars, by product class.

    Examples
    --------
    >>> from mcmargin.data.bars import BarCalendar
    >>> friday = np.datetime64("2018-12-28T21:00", "ns")
    >>> calendar = BarCalendar(1.0, (0, 1, 2, 3, 4), dated=True)
    >>> closes = calendar.closes(np.datetime64("2018-12-28"), 5, after=friday)
    >>> settlement_notes([], closes, friday, {})
    ("closes are dates alone, and the market of 2018-12-28T21:00:00 is taken at its date's close",)
    """
    calendar, found = closes.calendar, []
    today = calendar.clock(as_of)
    if calendar.dated and today != today.astype("datetime64[D]"):
        ahead = closes.ends[0].astype("datetime64[D]") == today.astype("datetime64[D]")
        where = "before its date's close" if ahead else "at its date's close"
        found.append(
            f"closes are dates alone, and the market of {plain_time(as_of)} is taken {where}"
        )
    late: dict[np.datetime64, list[str]] = {}
    for item in instruments:
        expiry = getattr(item, "expiry", None)
        if expiry is None or (bar := closes.bar_of(expiry)) > horizons[item.product]:
            continue
        place = calendar.clock(expiry)
        exact = closes.times[bar - 1] == expiry
        if not (exact or (calendar.dated and place == place.astype("datetime64[D]"))):
            late.setdefault(expiry, []).append(item.name)
    told = []
    for expiry, names in sorted(late.items()):
        close = closes.ends[closes.bar_of(expiry) - 1]
        when = f"the close of {str(close)[:10]}" if calendar.dated else plain_time(close)
        told.append(f"{few(names, 3)} expires at {plain_time(expiry)} and settles at {when}")
    if told:
        found.append(few(told, 2))
    return tuple(found)
