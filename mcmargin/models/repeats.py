"""Repeated closes: rows of an update that the model knows already, at another time.

In: a model, and rows of prices that are newer than it. Out: nothing, or a `DataError`. If a file's
times are in another zone, its newest closes look new, some hours later. Each of them would count as
a bar without a move.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mcmargin.checks import plain_time
from mcmargin.data.bars import DAY
from mcmargin.errors import DataError
from mcmargin.models.model_values import ModelValues

LONGEST = 48
"""Number of closes that are compared: two days of hours. No two zones are that far apart."""

FARTHEST = 26 * DAY // 24
"""Largest difference between the clocks of two zones."""

SAME = 1e-9
"""Relative difference up to which closes are equal, since the model's are computed from returns."""

ROUNDED = 1e-7
"""Relative difference from which two prices count as different."""

EARLIER = 480
"""Number of closes that tell how often prices repeat by chance, as those of a pegged coin do."""

CHANCE = 1e-4
"""Probability above which a repetition may be chance, and is taken."""

CHANCE_OF_ONE = 0.01
"""Probability above which a repetition of one close alone may be chance."""


def refuse_repeats(
    model: ModelValues,
    times: NDArray[np.datetime64],
    closes: NDArray[np.float64],
    *,
    source: str,
) -> None:
    """Refuse newer rows that begin with the model's newest closes once more.

    Two or more closes in a row are a repetition, if those of all assets repeat. One close alone is
    a repetition if it follows within a day and a bar of the calendar is missing before it. Prices
    that often repeat by chance, as those of pegged coins do, are not refused.

    Parameters
    ----------
    model : ModelValues
    times : ndarray of shape (rows,), datetime64[ns]
        Times after the model's last close.
    closes : ndarray of shape (rows, assets), float64
    source : str
        Named in the error.

    Raises
    ------
    DataError
    """
    last = model.committed
    if times[0] - last.as_of > FARTHEST:
        return
    known = model.past_closes(LONGEST)
    expected = model.calendar.closes_after(last.as_of, 1)[0]
    for count in range(min(len(known), len(times)), 0, -1):
        tail = known[-count:]
        if not np.allclose(tail, closes[:count], rtol=SAME, atol=0.0):
            continue
        moved = bool((tail[1:] != tail[:-1]).any())
        likely = (count > 1 and moved) or (count == 1 and times[0] > expected)
        if likely and _chance(model.past_closes(EARLIER), count) <= (
            CHANCE if count > 1 else CHANCE_OF_ONE
        ):
            hours = float((times[count - 1] - last.as_of) / DAY * 24)
            what = "closes repeat" if count > 1 else "close repeats"
            raise DataError(
                f"{source}: the first {f'{count} ' if count > 1 else ''}newer {what} the model's "
                f"newest, {hours:g} hours later: the close of {plain_time(last.as_of)} stands at "
                f"{plain_time(times[count - 1])}. The times seem to be of another zone; convert "
                "them to UTC, or write their zone with them"
            )


def _chance(known: NDArray[np.float64], count: int) -> float:
    """Probability that the newest closes repeat by chance.

    It is the share of the first of them among the closes before, times the share of cases in which
    each of the others followed the close before it. Each share is at least 1 / `EARLIER`.
    """
    rows = np.rint(np.log(known) / ROUNDED)
    _, number = np.unique(rows, axis=0, return_inverse=True)
    number = number.ravel()
    before, newest = number[:-count], number[-count:].tolist()
    if len(before) < 2:
        return 0.0
    least, stands = 1.0 / EARLIER, float(np.mean(np.diff(before) == 0))
    chance = max(least, float(np.mean(before == newest[0])))
    for one, other in pairwise(newest):
        after = before[1:][before[:-1] == one]
        follows = float(np.mean(after == other)) if len(after) else 0.0
        chance *= max(least, follows, stands if one == other else 0.0)
    return chance
