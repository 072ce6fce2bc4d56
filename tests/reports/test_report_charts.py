"""Charts of a page: what is drawn is what was margined."""

import re
import subprocess
import sys

import pytest

import mcmargin as mm
from mcmargin.desk.margined_gains import margined_gains
from tests.helpers.books import book_of
from tests.helpers.pages import ACCOUNTS, ITEMS


def test_the_picture_of_a_margin_adds_up(report, text):
    """Bars in per cent of the widest reach: each begins where the last one ended."""
    pictures = re.findall(r'<ol class="steps.*?</ol>', text, flags=re.DOTALL)
    assert len(pictures) == 1 + len(report.accounts)
    for picture in pictures:
        bars = re.findall(r'<li(?: class="(\w)")? style="--a:([\d.e-]+);--w:([\d.e-]+)"', picture)
        *steps, (kind, start, width) = [(k, float(a), float(w)) for k, a, w in bars]
        assert kind == "t"
        end = start
        for kind, low, wide in steps:
            begins, ends = (low + wide, low) if kind == "n" else (low, low + wide)
            assert begins == pytest.approx(end, abs=1.1)
            end = ends
        assert end == pytest.approx(start + width, abs=1.1)
        assert max(low + wide for _, low, wide in steps) <= 100.1


def test_charts_are_of_what_was_margined(report):
    """An isolated account's positions each, and the fills of open orders that cost most."""
    assert [name for name in report.figures["account"] if name == "alone"]
    for account in report.accounts:
        units = margined_gains(report.session, account.account)
        assert len(units) == (2 if account.account == "alone" else 1)
        shortfall = sum(unit.expected_shortfall for unit in units)
        expected = account.expected_shortfall + account.open_orders
        assert shortfall == pytest.approx(expected, rel=1e-9)
        assert sum(unit.gains for unit in units).shape == (4000,)
    apart = margined_gains(report.session, "alone")
    assert sorted(unit.instrument for unit in apart) == ["A", "B"]
    (euro,) = margined_gains(report.session, "euro")
    assert euro.fills == (("P", 40.0),)
    # The same as a book that holds what was ordered.
    book = book_of([("euro", "A", 70.0), ("euro", "P", 40.0)], ITEMS, accounts=ACCOUNTS[-1:])
    session = report.session
    filled = mm.margin(book, session.scenarios, session.market, report.policy)
    assert euro.expected_shortfall == pytest.approx(filled.account("euro").expected_shortfall)
    assert euro.gains == pytest.approx(filled.profit_and_loss("euro"))


def test_a_matplotlib_that_is_set_up_otherwise_makes_no_other_page(filed, filed_text, tmp_path):
    code = (
        "import sys, matplotlib, mcmargin as mm\n"
        "matplotlib.rcParams.update({'font.size': 30, 'svg.fonttype': 'path'})\n"
        "mm.MarginReport.from_json(open(sys.argv[1]).read()).to_html(sys.argv[2])"
    )
    filed.to_json(tmp_path / "report.json")
    arguments = [tmp_path / "report.json", tmp_path / "other.html"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == filed_text
