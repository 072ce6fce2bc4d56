"""The report whose page is looked at, and the same report read from its file."""

import pytest

import mcmargin as mm
from tests.helpers.pages import report_after_a_rise


@pytest.fixture(scope="module")
def report():
    return report_after_a_rise()


@pytest.fixture(scope="module")
def text(report):
    return report.to_html()


@pytest.fixture(scope="module")
def filed(report):
    """The same from a file, without its scenarios."""
    return mm.MarginReport.from_json(report.to_json())


@pytest.fixture(scope="module")
def filed_text(filed):
    return filed.to_html()
