"""A page in a browser: on a phone, on a desk and in print, without a script."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from mcmargin.reports.report_charts import CHARGE
from tests.helpers.browser import CONTRASTS, CUT, SIZES, Browser, chromium
from tests.helpers.pages import (
    CASH,
    called_report,
    report_after_a_rise,
)


@pytest.fixture(scope="module")
def report():
    return report_after_a_rise()


@pytest.fixture(scope="module")
def path(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.to_html(path)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium() is None:
        pytest.skip("chromium is not installed: the page is opened in no browser")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


OPEN = "document.querySelectorAll('details').forEach(each => each.open = true)"
SHOWN = """[...document.querySelectorAll('#accounts tbody')].filter(
    each => each.checkVisibility()).map(each => each.querySelector('bdi').textContent)"""
LINES = """[...document.querySelectorAll('#accounts tbody tr:first-child')].map(row =>
    [...row.children].filter(each => each.checkVisibility()).map(each => each.innerText.trim()))"""
HEIGHTS = """[...document.querySelectorAll('#accounts tbody')].map(
    each => each.getBoundingClientRect().height)"""
ERRORS = """[...document.querySelectorAll('tbody:has([open]) tr:first-child td')].map(cell => {
    const words = document.createRange(); words.selectNodeContents(cell);
    const [inner, outer] = [words.getBoundingClientRect(), cell.getBoundingClientRect()];
    return Math.min(inner.left - outer.left, outer.right - inner.right) + 0.5})"""
ROOM = """[...document.querySelectorAll('td.s')].map(cell => {
    const words = document.createRange(); words.selectNodeContents(cell);
    return cell.getBoundingClientRect().right - words.getBoundingClientRect().right})"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(report, path, browser, width):
    browser.open(path, width)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.value("document.title") == "Policy <b>1</b>, 2020-01-01"
    assert browser.value("document.scripts.length + document.images.length") == 0
    phone = width == 390
    for line in browser.value(LINES):
        # On a phone what matters most; all else is one tap away.
        assert len(line) == (2 if phone else 8), line
    browser.value(OPEN)
    assert all(len(line) == 8 for line in browser.value(LINES))
    # Nothing reaches beyond the screen, and no chart or letter in it is cut off.
    assert browser.value("document.documentElement.scrollWidth") <= width
    sizes = browser.value(SIZES)
    assert len(sizes) == 2 + len(report.accounts) + 1
    assert all(0 <= left < right <= width and height > 50 for left, right, height in sizes)
    assert browser.value(CUT) == []
    names = browser.value("[...document.querySelectorAll('svg text')].map(t => t.textContent)")
    assert "<script>document.titl…" in names
    # The bars are drawn: their colour covers more than a twentieth of the charts' width.
    picture = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB"))
    bars = (picture == [int(CHARGE[at : at + 2], 16) for at in (1, 3, 5)]).all(axis=2)
    assert bars.sum() > 5000


@pytest.fixture(scope="module")
def called_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("called") / "report.html"
    called_report(CASH).to_html(path)
    return path


def test_a_phone_shows_one_line_an_account_and_the_rest_on_a_tap(called_path, browser):
    browser.open(called_path, 390)
    assert [line[:2] for line in browser.value(LINES)] == [
        *(["owing", "liquidation"], ["gone", "liquidation"]),
        *(["called", "margin call"], ["rich", "healthy"]),
    ]
    assert {len(line) for line in browser.value(LINES)} == {4}
    assert max(browser.value(HEIGHTS)) < 40
    # The words of a state end at least 4 pixels before their cell does.
    assert min(browser.value(ROOM)) >= 4
    assert browser.value("document.documentElement.scrollWidth") <= 390
    browser.value("document.querySelector('summary').click()")
    lines = browser.value(LINES)
    assert len(lines[0]) == 11
    # The error that a tap shows stays in the cell of its margin.
    assert min(browser.value(ERRORS)) >= 0
    assert {len(line) for line in lines[1:]} == {4}


@pytest.mark.parametrize("width", [390, 1280])
def test_states_are_filtered_without_a_script(called_path, browser, width):
    browser.open(called_path, width)
    assert browser.value(SHOWN) == ["owing", "gone", "called", "rich"]
    for state, names in (
        ("liquidation", ["owing", "gone"]),
        ("margin-call", ["called"]),
        ("healthy", ["rich"]),
        ("all", ["owing", "gone", "called", "rich"]),
    ):
        browser.value(f"document.getElementById('show-{state}').click()")
        assert browser.value(SHOWN) == names


def test_a_name_leads_to_what_its_margin_is_made_of(called_path, browser):
    browser.open(called_path, 1280)
    assert browser.value("document.querySelectorAll('details[open]').length") == 0
    browser.value("document.querySelector('.who a').click()")
    opened = "document.querySelector('details[open]').closest('tbody').querySelector('bdi')"
    assert browser.value(f"{opened}.textContent") == "owing"


@pytest.mark.parametrize("width", [390, 1280])
def test_every_text_can_be_read(called_path, path, browser, width):
    """Contrasts of 4.5 or more, which WCAG 2 asks for at level AA."""
    for page in (called_path, path):
        browser.open(page, width)
        browser.value(OPEN)
        found = browser.value(CONTRASTS)
        assert len(found) > 100
        assert [each for each in found if each[0] < 4.5] == []


def test_the_page_in_print(path, browser):
    browser.open(path, 1280)
    pages = browser.pdf()
    assert pages.startswith(b"%PDF")
    # A4, upright.
    sizes = {tuple(map(float, box)) for box in re.findall(
        rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pages)}  # fmt: skip
    assert sizes
    for width, height in sizes:
        assert width == pytest.approx(595.3, abs=1)
        assert height == pytest.approx(841.9, abs=1)
