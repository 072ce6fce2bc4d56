"""What a model's updates took in since its calibration: bars, dates lost, dates that wait.

In: the times of an update's prices, and which closes are there. Out: a plain dict that the model
files among its facts, the same whether the bars came in one update or in many, and its text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import plain_time

LONG_SPAN = 5
"""Bars of the calendar that a return may span without a word: any holidays, but no lost week."""


def record_update(
    earlier: dict[str, Any] | None,
    assets: tuple[str, ...],
    as_of: np.datetime64,
    times: NDArray[np.datetime64],
    present: NDArray[np.bool_],
    mean_days: float,
) -> dict[str, Any]:
    """Add an update to the record of those before it.

    Parameters
    ----------
    earlier : dict or None
        The record so far.
    assets : tuple of str
    as_of : numpy.datetime64
        Of the model before this update; earlier rows do not count.
    times : ndarray of shape (rows,), datetime64[ns]
    present : ndarray of shape (rows, assets), bool
        Where there is a close; on one row after `as_of` at least, everywhere.
    mean_days : float
        Calendar days a bar.

    Returns
    -------
    dict
        from, to : first and last time taken in; bars and lost : dates on which every asset, or
        not every asset, has a close; missing : dates without one, by asset; waiting : rows after
        the last bar, and waiting_for : the assets whose closes they lack; longest : bars of the
        calendar that one return spans at most, and longest_to : where that one ends.

    Examples
    --------
    >>> times = np.array(["2021-01-02", "2021-01-03", "2021-01-04"], "datetime64[ns]")
    >>> present = np.array([[True, False], [True, True], [False, True]])
    >>> record = record_update(None, ("a", "b"), np.datetime64("2021-01-01"), times, present, 1.0)
    >>> record["bars"], record["lost"], record["missing"], record["waiting_for"]
    (1, 1, {'a': 0, 'b': 1}, ['a'])
    """
    if earlier is None:
        nothing = dict.fromkeys(assets, 0)
        earlier = {"from": str(as_of), "bars": 0, "lost": 0, "missing": nothing, "longest": 0}
    later, whole = times > as_of, present.all(axis=1)
    last = times[later & whole][-1]
    taken, waiting = later & (times <= last), times > last
    gaps = (~present[taken]).sum(axis=0)
    lacking = ~present[waiting].all(axis=0)
    closes = np.concatenate([[as_of.astype("datetime64[ns]")], times[taken & whole]])
    spans = np.rint(np.diff(closes) / np.timedelta64(1, "D") / mean_days)
    longest: dict[str, Any] = {
        name: earlier[name] for name in ("longest", "longest_to") if name in earlier
    }
    if spans.max() > earlier["longest"]:
        end = closes[1 + int(spans.argmax())]
        longest = {"longest": int(spans.max()), "longest_to": str(end)}
    return {
        "from": earlier["from"],
        "to": str(last),
        "bars": earlier["bars"] + int(np.sum(taken & whole)),
        "lost": earlier["lost"] + int(np.sum(taken & ~whole)),
        "missing": {a: earlier["missing"][a] + int(n) for a, n in zip(assets, gaps, strict=True)},
        "waiting": int(np.sum(waiting)),
        "waiting_for": [a for a, lacks in zip(assets, lacking, strict=True) if lacks],
        **longest,
    }


def update_summary(record: dict[str, Any]) -> str:
    """Text for people."""
    gaps = ", ".join(f"{asset} {count}" for asset, count in record["missing"].items() if count)
    text = (
        f"updated by {record['bars']} bars, from {plain_time(record['from'])} to "
        f"{plain_time(record['to'])}; {record['lost']} dates lost, on which some asset has no close"
        + (f" (missing closes: {gaps})" if gaps else "")
    )
    if record["longest"] > LONG_SPAN:
        text += (
            f"; one return spans {record['longest']} bars of the calendar, to "
            f"{plain_time(record['longest_to'])}: were prices left out?"
        )
    if record["waiting"]:
        lacking = ", ".join(record["waiting_for"])
        text += f"; later dates not taken in, for want of a close of {lacking}: {record['waiting']}"
    return text
