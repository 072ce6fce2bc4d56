"""`stress` gives the losses and the default fund of the library, and refuses wrong input."""

import json

import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.models import make_model

POLICY = """version = 1
[stress]
grids = { "*" = "okx-major" }
gaps = [{ underlying = "a1", move = 0.5 }]
[resources]
cover = 1
target_ratio = 1.2
"""
POSITIONS = "account,instrument,quantity\nx,a0,10\nx,a1,-4\ny,a0,-3\nz,a1,2\n"
ORDERS = "account,instrument,quantity\nz,a0,5\n"
BOOK = ("model.npz", "positions.csv", "--orders", "orders.csv")
STRESS = ("stress", *BOOK, "--policy", "policy.toml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stress")
    make_model(("gjr", "garch"), "t", "t", variance=4e-4).save(folder / "model.npz")
    (folder / "policy.toml").write_text(POLICY)
    (folder / "none.toml").write_text("version = 1\nhorizon = 1\n")
    (folder / "stress.toml").write_text(POLICY.partition("[resources]")[0])
    (folder / "positions.csv").write_text(POSITIONS)
    (folder / "orders.csv").write_text(ORDERS)
    (folder / "other.csv").write_text(POSITIONS.replace("10", "11"))
    margins_of(folder).to_json(folder / "margins.json")
    return folder


def margins_of(folder):
    book = mm.read_positions(folder / "positions.csv", orders=folder / "orders.csv")
    scenarios = mm.simulate(mm.load_model(folder / "model.npz"), horizon=2, paths=2000, seed=7)
    return mm.margin(book, scenarios, policy=mm.MarginPolicy(horizon=2))


@pytest.fixture(scope="module")
def expected(folder):
    """The stress report and the default fund that the library gives."""
    margins = margins_of(folder)
    policy = mm.MarginPolicy.from_toml(folder / "policy.toml")
    stress = mm.stress(margins.session.book, margins.session.scenarios, None, policy)
    return stress, mm.resources(margins, stress, policy)


def test_stress_and_the_fund_in_every_form(folder, call, expected):
    stress, fund = expected
    assert fund.fund > 0
    status, text, _ = call(*STRESS, "--margins", "margins.json")
    assert (status, text) == (0, f"{stress}\n{fund}\n")
    status, text, _ = call(*STRESS, "--margins", "margins.json", "--format", "json")
    assert status == 0
    found = json.loads(text)
    own = found.pop("resources")
    assert found == json.loads(stress.to_json())
    pd.testing.assert_frame_equal(pd.DataFrame(own.pop("owners"))[[*fund.owners]], fund.owners)
    assert own == {name: getattr(fund, name) for name in own}
    assert set(own) >= {"fund", "ratio", "target_ratio", "met", "cover"}
    status, text, message = call(*STRESS, "--margins", "margins.json", "--format", "csv")
    assert (status, text) == (0, stress.to_frame().to_csv(index=False))
    assert message == f"{fund}\n"


def test_stress_alone_to_a_file(folder, call, expected, tmp_path):
    def written(name, *options):
        path = tmp_path / name
        status, text, message = call(*STRESS, *options, "-o", path)
        assert (status, text, message) == (0, "", f"Wrote {path}.\n")
        return path.read_text()

    assert json.loads(written("stress.json")) == json.loads(expected[0].to_json())
    assert written("stress.csv") == expected[0].to_frame().to_csv(index=False)
    assert written("stress.csv", "--format", "json") == written("stress.json")
    assert written("stress") == written("table.json", "--format", "table") == f"{expected[0]}\n"


WRONG = {
    ("stress", *BOOK): "Missing option '--policy'",
    ("stress", *BOOK, "--policy", "none.toml"): "the policy declares no stress",
    ("stress", *BOOK, "--policy", "stress.toml", "--margins", "margins.json"): "no resources",
    ("stress", "model.npz", "other.csv", "--policy", "policy.toml", "--margins", "margins.json"): (
        "the margin report and the stress report are of different books"
    ),
    (*STRESS, "--margins", "policy.toml"): "policy.toml: not a margin report",
    (*STRESS, "-o", "policy.toml"): "policy.toml: is read, too, and would be overwritten",
    (*STRESS, "--margins", "margins.json", "-o", "margins.json"): "margins.json: is read, too",
}


@pytest.mark.parametrize("arguments", list(WRONG), ids=lambda given: " ".join(given[-3:]))
def test_wrong_input_is_status_2(folder, call, arguments):
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    status, output, message = call(*arguments)
    assert (status, output) == (2, ""), message
    assert WRONG[arguments] in message
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept
