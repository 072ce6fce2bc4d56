"""The model's own latest prices, as a market.

In: a model. Out: the market that is used where nobody gives another.
"""

from __future__ import annotations

from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel


def market_of_model(model: MarketModel) -> Market:
    """The model's latest prices as a market, of the time of the model's state.

    Parameters
    ----------
    model : MarketModel

    Returns
    -------
    Market
        With the spot price of every asset of the model, and nothing else.

    Examples
    --------
    >>> from mcmargin.demo import demo_model
    >>> round(market_of_model(demo_model()).spot["wti"], 2)
    45.15
    """
    prices = model.state.prices.tolist()
    return Market(as_of=model.as_of, spot=dict(zip(model.assets, prices, strict=True)))
