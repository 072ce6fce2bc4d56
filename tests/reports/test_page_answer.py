"""What a page answers first: who must act, and what is to be posted."""

import re
from dataclasses import replace

import pytest

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.models import make_model
from tests.helpers.pages import CASH, Page, called_report, is_rounded_to, number


def test_the_page_answers_first_who_must_act():
    """Those in liquidation first, then those that are called, each by what it is short of."""
    report = called_report(CASH)
    text = report.to_html()
    answer = text[text.index('id="answer"') : text.index('id="accounts"')]
    assert text.index("Who must act") < text.index("<table") < text.index('id="policy"')
    tiles = re.findall(r"<b>(\d+)</b> <span>([a-z ]+)</span>", answer)
    assert tiles == [("2", "in liquidation"), ("1", "called"), ("1", "healthy")]
    said = re.findall(
        r'<a href="#(a\d)"><bdi>(\w+)</bdi></a> <b>short by ([\d,.]+) <small>± ([\d.]+)', answer
    )
    assert [name for _, name, _, _ in said] == ["owing", "gone", "called"]
    for key, name, short, error in said:
        account = report.account(name)
        lacking = account.margin - account.equity
        assert is_rounded_to(short, lacking, account.expected_shortfall_error)
        assert float(error) == pytest.approx(account.expected_shortfall_error, rel=0.05)
        assert f'<div id="{key}">' in text
    lines = Page(text).accounts()
    assert [(line["account"], line["state"]) for line in lines] == [
        *(("owing", "liquidation"), ("gone", "liquidation")),
        *(("called", "margin call"), ("rich", "healthy")),
    ]
    for line in lines:
        account = report.account(line["account"])
        over = account.equity - account.margin
        assert is_rounded_to(line["over or under"], over, account.expected_shortfall_error)
        assert number(line["equity"]) == pytest.approx(account.equity)
    assert "4 perpetual or future positions of 4 accounts that have no entry_price." in answer
    # The sum of what is lacking, to the errors' digits.
    statuses = report.statuses().set_index("account")
    lacking = -statuses["over_initial"][["owing", "gone"]].sum()
    (told, *_) = re.findall(r"short of initial margin by ([\d,.]+) USD", answer)
    errors = report.figures.set_index("account")["expected_shortfall_error"]
    assert is_rounded_to(told, lacking, errors["owing"] + errors["gone"])


@pytest.mark.parametrize(
    ("horizons", "said"),
    [((1,), "a horizon of 1 bar"), ((2,), "a horizon of 2 bars"),
     ((1, 2, 5), "horizons of 1, 2 and 5 bars")],
)  # fmt: skip
def test_horizons_are_said_in_words(horizons, said):
    model = make_model(("garch", "gjr"), "t", "t", variance=4e-4)
    scenarios = mm.simulate(model, horizons=horizons, paths=500, seed=7)
    book = book_of([["desk", "a0", 1.0]])
    text = mm.margin(book, scenarios).to_html()
    assert f"500 at {said}, single precision" in text


def test_a_doubt_that_is_a_question_ends_with_one_mark(report):
    notes = replace(report.calibration, doubts=("a0: a move of +300%: another unit?",))
    doubtful = replace(report, calibration=notes)
    assert "<li>a0: a move of +300%: another unit?</li>" in doubtful.to_html()
    assert "another unit?." not in " ".join(str(doubtful).split())


def test_nobody_is_called_where_nobody_is():
    answer = called_report({"rich": 1000.0}).to_html()
    assert "Nobody is called: the equity of all 1 is at or above" in answer
    assert "short by" not in answer


def test_without_balances_the_page_says_what_is_to_be_posted(report, text):
    assert "What to post" in text
    assert "not who is called" in text
    assert 'name="show"' not in text
    assert "state" not in Page(text).rows["accounts"][0]
