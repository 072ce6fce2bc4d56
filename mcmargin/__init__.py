"""Expected-shortfall margins from GARCH-calibrated Monte Carlo, reproducible to the seed.

Prices are calibrated into a `MarketModel`, simulated into `Scenarios`, and a `Book` is margined
on them: `read_prices` -> `calibrate` -> `simulate` -> `margin`. A name loads its module on first
use, so that importing the package, and the command line's help, wait for no library.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcmargin.books.account_files import read_accounts
    from mcmargin.books.accounts import Account
    from mcmargin.books.book import Book, read_positions
    from mcmargin.books.book_greeks import greeks_frame
    from mcmargin.data.plausibility import Plausibility
    from mcmargin.data.price_files import read_prices
    from mcmargin.data.prices import PriceHistory
    from mcmargin.desk.margining import margin
    from mcmargin.desk.stress_testing import stress
    from mcmargin.desk.verification import Verification, verify
    from mcmargin.desk.waterfall import attribute
    from mcmargin.draws.plan import SimulationPlan
    from mcmargin.errors import (
        CalibrationError,
        DataError,
        EngineError,
        McMarginError,
        ModelFileError,
        PolicyError,
    )
    from mcmargin.instruments.instrument_files import read_instruments
    from mcmargin.instruments.instruments import Future, Option, Perpetual, Spot
    from mcmargin.margins.procyclicality import ProcyclicalityMeasures, procyclicality_measures
    from mcmargin.markets.market import Market
    from mcmargin.markets.market_files import read_market
    from mcmargin.markets.market_parts import Depeg, InstrumentLiquidity
    from mcmargin.markets.quotes import read_quotes
    from mcmargin.markets.surface import VolatilitySurface
    from mcmargin.models.calibration import calibrate
    from mcmargin.models.model import MarketModel
    from mcmargin.models.model_file import load_model
    from mcmargin.numerics.black import black76, black76_greeks
    from mcmargin.numerics.implied import implied_volatility
    from mcmargin.numerics.tail import (
        TailEstimate,
        estimate_tail,
        expected_shortfall,
        value_at_risk,
    )
    from mcmargin.policies.policy import MarginPolicy
    from mcmargin.policies.policy_parts import (
        Collateral,
        Concentration,
        Leverage,
        LeverageTier,
        Liquidity,
        Maintenance,
        Procyclicality,
        Resources,
    )
    from mcmargin.policies.stress_parts import Gap, GridTerms, Stress, StressWindow
    from mcmargin.reports.default_fund import ResourcesToRisk, resources
    from mcmargin.reports.health import AccountLeverage, AccountStatus
    from mcmargin.reports.margin_change import MarginChange
    from mcmargin.reports.margin_report import MarginReport
    from mcmargin.reports.stress_report import StressReport
    from mcmargin.scenarios.scenarios import Scenarios
    from mcmargin.scenarios.simulation import simulate

__version__ = "0.1.0"

__all__ = [
    "Account",
    "AccountLeverage",
    "AccountStatus",
    "Book",
    "CalibrationError",
    "Collateral",
    "Concentration",
    "DataError",
    "Depeg",
    "EngineError",
    "Future",
    "Gap",
    "GridTerms",
    "InstrumentLiquidity",
    "Leverage",
    "LeverageTier",
    "Liquidity",
    "Maintenance",
    "MarginChange",
    "MarginPolicy",
    "MarginReport",
    "Market",
    "MarketModel",
    "McMarginError",
    "ModelFileError",
    "Option",
    "Perpetual",
    "Plausibility",
    "PolicyError",
    "PriceHistory",
    "Procyclicality",
    "ProcyclicalityMeasures",
    "Resources",
    "ResourcesToRisk",
    "Scenarios",
    "SimulationPlan",
    "Spot",
    "Stress",
    "StressReport",
    "StressWindow",
    "TailEstimate",
    "Verification",
    "VolatilitySurface",
    "attribute",
    "black76",
    "black76_greeks",
    "calibrate",
    "estimate_tail",
    "expected_shortfall",
    "greeks_frame",
    "implied_volatility",
    "load_model",
    "margin",
    "procyclicality_measures",
    "read_accounts",
    "read_instruments",
    "read_market",
    "read_positions",
    "read_prices",
    "read_quotes",
    "resources",
    "simulate",
    "stress",
    "value_at_risk",
    "verify",
]

_CONTENTS = {
    "data.plausibility": ("Plausibility",),
    "data.prices": ("PriceHistory",),
    "data.price_files": ("read_prices",),
    "models.calibration": ("calibrate",),
    "models.model": ("MarketModel",),
    "models.model_file": ("load_model",),
    "draws.plan": ("SimulationPlan",),
    "scenarios.scenarios": ("Scenarios",),
    "scenarios.simulation": ("simulate",),
    "numerics.black": ("black76", "black76_greeks"),
    "numerics.implied": ("implied_volatility",),
    "markets.quotes": ("read_quotes",),
    "markets.surface": ("VolatilitySurface",),
    "markets.market": ("Market",),
    "markets.market_parts": ("Depeg", "InstrumentLiquidity"),
    "markets.market_files": ("read_market",),
    "instruments.instruments": ("Future", "Option", "Perpetual", "Spot"),
    "instruments.instrument_files": ("read_instruments",),
    "books.accounts": ("Account",),
    "books.book": ("Book", "read_positions"),
    "books.account_files": ("read_accounts",),
    "books.book_greeks": ("greeks_frame",),
    "policies.policy": ("MarginPolicy",),
    "policies.policy_parts": (
        "Collateral",
        "Concentration",
        "Leverage",
        "LeverageTier",
        "Liquidity",
        "Maintenance",
        "Procyclicality",
        "Resources",
    ),
    "policies.stress_parts": ("Gap", "GridTerms", "Stress", "StressWindow"),
    "desk.margining": ("margin",),
    "reports.health": ("AccountLeverage", "AccountStatus"),
    "reports.margin_report": ("MarginReport",),
    "reports.stress_report": ("StressReport",),
    "desk.stress_testing": ("stress",),
    "reports.default_fund": ("ResourcesToRisk", "resources"),
    "margins.procyclicality": ("ProcyclicalityMeasures", "procyclicality_measures"),
    "numerics.tail": ("TailEstimate", "estimate_tail", "expected_shortfall", "value_at_risk"),
    "desk.verification": ("Verification", "verify"),
    "reports.margin_change": ("MarginChange",),
    "desk.waterfall": ("attribute",),
    "errors": (
        "CalibrationError",
        "DataError",
        "EngineError",
        "McMarginError",
        "ModelFileError",
        "PolicyError",
    ),
}
"""Module by module, in the order in which data flows: what each gives to the package."""

_MODULE_OF = {name: module for module, names in _CONTENTS.items() for name in names}

if not TYPE_CHECKING:  # or a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in _MODULE_OF:
            raise AttributeError(f"module 'mcmargin' has no attribute {name!r}")
        value = getattr(import_module(f"mcmargin.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
