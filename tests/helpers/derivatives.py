"""The files of a small book of derivatives, and its margins through the library."""

import mcmargin as mm
from tests.helpers.models import make_model

INSTRUMENTS = """
[[instrument]]
name = "A"
product = "spot"
underlying = "a0"

[[instrument]]
name = "A-PERP"
product = "perpetual"
underlying = "a0"
funding_rate = 1e-4

[[instrument]]
name = "A-W1"  # settles inside a horizon of 2
product = "option"
underlying = "a0"
kind = "call"
strike = 101
expiry = 2020-01-01T20:00:00Z

[[instrument]]
name = "A-C"
product = "option"
underlying = "a0"
kind = "call"
strike = 105
expiry = 2020-03-27

[[instrument]]
name = "A-W0"  # known, and held by nobody
product = "option"
underlying = "a0"
kind = "put"
strike = 99
expiry = 2020-01-01T12:00:00Z
"""
MARKET = """
as_of = 2020-01-01
spot = { a0 = 100, a1 = 99 }
fx = { EUR = 1.25 }
fx_volatility = { EUR = 0.08 }

[volatility]
a0 = { quotes = "quotes.csv", repair = true }
"""
# The last but one quote lies below its neighbours, and is repaired.
QUOTES = """expiry,strike,volatility
2020-01-31,90,0.42
2020-01-31,100,0.4
2020-01-31,110,0.41
2020-06-26,80,0.44
2020-06-26,90,0.42
2020-06-26,100,0.4
2020-06-26,110,0.2
2020-06-26,120,0.41
"""
POSITIONS = """account,instrument,quantity
desk,A-C,-10
desk,A,5
desk,A-W1,-2
euro,A-PERP,3
"""
ACCOUNTS = "account,owner,currency\ndesk,fund,USD\neuro,fund,EUR\n"
ORDERS = "account,instrument,quantity\neuro,A-PERP,2\neuro,A-PERP,-9\n"
FILES = (
    *("--instruments", "instruments.toml", "--market", "market.toml"),
    *("--accounts", "accounts.csv", "--orders", "orders.csv"),
)
BOOK = ("model.npz", "positions.csv", *FILES)
PLAN = ("--paths", "3000", "--seed", "5")


def write_derivatives(folder):
    """Write the model and all files of the book to a folder."""
    make_model(("gjr", "garch"), "t", "t", variance=4e-4).save(folder / "model.npz")
    for name, text in {
        "instruments.toml": INSTRUMENTS,
        "market.toml": MARKET,
        "quotes.csv": QUOTES,
        "positions.csv": POSITIONS,
        "accounts.csv": ACCOUNTS,
        "orders.csv": ORDERS,
    }.items():
        (folder / name).write_text(text)


def report_of(folder, horizons=(1, 2), policy=None):
    """The report of the files, made through the library with horizons that are given."""
    model = mm.load_model(folder / "model.npz")
    book = mm.read_positions(
        folder / "positions.csv",
        instruments=mm.read_instruments(folder / "instruments.toml"),
        accounts=mm.read_accounts(folder / "accounts.csv"),
        orders=folder / "orders.csv",
    )
    scenarios = mm.simulate(model, horizons=horizons, paths=3000, seed=5)
    policy = mm.MarginPolicy(horizon=2) if policy is None else policy
    return mm.margin(book, scenarios, mm.read_market(folder / "market.toml"), policy)
