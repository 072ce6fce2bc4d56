"""What an audit must notice, and what must not disturb it."""

import hashlib
import hmac
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

import mcmargin as mm
from mcmargin.audit import fingerprint
from mcmargin.margins import figures
from tests.helpers.books import book_of
from tests.helpers.models import make_model

ROWS = [("x", "a0", 1.0), ("x", "a1", -2.0), ("y", "a2", 3.0)]
NONE = sparse.csr_array((0, 0))
EMPTY = mm.Book((), (), NONE, NONE, NONE, {})
BOOK = book_of(ROWS)


@pytest.fixture(scope="module")
def model():
    return make_model(("garch", "gjr", "ewma"), innovations="t", dependence="t")


@pytest.fixture(scope="module")
def scenarios(model):
    return mm.simulate(model, horizon=2, paths=5000, seed=1)


@pytest.mark.parametrize("kind", [float, np.float64])
@pytest.mark.parametrize("unit", ["D", "s", "ns"])
def test_a_market_of_any_unit_and_number_type_verifies(model, scenarios, unit, kind):
    spot = {"a0": kind(101.5), "a1": kind(102.0), "a2": kind(103.0)}
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


@pytest.mark.parametrize(
    "field", [*ALTERED, "contributions", "horizons", "as_of", "floored_paths", "calibration"]
)
def test_an_altered_field_is_different(model, scenarios, field):
    fields = json.loads(mm.margin(BOOK, scenarios).to_json())
    account = fields["accounts"][0]
    if field == "contributions":
        account["contributions"][0]["contribution"] *= 10
    elif field in ALTERED:
        account[field] = ALTERED[field]
    elif field == "horizons":
        fields[field]["spot"] = 9
    elif field == "calibration":
        fields[field]["refused"] = {"a0": "ewma, normal, as it was asked"}
    else:
        fields[field] = "1999-01-01" if field == "as_of" else 9
    report = mm.MarginReport.from_json(json.dumps(fields))
    assert mm.verify(report, model, BOOK).verdict == "different"


def altered(report, path, value):
    """The report's JSON with the field at a dotted path set, or taken away for `...`."""
    fields = json.loads(report.to_json())
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    target = fields
    for step in way:
        target = target[step]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return json.dumps(fields)


MALFORMED = [
    ("accounts.0.margin", "1.0", r"accounts\[0\]\.margin is '1\.0'; a number"),
    ("accounts.0.margin", None, r"accounts\[0\]\.margin is None; a number"),
    ("accounts.0.margin", True, r"accounts\[0\]\.margin is True; a number"),
    ("accounts.0.margin", math.nan, r"accounts\[0\]\.margin is nan; a finite number"),
    ("accounts.1.gross_exposure", math.inf, r"accounts\[1\]\.gross_exposure is inf; a finite"),
    ("accounts.0.margin", ..., r"accounts\[0\]\.margin is missing"),
    ("accounts.0.name", "x", r"accounts\[0\]\.name is unknown"),
    ("accounts.0.account", 7, r"accounts\[0\]\.account is 7; text"),
    ("accounts.0.value_at_risk_interval", [1.0], "value_at_risk_interval has 1 items; 2"),
    ("accounts.0.contributions.1.quantity", "", r"contributions\[1\]\.quantity is ''; a number"),
    ("accounts.0.contributions", {}, r"accounts\[0\]\.contributions is {}; a list"),
    ("accounts", None, "accounts is None; a list"),
    ("fingerprints.model", 1, r"fingerprints\.model is 1; text"),
    ("plan.paths", 5000.0, r"plan\.paths is 5000\.0; a whole number"),
    ("plan.variance_cap", math.nan, r"plan\.variance_cap is nan"),
    ("plan.precision", "half", "precision"),
    ("policy.horizon", "2", r"policy\.horizon is '2'; a whole number"),
    ("policy.level", 99, "level"),
    ("market.spot.a0", -1.0, "price of 'a0'"),
    ("market.spot", [], r"field market\.spot is \[\]; an object is needed"),
    ("market_as_of", "yesterday", "market_as_of: 'yesterday' is not an ISO time"),
    ("market_as_of", "NaT", "market_as_of: no time is given"),
    ("schema", "mcmargin.report/0", "mcmargin.report/0"),
]


@pytest.mark.parametrize(("path", "value", "message"), MALFORMED)
def test_a_malformed_report_is_refused_by_the_name_of_its_field(scenarios, path, value, message):
    text = altered(mm.margin(BOOK, scenarios), path, value)
    with pytest.raises(mm.ModelFileError, match=f"^r.json: not a.*{message}"):
        mm.MarginReport.from_json(text, source="r.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "{}", "[" * 100_000])
def test_text_that_is_no_report_is_refused(text):
    with pytest.raises(mm.ModelFileError, match="not a"):
        mm.MarginReport.from_json(text)


def test_whole_numbers_and_an_infinite_cap_read_as_numbers(model):
    endless = mm.simulate(model, horizon=1, paths=2000, seed=1, variance_cap=math.inf)
    report = mm.margin(BOOK, endless)
    text = altered(report, "accounts.1.contributions.0.quantity", 3)
    assert mm.verify(mm.MarginReport.from_json(text), model, BOOK).verdict == "equal"


def test_what_gives_no_margin_is_different_and_says_why(model, scenarios):
    report = mm.margin(BOOK, scenarios)
    other = book_of([("x", "gold", 1.0)])
    fewer = make_model(("garch", "gjr"))
    for verification, reasons in (
        (mm.verify(report, model, other), ("book's fingerprint", "no asset 'gold'")),
        (mm.verify(report, fewer, BOOK), ("model's fingerprint", "no asset 'a2'")),
        (mm.verify(report, model, EMPTY), ("no accounts",)),
    ):
        assert verification.verdict == "different"
        assert verification.largest_difference == math.inf
        for reason in reasons:
            assert any(reason in said for said in verification.reasons)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("policy.horizon", 9, "horizon 9 was not simulated"),
        ("plan.paths", 10, "leave less than one in the tail"),
        ("market.spot.a2", ..., "no price of 'a2'"),
        ("accounts.1", ..., "the accounts differ"),
    ],
)
def test_a_report_that_its_own_plan_cannot_give_is_different(model, scenarios, path, value, reason):
    report = mm.MarginReport.from_json(altered(mm.margin(BOOK, scenarios), path, value))
    verification = mm.verify(report, model, BOOK)
    assert verification.verdict == "different"
    assert any(reason in said for said in verification.reasons)


def test_a_bad_setting_of_this_machine_is_an_error_and_no_difference(model, scenarios, monkeypatch):
    report = mm.margin(BOOK, scenarios)
    with pytest.raises(mm.EngineError):
        mm.verify(report, model, BOOK, engine="abacus")
    monkeypatch.setenv("MCMARGIN_THREADS", "abc")
    with pytest.raises(mm.PolicyError, match="MCMARGIN_THREADS"):
        mm.verify(report, model, BOOK)


@pytest.mark.parametrize("price", ["100", None, True, math.nan, math.inf, 0.0, -1.0])
def test_a_price_is_a_number_above_0(price):
    with pytest.raises(mm.DataError, match="'btc' must be a number above 0"):
        mm.Market(as_of=np.datetime64("2021-01-04"), spot={"btc": price})


@pytest.mark.parametrize("as_of", [np.datetime64("NaT"), "soon", None])
def test_a_market_has_a_time(as_of):
    with pytest.raises(mm.DataError, match="as_of"):
        mm.Market(as_of=as_of, spot={"btc": 1.0})


def test_every_holders_currency_is_checked(scenarios):
    rows = [("x", "a0", 1.0), ("y", "a0", 2.0)]
    book = book_of(rows, [mm.Spot("a0", "a0")], accounts=[mm.Account("x"), mm.Account("y", "EUR")])
    with pytest.raises(mm.DataError, match=r"'y'.*EUR"):
        mm.margin(book, scenarios)


def test_an_empty_book_is_refused(scenarios):
    with pytest.raises(mm.DataError, match="no accounts"):
        mm.margin(EMPTY, scenarios)


@pytest.mark.parametrize("name", ["[bold]x", "[/x]"])
def test_an_accounts_name_is_printed_as_it_is(scenarios, name, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = str(mm.margin(book_of([(name, "a0", 1.0)]), scenarios))
    assert name in text
    assert "\x1b" not in text


def test_blocks_change_no_bit(scenarios, monkeypatch):
    base = mm.margin(BOOK, scenarios).accounts
    for memory_limit, threads in ((1, 1), (2 * 3 * 2048 * 8, 2), (10**9, 2)):
        report = mm.margin(BOOK, scenarios, memory_limit=memory_limit, threads=threads)
        assert report.accounts == base
    monkeypatch.setattr(figures, "BLOCK_BYTES", 1)
    monkeypatch.setattr("mcmargin.margins.contributions.GATHERED", 1)
    assert mm.margin(BOOK, scenarios, threads=2).accounts == base


def test_fingerprints_are_those_of_hashlib_and_hmac():
    parts, encoded = ("a", 1.5), b"7:str 'a'" + b"9:float 1.5"
    assert fingerprint(*parts) == hashlib.sha256(encoded).hexdigest()
    assert fingerprint(*parts, key=b"ours") == hmac.new(b"ours", encoded, "sha256").hexdigest()


def test_texts_and_numbers_of_numpy_have_the_fingerprints_of_plain_ones():
    assert fingerprint(np.str_("USD"), np.float64(0.1)) == fingerprint("USD", 0.1)
    assert fingerprint(True) != fingerprint(1)
    plain, numpys = (
        book_of(ROWS, accounts=[mm.Account(name, kind("USD")) for name in "xy"])
        for kind in (str, np.str_)
    )
    assert plain.fingerprint() == numpys.fingerprint()


def posting(positions, balances, accounts):
    return book_of(positions, balances=balances, accounts=[mm.Account(name) for name in accounts])


def test_a_filed_report_of_cash_alone_verifies(model, scenarios):
    book = posting([], [("x", "USD", 5.0)], "x")
    report = mm.MarginReport.from_json(mm.margin(book, scenarios).to_json())
    assert mm.verify(report, model, book).verdict == "equal"


IDLE = [("y", "USD", 10.0), ("z", "USD", 20.0)]
COINS = [("y", "a0", 1e6), ("z", "a1", 20.0)]


@pytest.mark.parametrize("mode", ["joint", "haircut"])
@pytest.mark.parametrize("balances", [IDLE, COINS], ids=["cash", "coins"])
def test_rounding_of_another_machine_is_within_the_bound(model, scenarios, mode, balances):
    """Returns that differ in the last bits, as another engine's do, beside idle accounts."""
    book = posting([("x", "a0", 1.0)], balances, "xyz")
    policy = mm.MarginPolicy(collateral=mm.Collateral(mode))
    returns = scenarios.returns * np.float32(1 + 2e-7)
    other = replace(scenarios, returns=returns, engine="another")
    report = mm.MarginReport.from_json(mm.margin(book, other, policy=policy).to_json())
    found = mm.verify(report, model, book)
    assert (found.verdict, found.reasons) == ("within the engine bound", ())
    fields = json.loads(report.to_json())
    fields["accounts"][1]["collateral"] *= 1.001
    forged = mm.MarginReport.from_json(json.dumps(fields))
    found = mm.verify(forged, model, book)
    assert (found.verdict, found.reasons) == ("different", ("collateral of account 'y' differs",))
