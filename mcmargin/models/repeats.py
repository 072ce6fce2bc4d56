"""Repeated closes: rows of an update that the model knows already, under another time.

In: a model, and rows of prices that are newer than it. Out: nothing, or a `DataError`. A file in
another zone than the model's repeats the newest closes some hours later, and each would count as a
bar without a move.
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
"""Closes that are compared: two days of hours, and no two zones are that far apart."""

FARTHEST = 26 * DAY // 24
"""Largest difference between the clocks of two zones."""

SAME = 1e-9
"""Relative difference up to which closes are the same: the model's are kept by their returns."""

ROUNDED = 1e-7
"""Relative difference from which prices count as two."""

EARLIER = 480
"""Closes that tell how often prices come back by themselves, as those of a pegged coin do."""

CHANCE = 1e-4
"""Probability from which on a repetition may be one by chance, and is taken."""

CHANCE_OF_ONE = 0.01
"""The same for one close alone, which few other signs of a repetition come with."""


def refuse_repeats(
    model: ModelValues,
    times: NDArray[np.datetime64],
    closes: NDArray[np.float64],
    *,
    source: str,
) -> None:
    """Refuse newer rows that begin with the model's newest closes once more.

    Two closes or more in a row are a repetition. One alone is one where a bar of the calendar was
    left out before it, and it follows within a day. All assets must have them. Prices that often
    come back by themselves, as those of pegged coins do, are none.

    Parameters
    ----------
    model : ModelValues
    times : ndarray of shape (rows,), datetime64[ns]
        After the model's last close.
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
    """Probability that the newest closes come once more by themselves.

    By how often the first of them stood among those before, and how often each of the others
    followed the one before it; no less often than once in `EARLIER` closes.
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
