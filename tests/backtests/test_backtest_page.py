"""The page of a backtest: what it counts, what it says, and that no table is computed twice."""

import re
from html import unescape

import numpy as np
import pytest

from mcmargin.backtests import disclosure, judging
from mcmargin.backtests.backtest_charts import telling_dates, timeline_chart
from tests.helpers.backtests import judged_backtest


@pytest.fixture(scope="module")
def found():
    return judged_backtest()


@pytest.fixture(scope="module")
def page(found):
    return found.to_html()


def rows_after(page, heading):
    """Cells of the first table after a heading."""
    table = re.search(rf"{re.escape(heading)}.*?<tbody>(.*?)</tbody>", page, re.DOTALL)[1]
    return [
        [unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in re.findall(r"<tr>.*?</tr>", table)
    ]


def test_losses_beyond_value_at_risk_and_beyond_margin_are_counted_by_hand(found, page):
    rows = {row[0]: row[4:6] for row in rows_after(page, "<h3>At 97.5 % over 2 bars</h3>")}
    assert set(rows) == set(found.models)
    losses = -found.realised[::2, :, 1]
    known = ~np.isnan(losses)
    for m, model in enumerate(found.models):
        for told, limits in zip(rows[model], (found.value_at_risk, found.margin), strict=True):
            beyond = (losses > limits[m, ::2, :, 1, 1])[known]
            assert told == f"{100 * beyond.mean():.2f} %"
    assert float(rows["normal"][0][:-2]) > float(rows["normal"][1][:-2])


def test_the_worst_months_are_those_of_the_published_table(found, page):
    best = str(found.compare()["model"].iloc[0])
    months = found.monthly_coverage()
    own = months[(months["model"] == best) & (months["horizon"] == 1) & (months["level"] == 0.99)]
    rows = rows_after(page, "<h3>By month")
    assert len(rows) == len(own)
    assert [int(row[3]) for row in rows] == sorted(own["exceptions"], reverse=True)
    worst = own[own["exceptions"] == own["exceptions"].max()].nlargest(1, "largest_exception")
    share = 100 * worst["largest_exception"].iloc[0] / 100.0
    assert rows[0][5] == f"{share:.2f} %"


def test_the_years_add_up_to_all_losses_beyond_value_at_risk(found, page):
    rows = rows_after(page, "<h3>By year")
    assert [row[0] for row in rows] == ["2015", "2016"]
    frame = found.frame.dropna(subset=["profit_and_loss"])
    frame = frame[(frame["horizon"] == 1) & (frame["level"] == 0.99)]
    shares = frame.groupby([frame["date"].dt.year, "model"], observed=True)["exception"].mean()
    for year, *cells in rows:
        assert cells == [f"{100 * shares[int(year), model]:.2f} %" for model in found.models]


def test_the_page_says_what_its_figures_mean(page):
    words = unescape(re.sub(r"<[^>]+>", "", page))
    for each in (
        "every h-th date",
        "give one number for value at risk, expected shortfall and margin",
        "no part for value at risk",
        "evidence/results/size_and_power.md",
        "BCBS, CPMI and IOSCO (d590)",
    ):
        assert each in words
    assert "every score that is consistent." not in words
    assert "about 5 %" not in words


def test_a_table_is_computed_once(found, page, monkeypatch):
    """The page asked for all of them; nobody who changes a copy changes another's."""
    for module, name in (
        (judging, "coverage_of"),
        (judging, "compared"),
        (judging, "tests_of"),
        (disclosure, "responsiveness"),
    ):
        real = getattr(module, name)

        def never(*_, name=name, **__):
            raise AssertionError(f"{name} was computed again")

        never.__name__ = real.__name__
        monkeypatch.setattr(module, name, never)
    ranked = found.compare()
    ranked["fz0"] = 0.0
    assert found.to_html() == page
    with pytest.raises(AssertionError, match="tests_of"):
        found.tests(significance=0.01)


def test_a_chart_of_many_dates_keeps_what_matters_and_is_small():
    random = np.random.default_rng(4)
    losses = random.standard_t(4, 6000)
    losses[-2:] = np.nan
    margins = 3.0 + np.sin(np.arange(6000) / 300.0)
    at = telling_dates(margins, losses, most=900)
    assert (np.diff(at) > 0).all()
    assert set(np.flatnonzero(losses > margins)) <= set(at)
    assert len(at) <= 900 + (losses > margins).sum()
    assert {np.nanargmin(losses), np.nanargmax(losses), margins.argmax()} <= set(at)
    # Every part of 20 dates is drawn, the first and the newest years as well.
    assert np.array_equal(np.unique(at // 20), np.arange(300))
    dates = np.datetime64("1999-01-04", "ns") + np.arange(6000) * np.timedelta64(1, "D")
    assert len(timeline_chart("t", dates, margins, losses)) < 120_000


def test_paths_are_drawn_to_a_hundredth_of_a_point(page):
    paths = re.findall(r' d="([^"]*)"', page)
    assert paths
    assert not any(re.search(r"\.\d{3}", path) for path in paths)
