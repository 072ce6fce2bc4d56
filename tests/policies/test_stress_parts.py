"""Stress parts of a policy: what is refused, and TOML back and forth."""

import pytest

import mcmargin as mm
from mcmargin.policies.stress_parts import Gap, GridTerms, Stress, StressWindow
from tests.helpers.stressed import window


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stress(grids={"btc": "cme"}), "grid of 'btc' 'cme' is unknown"),
        (lambda: Stress(depegs={"USDT": 1.5}), "depeg of 'USDT' must lie from 0 to 1"),
        (lambda: Stress(scenario_weight=-0.1), "scenario_weight must lie from 0 to 1"),
        (lambda: Stress(dependence_weight=1.1), "dependence_weight must lie from 0 to 1"),
        (lambda: Gap("btc", -1.1), "move must lie from -1 to 100"),
        (lambda: StressWindow("w", "2020-02-30", "2020-03-01"), "not an ISO time"),
        (lambda: StressWindow("w", "2020-03-02", "2020-03-01"), "ends before it begins"),
        (lambda: StressWindow("w", "2020-03-01", "2020-03-02", 0), "worst must be an integer"),
        (lambda: StressWindow("w", "2020-03-01", "2020-03-02", 1, "as is"), "replay 'as is'"),
        (lambda: GridTerms(volatility_down=1.5), "volatility_down must lie from 0 to 1"),
        (lambda: GridTerms(floor_days=0.0), "floor_days must be above 0"),
        (lambda: GridTerms(extended_weight=2.0), "extended_weight must lie from 0 to 1"),
    ],
)
def test_bad_parts_of_a_policy(make, message):
    with pytest.raises(mm.PolicyError, match=message):
        make()


def test_a_policy_with_stress_goes_through_toml(tmp_path):
    stress = Stress(
        windows=(window("filtered", 3),),
        grids={"btc": "okx-major", "*": "paradex"},
        grid_terms=GridTerms(volatility_up=0.5, extended_weight=0.25),
        gaps=(Gap("btc", -0.3),),
        depegs={"USDT": 0.1},
        scenario_weight=0.5,
    )
    policy = mm.MarginPolicy(stress=stress)
    policy.to_toml(tmp_path / "policy.toml")
    again = mm.MarginPolicy.from_toml(tmp_path / "policy.toml")
    assert again == policy
    assert again.fingerprint() == policy.fingerprint()
