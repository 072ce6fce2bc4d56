"""Both engines give the same scenarios, tails and margins for one seed.

The cupy engine runs on cupy's double, or on a GPU with MCMARGIN_TEST_GPU=1. The bounds are those of
docs/design.md: returns agree to 2e-5 (float32) and 1e-11 (float64) of volatility plus |return|,
profit and loss to 2e-5 of gross exposure.
"""

from pathlib import Path

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.draws.random_stream import JUMPS, NAMED, lane_of, stream_key
from mcmargin.engines import cupy_engine, numpy_engine
from mcmargin.engines.execution import Execution
from mcmargin.models.dependence import LEGAL, make_dependence
from mcmargin.models.innovations import empirical_innovations
from mcmargin.numerics.arrays import to_host
from mcmargin.numerics.selection import worst_losses
from mcmargin.numerics.tail import estimate_tails
from mcmargin.policies.policy_parts import Maintenance
from mcmargin.policies.stress_parts import Gap, Stress, StressWindow
from mcmargin.scenarios.simulation import simulate
from tests.helpers.books import book_of, seven_accounts
from tests.helpers.kernels import BOUND
from tests.helpers.models import MARGINALS, RECURSIONS, make_model, with_history

KINDS = tuple(RECURSIONS)
DATA = Path(__file__).parents[1] / "saved"

RESIDUALS = np.random.default_rng(53).standard_t(5, (400, len(KINDS))) * np.sqrt(3 / 5)
LAWS = {**{law: law for law in MARGINALS}, "empirical": empirical_innovations(RESIDUALS[:, 0])}


def assert_the_same(ours, peer, sigma, precision):
    """Compare returns and next variances of two engines, on the host."""
    scale = sigma[None, :, None] + np.abs(peer.returns)
    worst = (np.abs(ours.returns.astype(float) - peer.returns) / scale).max()
    assert worst < BOUND[precision]
    moved = np.abs(ours.next_variance.astype(float) / peer.next_variance - 1).max()
    # A variance is a square of returns, so that it has twice their relative error, and its own.
    assert moved < 4 * BOUND[precision]
    assert (ours.floored_paths, ours.capped_paths) == (peer.floored_paths, peer.capped_paths)
    assert ours.limited == peer.limited


def both(model, **options):
    settings = {"horizon": 2, "paths": 5000, "seed": 7} | options
    single = {name: settings.pop(name) for name in ("block_tiles", "devices") if name in settings}
    peer = simulate(model, engine="numpy", **settings)
    ours = simulate(model, engine="cupy", **settings, **single)
    assert ours.engine == "cupy"
    return ours, peer


def check(model, **options):
    ours, peer = both(model, **options)
    sigma = np.sqrt(model.state.variance)
    assert_the_same(ours.to_host(), peer, sigma, options.get("precision", "single"))
    return ours, peer


PAIRS = [(law, kind) for kind, laws in LEGAL.items() for law in laws]


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize(("law", "dependence"), PAIRS)
def test_engines_agree_on_every_pair_of_innovations_and_dependence(
    cupy, law, dependence, precision
):
    nu = 4.2 if dependence == "t" else None
    model = make_model(KINDS, LAWS[law], dependence, nu=nu, residuals=RESIDUALS)
    check(model, horizon=None, horizons=(1, 3), precision=precision)


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("kind", KINDS)
def test_engines_agree_on_every_volatility(cupy, kind, precision):
    check(make_model((kind,) * 3, "t", "t"), horizon=10, precision=precision)


@pytest.mark.parametrize("dependence", ["gaussian", "t"])
def test_engines_agree_on_common_factors(cupy, dependence):
    nu = 5.0 if dependence == "t" else np.inf
    model = make_model(("gjr",) * 70, "t", dependence, nu=nu)
    law = make_dependence(
        dependence, factor=np.full((70, 2), 0.6), diagonal=np.full(70, 0.28**0.5), nu=nu
    )
    check(type(model)(**{**model.__dict__, "dependence": law}))


@pytest.mark.parametrize(
    ("assets", "paths", "horizon"),
    [(1, 1, 1), (1, 2047, 2), (3, 2048, 1), (2, 2049, 3), (300, 4097, 1)],
)
def test_engines_agree_at_the_edges_of_tiles(cupy, assets, paths, horizon):
    check(make_model(("garch",) * assets), paths=paths, horizon=horizon)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_engines_agree_in_blocks_of_any_size(cupy, block):
    model = make_model(KINDS, "skewt", "t", nu=4.2)
    check(model, paths=9000, horizon=None, horizons=(1, 2, 5), block_tiles=block)


def test_floors_and_caps_are_counted_alike(cupy):
    ours, _ = check(make_model(("garch", "egarch")), horizon=5, variance_cap=1.2, price_floor=0.97)
    assert ours.floored_paths > 0
    assert ours.capped_paths > 0
    assert ours.limited["floored"].keys() == {"a0", "a1"} == ours.limited["capped"].keys()


@pytest.mark.parametrize("name", ["copula", "historical"])
def test_saved_models_of_real_prices(cupy, name):
    model = mm.load_model(DATA / f"{name}.npz")
    check(model, horizon=None, horizons=(1, 2, 10), paths=20_000)


def test_margins_are_the_same(cupy):
    model = make_model(KINDS, "t", "t")
    ours, peer = both(model, paths=100_000)
    book = seven_accounts(model.assets)
    reports = [mm.margin(book, scenarios) for scenarios in (ours, peer)]
    assert [report.engine for report in reports] == ["cupy", "numpy"]
    for a, b in zip(*(report.accounts for report in reports), strict=True):
        assert abs(a.margin - b.margin) < 2e-5 * b.gross_exposure
        assert abs(a.value_at_risk - b.value_at_risk) < 2e-5 * b.gross_exposure
        for mine, other in zip(a.contributions, b.contributions, strict=True):
            # Losses near VaR may be ordered differently: one path of a thousand.
            assert abs(mine.contribution - other.contribution) < 2e-3 * b.gross_exposure
    again = mm.MarginReport.from_json(reports[0].to_json())
    assert mm.verify(again, model, book, engine="numpy").verdict == "within the engine bound"
    assert mm.verify(again, model, book, engine="cupy").verdict == "equal"


@pytest.mark.parametrize("paths", [20_000, 70_000, 300_000])
def test_tails_are_selected_alike(cupy, paths):
    """Losses have ties, constants and heavy tails; from 65,537 paths on, a sample gives a bound."""
    rng = np.random.default_rng(61)
    losses = np.stack(
        [
            rng.standard_normal(paths),
            rng.standard_t(2, paths),
            np.round(rng.standard_normal(paths), 1),
            np.minimum(rng.standard_normal(paths), 1.0),
            np.zeros(paths),
            np.arange(paths, dtype=float),
            np.arange(paths, dtype=float)[::-1],
        ]
    )
    host = estimate_tails(losses, level=0.99)
    device = estimate_tails(cupy.asarray(losses), level=0.99)
    np.testing.assert_array_equal(host.paths, cupy.asnumpy(device.paths))
    np.testing.assert_array_equal(host.expected_shortfall, device.expected_shortfall)
    np.testing.assert_array_equal(host.value_at_risk_interval, device.value_at_risk_interval)
    worst = cupy.asnumpy(worst_losses(cupy.asarray(losses), 1234))
    np.testing.assert_array_equal(np.sort(worst), np.sort(worst_losses(losses, 1234)))
    np.testing.assert_array_equal(worst[:, 0], worst.min(axis=1))


def test_scenarios_come_to_the_host_when_asked(cupy, tmp_path):
    model = make_model(("garch", "gjr"))
    scenarios, peer = both(model)
    assert type(scenarios.returns).__module__.startswith("cupy")
    scenarios.save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as saved:
        np.testing.assert_array_equal(saved["returns"], scenarios.to_host().returns)
    assert peer.to_host().returns is peer.returns


@pytest.mark.parametrize("engine", ["numpy", "cupy"])
def test_tiles_alone_are_the_same_paths(cupy, engine):
    model = make_model(("garch", "egarch"), "t", "t")
    whole = simulate(model, horizon=2, paths=9000, seed=7, engine=engine).to_host()
    module = {"numpy": numpy_engine, "cupy": cupy_engine}[engine]
    for tiles in (range(0, 2), range(3, 5)):
        returns, _, _ = module.simulate_paths(model, whole.plan, Execution(threads=2), tiles)
        expected = whole.returns[:, :, tiles.start * 2048 : tiles.stop * 2048]
        np.testing.assert_allclose(to_host(returns), expected, atol=2e-7)


def test_engines_agree_on_named_draws(cupy):
    """Named normals and jumps are those of the lane of the name, in any tiles and steps."""
    lane = lane_of("BTC-PERP")
    place = (7, lane, range(2, 4), range(1, 4))
    for engine in (numpy_engine, cupy_engine):
        normals = to_host(engine.named_normals(*place))
        jumps = to_host(engine.named_jumps(*place, 0.3))
        assert normals.shape == jumps.shape == (3, 4096)
        for step in range(3):
            counter = np.array([3 * 2**32, 1 + step, NAMED, lane], np.uint64)
            words = np.random.Philox(key=stream_key(7), counter=counter).random_raw(2048)
            u = ((words[:1024] >> np.uint64(11)) + 0.5) * 2.0**-53
            v = (words[1024:] >> np.uint64(11)) * 2.0**-53
            expected = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
            np.testing.assert_allclose(normals[step, 2048:3072], expected, atol=1e-13)
            counter[2] = JUMPS
            words = np.random.Philox(key=stream_key(7), counter=counter).random_raw(2048)
            exact = [int(word) < int(0.3 * 2**64) for word in words]
            np.testing.assert_array_equal(jumps[step, 2048:], exact)
    assert not engine.named_jumps(*place, 0.0).any()
    # These are 4.5 standard errors of 12,288 draws.
    share = float(to_host(engine.named_jumps(7, lane, range(6), range(1), 0.3)).mean())
    assert abs(share - 0.3) < 4.5 * np.sqrt(0.21 / 12_288)


def test_derivative_margins_are_the_same(cupy):
    """Instruments of all kinds, currencies and orders are valued alike on both devices."""
    model = make_model(("gjr", "garch", "egarch"), "t", "t", variance=4e-4)
    ours, peer = both(model, horizon=None, horizons=(1, 2, 5), paths=10_000)
    items = [
        mm.Spot("S", "a0"),
        mm.Perpetual("P", "a1", funding_rate=1e-4),
        mm.Perpetual("I", "a0", inverse=True, contract_size=10.0),
        mm.Future("F", "a0", "2020-06-01", carry=0.05),
        mm.Option("C", "a0", "call", 105.0, "2020-02-01"),
        mm.Option("K", "a1", "put", 50.0, "2020-01-03", settlement="coin"),
        mm.Option("G", "a2", "put", 90.0, "2020-03-01"),
        mm.Spot("U", "USDT"),
        mm.Spot("E", "a1", "EUR"),
    ]
    rng = np.random.default_rng(73)
    rows = [(a, item.name, float(q)) for a in "xyz" for item, q in
            zip(items, rng.normal(0, 10, len(items)), strict=True)]  # fmt: skip
    orders = [("x", "S", 5.0), ("x", "C", -7.0), ("y", "P", 3.0)]
    balances = [("x", "USDT", 100.0), ("y", "a0", 3.0), ("z", "a0", 2.0), ("z", "USD", -9.0)]
    book = book_of(
        rows,
        items,
        balances,
        orders=orders,
        accounts=[mm.Account("x", "EUR"), mm.Account("y", mode="isolated"), mm.Account("z", "a0")],
    )
    market = mm.Market(
        as_of=model.as_of,
        spot={"a0": 100.0, "a1": 50.0, "a2": 100.0},
        coins=("a0",),
        volatility={"a0": 0.5, "a1": 0.6, "a2": 0.4},
        fx={"EUR": 1.2, "USDT": 1.0},
        fx_volatility={"EUR": 0.1},
        depeg={"USDT": mm.Depeg(0.01, 0.3)},
        rates={"USD": 0.03},
        carry={"a0": 0.04},
    )
    policy = mm.MarginPolicy(horizons={"option": 2}, short_option_minimum=0.01)
    reports = [mm.margin(book, scenarios, market, policy) for scenarios in (ours, peer)]
    numbers = reports[0].figures.select_dtypes("number").columns
    gross = reports[1].figures["gross_exposure"].to_numpy()
    for name in numbers:
        a, b = (report.figures[name].to_numpy() for report in reports)
        assert (np.abs(a - b) <= 2e-5 * gross).all(), name
    for memory_limit in (1, 40 * 2048 * 8):
        again = mm.margin(book, ours, market, policy, memory_limit=memory_limit)
        np.testing.assert_allclose(again.figures["margin"], reports[0].figures["margin"], rtol=1e-9)
    moved = [report.what_if("x", {"F": 3.0}).margin for report in reports]
    assert abs(moved[0] - moved[1]) <= 2e-5 * gross[0]


def test_stressed_margins_are_the_same(cupy):
    """Stress scenarios are valued on the host, and tails of single underlyings on the device."""
    rng = np.random.default_rng(79)
    model = make_model(("gjr", "garch", "egarch"), "t", "t", variance=4e-4)
    model = with_history(model, rng.normal(0, 0.03, (50, 3)), np.full((50, 3), 9e-4))
    ours, peer = both(model, horizon=2, paths=10_000)
    items = [
        mm.Spot("S", "a0"),
        mm.Perpetual("P", "a1"),
        mm.Perpetual("Q", "a2"),
        mm.Option("C", "a0", "call", 105.0, "2020-02-01"),
    ]
    rows = [(a, item.name, rng.normal(0, 10)) for a in "xyz" for item in items]
    book = book_of(rows, items)
    market = mm.Market(model.as_of, dict.fromkeys(model.assets, 100.0), {"a0": 0.5})
    policy = mm.MarginPolicy(
        stress=Stress(
            windows=(StressWindow("then", "2019-12-01", "2019-12-31"),),
            grids={"*": "deribit"},
            gaps=(Gap("a1", -0.4),),
            scenario_weight=0.5,
        ),
        maintenance=Maintenance(level=0.95),
    )
    reports = [mm.margin(book, scenarios, market, policy) for scenarios in (ours, peer)]
    gross = reports[1].figures["gross_exposure"].to_numpy()
    assert (reports[1].figures["stress_add_on"] > 0).all()
    for name in ("stress_add_on", "stressed", "maintenance", "margin"):
        a, b = (report.figures[name].to_numpy() for report in reports)
        assert (np.abs(a - b) <= 2e-5 * gross).all(), name
    losses = [mm.stress(book, each, market, policy).table.losses for each in (ours, peer)]
    np.testing.assert_array_equal(*losses)
    again = mm.MarginReport.from_json(reports[0].to_json())
    assert mm.verify(again, model, book, engine="numpy").verdict == "within the engine bound"
    assert mm.verify(again, model, book, engine="cupy").verdict == "equal"
