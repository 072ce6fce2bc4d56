"""Expected-shortfall margins from GARCH-calibrated Monte Carlo, reproducible to the seed.

Prices are calibrated into a `MarketModel`, simulated into `Scenarios`, and a `Book` is margined
on them: `read_prices` -> `calibrate` -> `simulate` -> `margin`.
"""

from mcmargin.book import Account, Book, read_positions
from mcmargin.calibration import calibrate
from mcmargin.errors import (
    CalibrationError,
    DataError,
    EngineError,
    McMarginError,
    ModelFileError,
    PolicyError,
)
from mcmargin.instruments import Spot
from mcmargin.margining import margin
from mcmargin.market import Market
from mcmargin.model import MarketModel, load_model
from mcmargin.policy import MarginPolicy
from mcmargin.prices import PriceHistory, read_prices
from mcmargin.reporting import MarginReport
from mcmargin.simulation import Scenarios, SimulationPlan, simulate
from mcmargin.tail import TailEstimate, estimate_tail, expected_shortfall, value_at_risk
from mcmargin.verification import Verification, verify

__version__ = "0.1.0"

__all__ = [
    "Account",
    "Book",
    "CalibrationError",
    "DataError",
    "EngineError",
    "MarginPolicy",
    "MarginReport",
    "Market",
    "MarketModel",
    "McMarginError",
    "ModelFileError",
    "PolicyError",
    "PriceHistory",
    "Scenarios",
    "SimulationPlan",
    "Spot",
    "TailEstimate",
    "Verification",
    "calibrate",
    "estimate_tail",
    "expected_shortfall",
    "load_model",
    "margin",
    "read_positions",
    "read_prices",
    "simulate",
    "value_at_risk",
    "verify",
]
