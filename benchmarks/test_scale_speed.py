"""How processor time grows with accounts, with open orders, and with a lack of memory.

L1: a report of 100,000 accounts of 4 positions is written as JSON and read, beside the margin run
that made it. The target is 15 s for both together, and less than the margins for each. The standard
library writes and reads a twentieth of the same content. L2: the worst fills of one account's
orders in 50 to 400 instruments on 20,000 paths. The target is a cost in proportion to their number;
beside it is one climb in plain numpy that changes one side at a time. L3: 5,000 accounts x 2,000
instruments x 20,000 paths within 300, 100 and 30 MB. The target is at most three times the time
without a limit.
"""

import functools
import json
import time
import warnings

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from benchmarks.books import UNDERLYINGS, instruments_of, market_of, positions_of
from benchmarks.memory import peak, reset_peak
from benchmarks.size import size
from mcmargin.errors import MemoryLimitWarning
from mcmargin.margins.worst_fills import worst_fills
from tests.helpers.models import make_model

pytestmark = pytest.mark.benchmark(timer=time.process_time)

MANY = size(100_000, 200)
ORDERED = size((50, 100, 200, 400), (12, 15))
PATHS = size(20_000, 4096)
ACCOUNTS, INSTRUMENTS = size(5000, 20), size(2000, 40)
LIMITS = size((None, 300, 100, 30), (None, 1))


@functools.cache
def scenarios_of(paths):
    model = make_model(("gjr",) * UNDERLYINGS, "t", "t", variance=4e-4)
    return mm.simulate(model, horizon=2, paths=paths, seed=7, engine="numpy")


@functools.cache
def book_of(accounts):
    """Positions: each account has four."""
    rng = np.random.default_rng(3)
    names = np.repeat(np.char.mod("account %06d", np.arange(accounts)), 4)
    places = (np.arange(4 * accounts) // 4 * 7 + np.arange(4 * accounts) % 4) % UNDERLYINGS
    assets = np.char.mod("a%d", places)
    frame = pd.DataFrame(
        {"account": names, "instrument": assets, "quantity": rng.normal(0, 10, len(names))}
    )
    return mm.Book.from_frame(frame.drop_duplicates(["account", "instrument"]))


@functools.cache
def report_of(accounts):
    return mm.margin(book_of(accounts), scenarios_of(2048))


def text_of(accounts):
    return report_of(accounts).to_json()


def note(benchmark, group, who, **others):
    benchmark.group = f"{group} (processor time)"
    benchmark.extra_info.update(who=who, **others)


def test_the_margins_that_are_filed(benchmark):
    book, scenarios = book_of(MANY), scenarios_of(2048)
    note(benchmark, f"L1, {MANY:,} accounts written as JSON", "mcmargin, the margins themselves")
    benchmark.pedantic(lambda: mm.margin(book, scenarios), rounds=2)


def test_json_is_written(benchmark):
    report = report_of(MANY)
    note(benchmark, f"L1, {MANY:,} accounts written as JSON", "mcmargin")
    text = benchmark.pedantic(report.to_json, rounds=3)
    benchmark.extra_info["MB"] = round(len(text) / 1e6)


def test_json_of_the_standard_library_is_written(benchmark):
    content = json.loads(text_of(MANY // 20))
    who = "json of the standard library"
    note(benchmark, f"L1, {MANY:,} accounts written as JSON", who, scaled_by=20)
    benchmark.pedantic(json.dumps, args=(content,), kwargs={"indent": 2}, rounds=3)


def test_json_is_read(benchmark):
    text = text_of(MANY)
    note(benchmark, f"L1, {MANY:,} accounts read from JSON", "mcmargin")
    report = benchmark.pedantic(mm.MarginReport.from_json, args=(text,), rounds=3)
    assert len(report.figures) == MANY


def test_json_of_the_standard_library_is_read(benchmark):
    """Read JSON into lists and dictionaries, without a look at any field."""
    text = text_of(MANY // 20)
    who = "json of the standard library, unchecked"
    note(benchmark, f"L1, {MANY:,} accounts read from JSON", who, scaled_by=20)
    benchmark.pedantic(json.loads, args=(text,), rounds=3)


def orders_of(count):
    rng = np.random.default_rng(1)
    changes = rng.standard_normal((count, PATHS))
    changes += 0.5 * rng.standard_normal(PATHS) * rng.normal(size=(count, 1))
    gains = 0.5 * rng.normal(size=count) @ changes
    return gains, changes, -rng.uniform(0, 3, count), rng.uniform(0, 3, count)


def plain_climb(gains, changes, sells, buys, level):
    """One climb from one start: each step changes one side and sorts all paths partially."""
    k = round(len(gains) * (1 - level))

    def shortfalls(corners):
        parts = (corners[low : low + 64] for low in range(0, len(corners), 64))
        losses = (-(gains + part @ changes) for part in parts)
        return np.concatenate(
            [np.partition(each, -k, axis=1)[:, -k:].mean(axis=1) for each in losses]
        )

    corner = buys
    worst = shortfalls(corner[None])[0]
    while True:
        others = np.tile(corner, (len(corner), 1))
        np.fill_diagonal(others, sells + buys - corner)
        found = shortfalls(others)
        if not found.max() > worst:
            return worst
        corner, worst = others[int(found.argmax())], found.max()


@pytest.mark.parametrize("count", ORDERED)
def test_worst_fills(benchmark, count):
    account = orders_of(count)
    note(benchmark, f"L2, worst fills in {count} instruments", "mcmargin")
    found, _ = benchmark.pedantic(worst_fills, args=account, kwargs={"level": 0.99}, rounds=3)
    benchmark.extra_info["expected shortfall"] = round(float(found), 3)


@pytest.mark.parametrize("count", ORDERED[:2])
def test_a_plain_climb(benchmark, count):
    account = orders_of(count)
    note(benchmark, f"L2, worst fills in {count} instruments", "plain numpy, one climb")
    found = benchmark.pedantic(plain_climb, args=(*account, 0.99), rounds=1)
    benchmark.extra_info["expected shortfall"] = round(float(found), 3)


@pytest.mark.parametrize("limit", LIMITS)
def test_margins_within_a_memory_limit(benchmark, limit):
    items, scenarios = instruments_of(INSTRUMENTS), scenarios_of(PATHS)
    book = mm.Book.from_frame(positions_of(ACCOUNTS, items), instruments=items)
    who = "mcmargin" if limit is None else f"mcmargin, {limit} MB"
    note(benchmark, f"L3, {ACCOUNTS:,} accounts and a memory limit", who)
    most = None if limit is None else limit * 10**6

    def run():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MemoryLimitWarning)
            return mm.margin(book, scenarios, market_of(), memory_limit=most, threads=1)

    reset_peak()
    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["peak MB of the process"] = round(peak())
