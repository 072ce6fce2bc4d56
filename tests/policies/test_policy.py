"""Policies: what is refused, their fingerprint, and their TOML, back and forth."""

import math
from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import (
    Collateral,
    Concentration,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
    Procyclicality,
    Resources,
)
from mcmargin.policies.stress_parts import Gap, Stress, StressWindow

FULL = mm.MarginPolicy(
    level=0.995,
    horizon=2,
    horizons={"option": 5},
    short_option_minimum=0.02,
    max_age_days=3,
    name="full",
    maintenance=Maintenance(level=0.98, horizon=1),
    stress=Stress(
        windows=(StressWindow("2008", "2008-09-01", "2008-12-31", worst=3, replay="raw"),),
        grids={"btc": "deribit", "*": "okx-other"},
        gaps=(Gap("btc", -0.3),),
        depegs={"USDT": 0.2},
        scenario_weight=0.5,
    ),
    procyclicality=Procyclicality(buffer=0.25, floor_years=10, speed_limit=0.2),
    liquidity=Liquidity(impact=0.8, participation=0.2, spread=0.001),
    concentration=Concentration(free_notional=1e6, rate=0.05),
    leverage=Leverage(
        (LeverageTier(1e6, 20), LeverageTier(math.inf, 10)),
        open_interest_lower=1e8,
        open_interest_upper=5e8,
    ),
    resources=Resources(cover=2, target_ratio=1.1),
    collateral=Collateral(mode="haircut"),
    tick=0.01,
)


@pytest.mark.parametrize("policy", [mm.MarginPolicy(), FULL, replace(FULL, leverage=None)])
def test_back_and_forth(policy, tmp_path):
    path = tmp_path / "policy.toml"
    policy.to_toml(path)
    again = mm.MarginPolicy.from_toml(path)
    assert again == policy
    assert again.fingerprint() == policy.fingerprint()
    assert path.read_text().startswith("version = 1\n")


def test_only_what_is_given_is_written():
    assert mm.MarginPolicy(level=0.975).to_toml() == "version = 1\nlevel = 0.975\n"


def test_every_field_moves_the_fingerprint():
    prints = {replace(FULL, **{name: getattr(mm.MarginPolicy(), name)}).fingerprint()
              for name in FULL.__dataclass_fields__ if name != "confidence"}  # fmt: skip
    assert len(prints) == len(FULL.__dataclass_fields__) - 1


TIERS = "[leverage]\ntiers = ["
BAD = {
    "no version": ("level = 0.99\n", "no version is given; the first line must be: version = 1"),
    "another version": (
        "version = 2\n",
        "version 2 is unknown; the first line must be: version = 1",
    ),
    "not TOML": ("version = \n", "not a TOML file"),
    "unknown field": ("version = 1\nlevels = 0.99\n", "field levels is unknown"),
    "unknown field of a part": (
        "version = 1\n[liquidity]\nimpacts = 1\n",
        "field liquidity.impacts is unknown; it is one of impact",
    ),
    "text for a number": ('version = 1\nlevel = "99 %"\n', "field level is '99 %'; a number"),
    "level": ("version = 1\nlevel = 99\n", "level must lie between 0.5 and 1"),
    "level of maintenance": (
        "version = 1\n[maintenance]\nlevel = 1.5\n",
        "maintenance: level must lie between 0.5 and 1, not 1.5",
    ),
    "horizon": ("version = 1\nhorizon = 0\n", "horizon must be an integer of 1"),
    "horizon as text": ('version = 1\nhorizon = "2"\n', "field horizon is '2'; a whole number"),
    "product class": ("version = 1\n[horizons]\nswap = 1\n", "product class 'swap' is unknown"),
    "missing tier field": (
        f"version = 1\n{TIERS}{{up_to = 1.0}}]\n",
        r"field leverage.tiers\[0\].max_leverage is missing",
    ),
    "negative tier": (
        f"version = 1\n{TIERS}{{up_to = inf, max_leverage = -2.0}}]\n",
        "leveragetier: max_leverage must lie from 1 to 10000, not -2",
    ),
    "no tier": ("version = 1\n[leverage]\ntiers = []\n", "give at least one tier"),
    "tiers out of order": (
        f"version = 1\n{TIERS}{{up_to = 5.0, max_leverage = 9.0}}, "
        "{up_to = 2.0, max_leverage = 3.0}]\n",
        r"tiers must rise from above 0 and end at inf; these end at \[5.0, 2.0\]",
    ),
    "more leverage for more": (
        f"version = 1\n{TIERS}{{up_to = 5.0, max_leverage = 3.0}}, "
        "{up_to = inf, max_leverage = 9.0}]\n",
        "larger brackets cannot allow more leverage",
    ),
    "open interest": (
        "version = 1\n[leverage]\ntiers = [{up_to = inf, max_leverage = 9.0}]\n"
        "open_interest_lower = 2.0\nopen_interest_upper = 1.0\n",
        "open interest must rise",
    ),
    "target ratio below 1": (
        "version = 1\n[resources]\ntarget_ratio = 0.9\n",
        "resources: target_ratio must lie from 1 to 1000, not 0.9",
    ),
    "participation": ("version = 1\n[liquidity]\nparticipation = 0\n", "participation must"),
    "buffer": ("version = 1\n[procyclicality]\nbuffer = -0.1\n", "buffer must lie from 0 to 1"),
    "half a period": (
        'version = 1\n[procyclicality]\nstressed_first = "2008-01-01"\n',
        "both stressed_first and stressed_last",
    ),
    "window backwards": (
        'version = 1\n[[stress.windows]]\nname = "w"\nfirst = "2009-01-01"\nlast = "2008-01-01"\n',
        "'w': it ends before it begins",
    ),
    "window's date": (
        'version = 1\n[[stress.windows]]\nname = "w"\nfirst = "soon"\nlast = "2008-01-01"\n',
        "'w': first 'soon' is not an ISO time",
    ),
    "unknown grid": (
        'version = 1\n[stress.grids]\nbtc = "binance"\n',
        "grid of 'btc' 'binance' is unknown",
    ),
    "collateral mode": (
        'version = 1\n[collateral]\nmode = "free"\n',
        "collateral: mode 'free' is unknown",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_policies_are_refused(case, tmp_path):
    text, message = BAD[case]
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(mm.PolicyError, match=rf"policy\.toml: .*{message}"):
        mm.MarginPolicy.from_toml(path)
    assert path.read_text() == text


def test_a_policy_file_that_is_not_there(tmp_path):
    with pytest.raises(mm.PolicyError, match=r"none\.toml: cannot be read"):
        mm.MarginPolicy.from_toml(tmp_path / "none.toml")


@pytest.mark.parametrize("horizon", [2.5, True, math.nan, 0, -1, "2"])
def test_a_horizon_is_a_whole_number_of_bars(horizon):
    with pytest.raises(mm.PolicyError, match="horizon"):
        mm.MarginPolicy(horizon=horizon)


@pytest.mark.parametrize("level", ["0.99", None, True, math.nan, 99, 1.0])
def test_a_level_is_a_number_between_a_half_and_one(level):
    with pytest.raises(mm.PolicyError, match="level"):
        mm.MarginPolicy(level=level)


def test_numpy_numbers_are_plain_numbers():
    plain = mm.MarginPolicy(level=0.99, horizon=3, max_age_days=2)
    numpy = mm.MarginPolicy(level=np.float64(0.99), horizon=np.int64(3), max_age_days=np.float64(2))
    assert plain.fingerprint() == numpy.fingerprint()
