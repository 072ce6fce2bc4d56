"""Parts of a margin as a page shows them add up to it."""

import pytest

import mcmargin as mm
from mcmargin.reports.margin_parts import parts_of
from tests.helpers.pages import report_of


def test_parts_add_up_to_the_margin(report):
    for each in (report, report_of(4e-4), report_of(4e-4, policy=mm.MarginPolicy(horizon=2))):
        for row in each.figures.to_dict("records"):
            parts = parts_of(row, each.policy)
            total = sum(part.amount for part in parts)
            assert total == pytest.approx(row["margin"], rel=1e-12, abs=1e-9)
            assert all(part.reason for part in parts)
    named = {p.name for row in report.figures.to_dict("records")
             for p in parts_of(row, report.policy) if abs(p.amount) > 1e-9}  # fmt: skip
    # Every step but the floor, which this policy has not, is taken by some account.
    everything = {part.name for part in parts_of(row, report.policy)}
    assert everything - named == {"floor", "maintenance"}
