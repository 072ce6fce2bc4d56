"""How often each test rejects forecasts that are right, and forecasts that understate volatility.

In: nothing but a seed. Out: a table of rejection rates at 5 %: of right forecasts, and of forecasts
whose volatility is 20 % too low, each with the standard error of the simulation.
"""

import numpy as np
from scipy import stats

from mcmargin.backtests import coverage, e_values, shortfall

LEVEL, LAW = 0.975, stats.t(5.0, scale=np.sqrt(0.6))


def tests_of(gains, var, es, draws, probability):
    """Verdicts by test."""
    hits = -gains > var
    yield "kupiec", coverage.kupiec(hits, LEVEL)
    yield "christoffersen independence", coverage.christoffersen_independence(hits, LEVEL)
    yield "conditional coverage", coverage.conditional_coverage(hits, LEVEL)
    yield "time between failures", coverage.time_between_failures(hits, LEVEL)
    yield "dynamic quantile", coverage.dynamic_quantile(gains, var, LEVEL)
    yield "acerbi-szekely z1", shortfall.acerbi_szekely_z1(gains, var, es, draws)
    yield "acerbi-szekely z2", shortfall.acerbi_szekely_z2(gains, var, es, draws, LEVEL)
    yield "mcneil-frey", shortfall.mcneil_frey(gains, var, es, seed=7, resamples=500)
    yield "tail pit", shortfall.tail_pit(probability, LEVEL)
    yield "e-backtest of VaR", e_values.e_backtest_value_at_risk(gains, var, LEVEL)
    yield (
        "e-backtest of ES",
        e_values.e_backtest_expected_shortfall(gains, var, es, LEVEL),
    )


def rates(scale, dates, histories, seed):
    """How many histories each test rejects, and in how many it could decide.

    Returns are t with 5 degrees of freedom, times a GARCH volatility that forecasts know up to the
    factor `scale`.
    """
    random = np.random.default_rng(seed)
    var1 = -LAW.ppf(1.0 - LEVEL)
    es1 = -LAW.expect(lambda z: z, ub=-var1) / (1.0 - LEVEL)
    counts = {}
    for _ in range(histories):
        deviation, gains = np.empty(dates), np.empty(dates)
        variance = 1.0
        for at, shock in enumerate(LAW.rvs(dates, random_state=random)):
            deviation[at] = np.sqrt(variance)
            gains[at] = deviation[at] * shock
            variance = 0.05 + 0.1 * gains[at] ** 2 + 0.85 * variance
        told = scale * deviation
        draws = told * LAW.rvs((400, dates), random_state=random)
        probability = LAW.cdf(gains / told)
        for name, found in tests_of(gains, var1 * told, es1 * told, draws, probability):
            rejected, decided = counts.get(name, (0, 0))
            if found.verdict != "undecided":
                counts[name] = rejected + (found.verdict == "fail"), decided + 1
    return counts


def text(*, small):
    """The table as Markdown."""
    histories = 20 if small else 1000
    lengths = (250,) if small else (250, 1000)
    lines = [
        "# Size and power of the tests",
        "",
        f"{histories:,} histories of t returns (5 degrees of freedom) with GARCH volatility; level "
        f"{100 * LEVEL:g} %, significance 5 %. 'Right' forecasts know the law and the volatility; "
        "'too low' ones take 80 % of the volatility. Rates are in %, with the standard error of "
        "the simulation, of the histories that a test could decide. E-backtests reject at most 5 % "
        "whenever one stops, and mostly far fewer.",
        "",
        "| Test | dates | right | too low |",
        "| --- | --- | --- | --- |",
    ]
    for dates in lengths:
        right = rates(1.0, dates, histories, 11)
        low = rates(0.8, dates, histories, 12)
        for name in right:
            told = []
            for rejected, decided in (right[name], low.get(name, (0, 0))):
                share = rejected / decided if decided else float("nan")
                error = np.sqrt(share * (1.0 - share) / decided) if decided else float("nan")
                told.append(f"{100 * share:.1f} ± {100 * error:.1f}")
            lines.append(f"| {name} | {dates:,} | {told[0]} | {told[1]} |")
    return "\n".join(lines) + "\n"
