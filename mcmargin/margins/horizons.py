"""Settlement: which horizons must be simulated for what expires before the last.

In: instruments, a model and a policy. Out: horizons. A contract that expires inside its product's
horizon settles at the first bar close at or after its expiry, and that close must be a horizon.
Where closes are dates alone, that is the close of the date on which it expires.
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
    """Horizons that `margin` takes under a policy, settlements included; bars, increasing.

    Parameters
    ----------
    instruments : iterable of Instrument
    model : MarketModel
    policy : MarginPolicy
        Where it names no `horizon`, that is the longest that it names, and 1 where it names none.
    as_of : numpy.datetime64, optional
        Of the market; the model's own by default.
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
    """Say which hours, of a market and of what expires inside the horizon, are not those of closes.

    Parameters
    ----------
    instruments : iterable of Instrument
    closes : Closes
        Of the simulated bars.
    as_of : numpy.datetime64
        Of the market.
    horizons : mapping of str to int
        Of product classes, bars.

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
