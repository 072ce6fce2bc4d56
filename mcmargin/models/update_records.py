"""Record of a model's updates since its calibration: bars taken in, dates lost, dates that wait.

In: the times of an update's prices, and which closes are there. Out: a plain dict that the model
keeps among its facts, and its text. The dict is the same whether the bars came in one update or in
many.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import plain_time
from mcmargin.data.bars import BarCalendar
from mcmargin.models.doubts import bars_between

SHOWN_REVISIONS = 3
"""Number of assets whose revised closes a report names."""

LONG_SPAN = 5
"""Bars of the calendar that a return may span without a remark: as many as holidays take, but fewer
than a lost week of a coin."""


def record_update(
    earlier: dict[str, Any] | None,
    assets: tuple[str, ...],
    as_of: np.datetime64,
    times: NDArray[np.datetime64],
    present: NDArray[np.bool_],
    calendar: BarCalendar,
) -> dict[str, Any]:
    """Add an update to the record of those before it.

    Parameters
    ----------
    earlier : dict or None
        The record so far.
    assets : tuple of str
    as_of : numpy.datetime64
        Time of the model before this update; earlier rows do not count.
    times : ndarray of shape (rows,), datetime64[ns]
    present : ndarray of shape (rows, assets), bool
        Whether there is a close. At least one row after `as_of` has a close of every asset.
    calendar : BarCalendar
        Calendar of the model's bars.

    Returns
    -------
    dict
        `from` and `to`: first and last time taken in. `bars`: number of dates on which every asset
        has a close; `lost`: of those on which some asset has none. `missing`: number of dates
        without a close, by asset. `waiting`: number of rows after the last bar; `waiting_for`: the
        assets whose closes they lack. `longest`: largest number of bars of the calendar that one
        return spans; `longest_to`: the end of that return.

    Examples
    --------
    >>> times = np.array(["2021-01-02", "2021-01-03", "2021-01-04"], "datetime64[ns]")
    >>> present = np.array([[True, False], [True, True], [False, True]])
    >>> start, calendar = np.datetime64("2021-01-01"), BarCalendar()
    >>> record = record_update(None, ("a", "b"), start, times, present, calendar)
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
    spans = np.array([bars_between(calendar, *pair) for pair in pairwise(closes)])
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


def record_revisions(facts: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    """Add older closes that new prices give differently to the facts of a model.

    Parameters
    ----------
    facts : dict
    found : list of dict
        In the order of the dates: `asset`, `at` (the date), and the close in `model` and in
        `prices`.

    Returns
    -------
    dict
        The facts; `revised` has for each asset the number of such closes and the newest of them.

    Examples
    --------
    >>> found = [{"asset": "btc", "at": "2021-01-02", "model": 32_127.0, "prices": 31_000.0}]
    >>> record_revisions({}, found)["revised"]["btc"]["count"]
    1
    """
    if not found:
        return facts
    counts = Counter(each["asset"] for each in found)
    newest = {
        each["asset"]: {"count": counts[each["asset"]]}
        | {name: each[name] for name in ("at", "model", "prices")}
        for each in found
    }
    return facts | {"revised": facts.get("revised", {}) | newest}


def revision_summary(facts: dict[str, Any]) -> str:
    """Say which older closes differ; empty if none does."""
    texts = [
        f"{asset} on {each['count']} dates, last on {plain_time(each['at'])} "
        f"({each['prices']:.6g} in the prices, {each['model']:.6g} in the model)"
        for asset, each in facts.get("revised", {}).items()
    ]
    if not texts:
        return ""
    rest = len(texts) - SHOWN_REVISIONS
    more = f"; and of {rest:,} assets more" if rest > 0 else ""
    told = "; ".join(texts[:SHOWN_REVISIONS])
    return f"older closes differ from the model's, which keeps its own: {told}{more}"


def call_summary(
    before: dict[str, Any],
    after: dict[str, Any],
    as_of: np.datetime64,
    assets: tuple[str, ...],
    longest: float = LONG_SPAN,
) -> str:
    """Say what one update took in.

    Parameters
    ----------
    before, after : dict
        Facts of the model before the update and after it.
    as_of : numpy.datetime64
        Time of the model before the update.
    assets : tuple of str
    longest : float
        Largest number of bars that a return may span without a remark.

    Examples
    --------
    >>> call_summary({}, {}, np.datetime64("2021-01-04"), ("btc",))
    'nothing new: no row after 2021-01-04 has a close of every asset; the model stays as it is'
    """
    nothing = {"bars": 0, "lost": 0, "missing": dict.fromkeys(assets, 0)}
    earlier, later = before.get("update", nothing), after.get("update", nothing)
    bars = later["bars"] - earlier["bars"]
    parts = []
    if bars == 0:
        parts.append(
            f"nothing new: no row after {plain_time(as_of)} has a close of every asset; the model "
            "stays as it is"
        )
    else:
        this = later | {
            "from": str(as_of),
            "bars": bars,
            "lost": later["lost"] - earlier["lost"],
            "missing": {a: n - earlier["missing"][a] for a, n in later["missing"].items()},
        }
        if later.get("longest_to") == earlier.get("longest_to"):
            this["longest"] = 0
        parts.append(update_summary(this, longest))
        if earlier["bars"]:
            parts.append(f"{later['bars']:,} bars since the calibration")
    if before.get("revised") != after.get("revised"):
        parts.append(revision_summary(after))
    return "; ".join(parts)


def update_summary(record: dict[str, Any], longest: float = LONG_SPAN) -> str:
    """Say what a record holds; a return is mentioned if it spans more than `longest` bars."""
    gaps = ", ".join(f"{asset} {count}" for asset, count in record["missing"].items() if count)
    text = (
        f"updated by {_counted(record['bars'], 'bar')}, from {plain_time(record['from'])} to "
        f"{plain_time(record['to'])}; {record['lost']} dates lost, on which some asset has no close"
        + (f" (missing closes: {gaps})" if gaps else "")
    )
    if record["longest"] > longest:
        text += (
            f"; one return spans {record['longest']} bars of the calendar, to "
            f"{plain_time(record['longest_to'])}: were prices left out?"
        )
    if record["waiting"]:
        lacking = ", ".join(record["waiting_for"])
        waiting = record["waiting"]
        text += f"; later dates not taken in, as they lack a close of {lacking}: {waiting}"
    return text


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
