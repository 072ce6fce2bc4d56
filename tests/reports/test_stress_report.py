"""Stress reports: JSON, text, and what they do not have."""

import json

import pytest

import mcmargin as mm
from mcmargin.policies.stress_parts import Gap
from tests.helpers.stressed import scenarios_with_a_history, stressed, window, within


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_with_a_history()


def test_the_report_as_json_and_text(scenarios, tmp_path):
    rows = [("x [1]", "S", 1.0), ("y", "S", -1.0)]
    report = stressed(rows, scenarios, windows=(window(worst=2),), gaps=(Gap("a0", -0.3),))
    path = tmp_path / "stress.json"
    content = json.loads(report.to_json(path))
    assert json.loads(path.read_text()) == content
    assert content["schema"] == "mcmargin.stress/1"
    assert content["scenarios"] == within(scenarios).sum() + 1
    first = content["accounts"][0]
    assert (first["account"], first["scenario"]) == ("x [1]", report.accounts["scenario"][0])
    frame = report.to_frame()
    losses = [each["loss"] for account in content["accounts"] for each in account["scenarios"]]
    assert losses == frame["loss"].tolist()
    assert content["fingerprints"]["policy"] == report.policy.fingerprint()
    text = str(report)
    assert "x [1] (USD)" in text
    assert f"{report.accounts['loss'][0]:,.2f}" in text
    assert "worst of 215 scenarios in 2 sets" in text


def test_text_of_many_accounts_lists_fifty(scenarios):
    rows = [(f"account {at:02d}", "S", 1.0 + at) for at in range(53)]
    text = str(stressed(rows, scenarios, gaps=(Gap("a0", -0.3),)))
    assert "account 49 (USD)" in text
    assert "account 50" not in text
    assert "and 3 accounts more" in text
    few = str(stressed(rows[:50], scenarios, gaps=(Gap("a0", -0.3),)))
    assert "account 49 (USD)" in few
    assert "more" not in few


def test_what_a_report_does_not_have(scenarios):
    report = stressed([("x", "S", 1.0)], scenarios, gaps=(Gap("a0", -0.3),))
    with pytest.raises(mm.DataError, match="no account 'z'"):
        report.scenarios_of("z")
