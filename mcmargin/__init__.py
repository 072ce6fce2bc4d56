"""Expected-shortfall margins from GARCH-calibrated Monte Carlo, reproducible to the seed.

Prices are calibrated into a `MarketModel`, simulated into `Scenarios`, and a `Book` is margined
on them: `read_prices` -> `calibrate` -> `simulate` -> `margin`. A name loads its module on first
use, so that importing the package, and the command line's help, wait for no library.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcmargin.black import black76, black76_greeks
    from mcmargin.book import Account, Book, read_positions
    from mcmargin.book_files import read_accounts
    from mcmargin.calibration import calibrate
    from mcmargin.default_fund import ResourcesToRisk, resources
    from mcmargin.errors import (
        CalibrationError,
        DataError,
        EngineError,
        McMarginError,
        ModelFileError,
        PolicyError,
    )
    from mcmargin.greeks import greeks_frame
    from mcmargin.health import AccountLeverage, AccountStatus
    from mcmargin.implied import implied_volatility
    from mcmargin.instrument_files import read_instruments
    from mcmargin.instruments import Future, Option, Perpetual, Spot
    from mcmargin.margining import margin
    from mcmargin.market import Depeg, InstrumentLiquidity, Market
    from mcmargin.market_files import read_market
    from mcmargin.model import MarketModel
    from mcmargin.model_file import load_model
    from mcmargin.policy import MarginPolicy
    from mcmargin.policy_parts import (
        Collateral,
        Concentration,
        Gap,
        GridTerms,
        Leverage,
        LeverageTier,
        Liquidity,
        Maintenance,
        Procyclicality,
        Resources,
        Stress,
        StressWindow,
    )
    from mcmargin.prices import PriceHistory, read_prices
    from mcmargin.procyclicality import ProcyclicalityMeasures, procyclicality_measures
    from mcmargin.quotes import read_quotes
    from mcmargin.reporting import MarginReport
    from mcmargin.simulation import Scenarios, SimulationPlan, simulate
    from mcmargin.stress_report import StressReport, stress
    from mcmargin.surface import VolatilitySurface
    from mcmargin.tail import TailEstimate, estimate_tail, expected_shortfall, value_at_risk
    from mcmargin.verification import Verification, verify
    from mcmargin.waterfall import MarginChange, attribute

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
    "prices": ("PriceHistory", "read_prices"),
    "calibration": ("calibrate",),
    "model": ("MarketModel",),
    "model_file": ("load_model",),
    "simulation": ("Scenarios", "SimulationPlan", "simulate"),
    "black": ("black76", "black76_greeks"),
    "implied": ("implied_volatility",),
    "quotes": ("read_quotes",),
    "surface": ("VolatilitySurface",),
    "market": ("Depeg", "InstrumentLiquidity", "Market"),
    "market_files": ("read_market",),
    "instruments": ("Future", "Option", "Perpetual", "Spot"),
    "instrument_files": ("read_instruments",),
    "book": ("Account", "Book", "read_positions"),
    "book_files": ("read_accounts",),
    "greeks": ("greeks_frame",),
    "policy": ("MarginPolicy",),
    "policy_parts": (
        "Collateral",
        "Concentration",
        "Gap",
        "GridTerms",
        "Leverage",
        "LeverageTier",
        "Liquidity",
        "Maintenance",
        "Procyclicality",
        "Resources",
        "Stress",
        "StressWindow",
    ),
    "margining": ("margin",),
    "health": ("AccountLeverage", "AccountStatus"),
    "reporting": ("MarginReport",),
    "stress_report": ("StressReport", "stress"),
    "default_fund": ("ResourcesToRisk", "resources"),
    "procyclicality": ("ProcyclicalityMeasures", "procyclicality_measures"),
    "tail": ("TailEstimate", "estimate_tail", "expected_shortfall", "value_at_risk"),
    "verification": ("Verification", "verify"),
    "waterfall": ("MarginChange", "attribute"),
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

        if name in _CONTENTS:
            return import_module(f"mcmargin.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'mcmargin' has no attribute {name!r}")
        value = getattr(import_module(f"mcmargin.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
