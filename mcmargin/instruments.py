"""Instruments: what one unit of each is worth over scenarios.

In: simulated simple returns of the underlyings and today's market. Out: the value change of one
unit of each instrument on every path, a gain positive, in the instrument's currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mcmargin.engines.arrays import array_module
from mcmargin.market import Market


@dataclass(frozen=True)
class Spot:
    """One unit of an asset, held outright.

    Attributes
    ----------
    name, underlying, currency : str
    """

    name: str
    underlying: str
    currency: str = "USD"

    def value_change(self, returns: NDArray[Any], market: Market) -> NDArray[np.float64]:
        """Gain of one unit: spot price x simple return.

        Parameters
        ----------
        returns : ndarray of shape (paths,), float32 or float64
        market : Market

        Returns
        -------
        ndarray of shape (paths,), float64

        Examples
        --------
        >>> market = Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 30_000.0})
        >>> Spot("btc", "btc").value_change(np.array([-0.1, 0.02]), market)
        array([-3000.,   600.])
        """
        return market.spot[self.underlying] * returns.astype(np.float64)


Instrument: TypeAlias = Spot


def value_changes(
    instruments: Sequence[Instrument],
    assets: tuple[str, ...],
    returns: NDArray[Any],
    market: Market,
) -> Any:
    """Gains of one unit of each instrument; float64 [instruments, paths], where the returns lie.

    Parameters
    ----------
    instruments : sequence of Instrument
        Each underlying among `assets`.
    assets : tuple of str
    returns : ndarray of shape (assets, paths)
    market : Market
    """
    position = {asset: at for at, asset in enumerate(assets)}
    out: Any = array_module(returns).empty((len(instruments), returns.shape[1]))
    for row, instrument in enumerate(instruments):
        out[row] = instrument.value_change(returns[position[instrument.underlying]], market)
    return out
