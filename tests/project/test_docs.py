"""The tables of docs/files.md are those of the models that read files; its examples are read."""

import math
import re
import runpy
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path

import pytest

import mcmargin as mm
from mcmargin.backtests.backtest_file import read_backtest
from mcmargin.markets.quotes import read_quotes
from mcmargin.policies import policy_parts, stress_parts

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables():
    return runpy.run_path(str(ROOT / "tools" / "schema_tables.py"))


def test_tables_are_those_of_the_models(tables):
    """`python tools/schema_tables.py` writes the tables anew."""
    assert tables["written"](DOCUMENT) == DOCUMENT
    for name in (*tables["MODELS"], *tables["POLICY"]):
        assert DOCUMENT.count(f"<!-- table: {name} -->") == 1


def test_every_field_is_described_with_its_default(tables):
    from mcmargin.instruments.instrument_files import INSTRUMENT_ROWS
    from mcmargin.markets.market_files import LiquidityTable, MarketFile
    from mcmargin.markets.order_book import OrderBookRow

    for model, section in (
        *((row, "## Instruments") for row, _ in INSTRUMENT_ROWS.values()),
        (MarketFile, "## Market"),
        (LiquidityTable, "In `[liquidity]`"),
        (OrderBookRow, "## Levels"),
    ):
        part = DOCUMENT[DOCUMENT.index(section) :]
        for name, field in model.model_fields.items():
            needed = "needed" if field.is_required() else ""
            assert re.search(rf"\| `{name}` \| [\w .+-]+ \| {needed}[^|]* \| \S", part), name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    blocks = re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    assert len(blocks) == len(dict(blocks)) == 12
    for name, text in blocks:
        (folder / name).write_text(text)
    return folder


def test_examples_are_read_and_belong_together(folder):
    assert mm.read_prices(folder / "prices.csv").assets == ("btc", "eth")
    instruments = mm.read_instruments(folder / "instruments.toml")
    assert mm.read_instruments(folder / "instruments.csv") == instruments
    market = mm.read_market(folder / "market.toml")
    book = mm.read_positions(
        folder / "positions.csv",
        instruments=instruments,
        accounts=mm.read_accounts(folder / "accounts.csv"),
        orders=folder / "orders.csv",
        balances=folder / "balances.csv",
    )
    assert book.assets == ("EUR", "USD", "btc")
    assert book.instruments == tuple(sorted(instruments, key=lambda item: item.name))
    assert market.liquidity["BTC-PERP"].middle == 35_000.0
    totals = mm.greeks_frame(book, market).query("instrument == ''")
    assert totals["currency"].tolist() == ["EUR", "USD"]


def test_the_example_of_a_backtest_is_read(folder):
    plan = read_backtest(folder / "backtest.toml")
    assert list(plan.models) == ["default", "historical"]
    assert plan.holdings(("btc",)).keys() == {"long btc", "short btc", "spread"}


def test_every_part_of_a_policy_has_its_table(tables):
    """Every field needs a description in the docstring of its part."""
    parts = {**vars(policy_parts), **vars(stress_parts)}
    declared = {each for each in parts.values() if is_dataclass(each)}
    assert set(tables["POLICY"].values()) == declared | {mm.MarginPolicy}
    for part in tables["POLICY"].values():
        assert all(tables["meanings"](part)[each.name] for each in fields(part)), part


def test_the_policy_to_start_from(folder, tables):
    """It shows every field of every part, and works with and without the commented lines."""
    template = files("mcmargin.templates") / "policy.toml"
    text = (folder / "policy.toml").read_text()
    assert template.read_text(encoding="utf-8") == text
    assert mm.MarginPolicy.from_toml(folder / "policy.toml").name == "house"
    (folder / "whole.toml").write_text(re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE))
    whole = mm.MarginPolicy.from_toml(folder / "whole.toml")
    for part in tables["POLICY"].values():
        for each in fields(part):
            assert re.search(rf"\b{each.name}\b( =|\])", text), (part, each.name)
            if part is mm.MarginPolicy:
                assert getattr(whole, each.name) is not None, each.name


def test_the_policy_of_the_readme(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", readme, flags=re.DOTALL)
    (tmp_path / "policy.toml").write_text(text)
    policy = mm.MarginPolicy.from_toml(tmp_path / "policy.toml")
    assert policy.leverage.tiers[-1] == mm.LeverageTier(math.inf, 10.0)


def test_columns_of_quotes(folder):
    part = DOCUMENT[DOCUMENT.index("## Quotes") : DOCUMENT.index("## Levels")]
    columns = re.findall(r"^\| `(\w+)` \|", part, flags=re.MULTILINE)
    assert columns == ["expiry", "strike", "log_moneyness", "volatility", "forward"]
    frame = read_quotes(folder / "quotes.csv")
    assert list(frame.columns) == [name for name in columns if name != "log_moneyness"]
    moved = frame.rename(columns={"strike": "log_moneyness"}).assign(log_moneyness=[0, 1, 2] * 2)
    moved.to_parquet(folder / "quotes.parquet")
    assert list(read_quotes(folder / "quotes.parquet").columns)[1] == "log_moneyness"
