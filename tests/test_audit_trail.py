"""What an audit must notice, and what must not disturb it."""

import hashlib
import hmac
import json

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import mcmargin as mm
from mcmargin import margining
from mcmargin.audit import fingerprint
from tests.models import make_model

ROWS = [("x", "a0", 1.0), ("x", "a1", -2.0), ("y", "a2", 3.0)]
BOOK = mm.Book.from_frame(pd.DataFrame(ROWS, columns=["account", "instrument", "quantity"]))


@pytest.fixture(scope="module")
def model():
    return make_model(("garch", "gjr", "ewma"), innovations="t", dependence="t")


@pytest.fixture(scope="module")
def scenarios(model):
    return mm.simulate(model, horizon=2, paths=5000, seed=1)


@pytest.mark.parametrize("kind", [float, np.float64])
@pytest.mark.parametrize("unit", ["D", "s", "ns"])
def test_a_market_of_any_unit_and_number_type_verifies(model, scenarios, unit, kind):
    spot = {"a0": kind(1.5), "a1": kind(2.0), "a2": kind(3.0)}
    market = mm.Market(as_of=np.datetime64("2020-01-02", unit), spot=spot)
    report = mm.MarginReport.from_json(mm.margin(BOOK, scenarios, market).to_json())
    assert mm.verify(report, model, BOOK).verdict == "equal"


ALTERED = {
    "expected_shortfall_error": 0.0,
    "expected_shortfall_interval": [0.0, 0.0],
    "value_at_risk_error": 0.0,
    "value_at_risk_interval": [0.0, 0.0],
    "currency": "EUR",
    "margin": 0.0,
}


@pytest.mark.parametrize("field", [*ALTERED, "contributions", "horizon", "as_of", "floored_paths"])
def test_an_altered_field_is_different(model, scenarios, field):
    fields = json.loads(mm.margin(BOOK, scenarios).to_json())
    account = fields["accounts"][0]
    if field == "contributions":
        account["contributions"][0]["contribution"] *= 10
    elif field in ALTERED:
        account[field] = ALTERED[field]
    else:
        fields[field] = "1999-01-01" if field == "as_of" else 9
    report = mm.MarginReport.from_json(json.dumps(fields))
    assert mm.verify(report, model, BOOK).verdict == "different"


def test_every_holders_currency_is_checked(scenarios):
    accounts = (mm.Account("x"), mm.Account("y", "EUR"))
    quantities = sparse.csr_array(np.array([[1.0], [2.0]]))
    with pytest.raises(mm.DataError, match=r"'y'.*EUR"):
        mm.margin(mm.Book(accounts, (mm.Spot("a0", "a0"),), quantities), scenarios)


def test_an_empty_book_is_refused(scenarios):
    with pytest.raises(mm.DataError, match="no accounts"):
        mm.margin(mm.Book((), (), sparse.csr_array((0, 0))), scenarios)


@pytest.mark.parametrize("name", ["[bold]x", "[/x]"])
def test_an_accounts_name_is_printed_as_it_is(scenarios, name, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    frame = pd.DataFrame([(name, "a0", 1.0)], columns=["account", "instrument", "quantity"])
    text = str(mm.margin(mm.Book.from_frame(frame), scenarios))
    assert name in text
    assert "\x1b" not in text


def test_blocks_change_no_bit(scenarios, monkeypatch):
    base = mm.margin(BOOK, scenarios).accounts
    monkeypatch.setattr(margining, "PATH_BLOCK", 777)
    monkeypatch.setattr(margining, "LARGEST_BUFFER", 1)
    assert mm.margin(BOOK, scenarios).accounts == base


def test_fingerprints_are_those_of_hashlib_and_hmac():
    parts, encoded = ("a", 1.5), b"7:str 'a'" + b"9:float 1.5"
    assert fingerprint(*parts) == hashlib.sha256(encoded).hexdigest()
    assert fingerprint(*parts, key=b"ours") == hmac.new(b"ours", encoded, "sha256").hexdigest()
