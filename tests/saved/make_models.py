"""Make the small saved models that tests without arch read: real closes that ship with arch.

    python -m tests.saved.make_models

copula.npz: GJR, skewed t, t copula. historical.npz: EWMA and empirical innovations of whole dates.
"""

from pathlib import Path

import mcmargin as mm
from mcmargin.demo import demo_prices

HERE = Path(__file__).parent


def main():
    history = mm.PriceHistory.from_frame(demo_prices().to_frame().loc["2014":"2018"])
    mm.calibrate(history, volatility="gjr", innovations="skewt", dependence="t").save(
        HERE / "copula.npz"
    )
    mm.calibrate(history, volatility="ewma", innovations="empirical", dependence="historical").save(
        HERE / "historical.npz"
    )


if __name__ == "__main__":
    main()
