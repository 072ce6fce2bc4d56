"""Settlement: which horizons must be simulated for what expires before the last.

In: instruments, a model and a policy. Out: horizons. A contract that expires inside its product's
horizon settles at the first bar close at or after its expiry, and that close must be a horizon.
Where closes are dates alone, that is the close of the date on which it expires.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mcmargin.data.times import utc_time
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy
from mcmargin.valuing.instruments import Future, Instrument, Option


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
    closes = model.calendar.closes(model.committed.as_of, max(needed), after=start)
    for item in instruments:
        longest = max(initial[item.product], maintenance[item.product])
        for dated in (item, getattr(item, "future", None)):
            if isinstance(dated, (Option, Future)) and start < dated.expiry:
                bar = closes.bar_of(dated.expiry)
                needed |= {bar} if bar <= longest else set()
    return tuple(sorted(needed))
