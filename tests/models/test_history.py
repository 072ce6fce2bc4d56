"""History: what updates add is joined to it, and the history before stays as it was."""

import numpy as np

from mcmargin.models.history import History


def test_a_history_that_grew_is_the_whole_one():
    rng = np.random.default_rng(3)
    times = np.arange("2021-01-01", "2021-01-13", dtype="datetime64[D]").astype("datetime64[ns]")
    returns, variances = rng.normal(size=(12, 2)), rng.uniform(1, 2, size=(12, 2))
    grown = History(times[:4], returns[:4], variances[:4])
    for start in (4, 5, 9):
        end = {4: 5, 5: 9, 9: 12}[start]
        rows = slice(start, end)
        longer = grown.extended(times[rows], returns[rows], variances[rows])
        np.testing.assert_array_equal(grown.times, times[:start])
        grown = longer
    np.testing.assert_array_equal(grown.times, times)
    np.testing.assert_array_equal(grown.returns, returns)
    np.testing.assert_array_equal(grown.variances, variances)
    np.testing.assert_allclose(grown.residuals, returns / np.sqrt(variances))
