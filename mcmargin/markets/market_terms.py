"""A market as the plain values that a report keeps, and back.

In: a `Market`, or the values that JSON gives back. Out: those values, or the same market. Of a
volatility surface only its fingerprint is kept, so that a market with a surface does not come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_type_hints

import numpy as np

from mcmargin.data.plausibility import plausibility_from
from mcmargin.data.typed_fields import read_value
from mcmargin.errors import DataError, PolicyError
from mcmargin.markets.market import Market
from mcmargin.markets.market_parts import Depeg, InstrumentLiquidity
from mcmargin.markets.surface import VolatilitySurface


def market_terms(market: Market) -> dict[str, Any]:
    """Everything that a market gives, in plain values; a surface is given by its fingerprint."""
    terms: dict[str, Any] = {"currency": market.currency, "coins": list(market.coins)}
    for each in fields(market):
        content = getattr(market, each.name)
        if isinstance(content, Mapping) and (content or each.name == "spot"):
            terms[each.name] = {name: _term(entry) for name, entry in sorted(content.items())}
    if widened := market.plausibility.widened():
        terms["plausibility"] = widened
    return terms


def market_of(as_of: np.datetime64, terms: Mapping[str, Any]) -> Market:
    """Make a market of plain values; the inverse of `market_terms`.

    Raises
    ------
    DataError
        If a term is unknown or has the wrong type, or if a volatility is a surface's fingerprint.
    """
    kinds = _kinds_of_terms()
    given: dict[str, Any] = {}
    for name, content in terms.items():
        if name not in kinds:
            raise DataError(
                f"field market.{name!s:.60} is unknown; it is one of {', '.join(kinds)}"
            )
        given[name] = read_value(kinds[name], content, DataError, f"market.{name}", defaults=True)
    if "spot" not in given:
        raise DataError("field market.spot is missing")
    for name, volatility in given.get("volatility", {}).items():
        if isinstance(volatility, str):
            raise DataError(
                f"market: the volatility of {name!r} is a surface, of which only the fingerprint "
                "is filed; give the market itself"
            )
    if "plausibility" in given:
        try:
            limits = plausibility_from(given["plausibility"], where="market.plausibility")
        except PolicyError as error:
            raise DataError(str(error)) from None
        given["plausibility"] = limits
    return Market(as_of=as_of, **given)


def _kinds_of_terms() -> dict[str, Any]:
    """The type of each term; a volatility may also be a surface's fingerprint."""
    kinds = get_type_hints(Market)
    del kinds["as_of"]
    # `market_terms` gives only the limits that differ from the usual ones.
    return kinds | {"volatility": Mapping[str, Any], "plausibility": Mapping[str, Any]}


def _term(entry: Any) -> Any:
    if isinstance(entry, VolatilitySurface):
        return entry.fingerprint()
    if isinstance(entry, (Depeg, InstrumentLiquidity)):
        # JSON gives lists back, so a report that was just made has lists as well.
        return {name: _listed(content) for name, content in asdict(entry).items()}
    return entry if isinstance(entry, str) else float(entry)


def _listed(content: Any) -> Any:
    return [_listed(item) for item in content] if isinstance(content, tuple) else content
