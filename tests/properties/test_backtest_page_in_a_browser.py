"""The page of a backtest in a browser: on a phone, on a desk and in print, without a script."""

import re

import pytest

from tests.helpers.backtests import judged_backtest
from tests.helpers.browser import CONTRASTS, CUT, SIZES, Browser, chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium() is None:
        pytest.skip("chromium is not installed: the page is opened in no browser")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def path(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "backtest.html"
    judged_backtest().to_html(path)
    return path


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_of_a_backtest(path, browser, width):
    browser.open(path, width)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.value("document.scripts.length + document.images.length") == 0
    assert browser.value("document.querySelector('#coverage').textContent").count("alert(1)") >= 2
    # Nothing reaches beyond the screen, and no chart or letter in it is cut off.
    assert browser.value("document.documentElement.scrollWidth") <= width
    sizes = browser.value(SIZES)
    assert len(sizes) == 2 + 2 * 2 * 2
    assert all(0 <= left < right <= width and height > 50 for left, right, height in sizes)
    assert browser.value(CUT) == []
    assert [each for each in browser.value(CONTRASTS) if each[0] < 4.5] == []
    # The names of rows stay in sight when a wide table is moved.
    moved = browser.value("""[...document.querySelectorAll('.scroll')].map(box => {
        box.scrollLeft = 200; const at = box.getBoundingClientRect().left;
        return box.querySelector('tbody th').getBoundingClientRect().left - at})""")
    assert moved == pytest.approx([0.0] * len(moved), abs=1.0)


def test_the_page_of_a_backtest_in_print(path, browser):
    browser.open(path, 1280)
    pages = browser.pdf()
    sizes = {tuple(map(float, box)) for box in re.findall(
        rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pages)}  # fmt: skip
    assert sizes
    for width, height in sizes:
        assert (width, height) == (pytest.approx(595.3, abs=1), pytest.approx(841.9, abs=1))
