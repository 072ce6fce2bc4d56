"""The worst losses of rows: of all paths at once, and of blocks one after another."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mcmargin.numerics.selection import WorstLosses, worst_of_all


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 4),
    paths=st.integers(2, 60),
    share=st.floats(0.01, 1.0),
    cuts=st.lists(st.integers(1, 59), max_size=4),
    values=st.sampled_from([2, 5, 10**6]),
)
def test_the_worst_losses_of_blocks_are_those_of_all(seed, rows, paths, share, cuts, values):
    """With only two values, nearly all losses are equal; then the first path counts as worse."""
    losses = np.random.default_rng(seed).integers(0, values, (rows, paths)).astype(float)
    count = max(1, int(share * paths))
    expected = np.argsort(-losses, axis=1, kind="stable")[:, :count]
    whole, amounts = worst_of_all(losses, count)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(amounts, np.take_along_axis(losses, expected, axis=1))
    worst = WorstLosses(rows=rows, count=count, xp=np)
    ends = [0, *sorted({cut for cut in cuts if cut < paths}), paths]
    for low, high in pairwise(ends):
        for row in range(rows):
            worst.add(losses[[row], low:high], first_path=low, first_row=row)
    for mine, theirs in zip(worst.sorted(), (whole, amounts), strict=True):
        np.testing.assert_array_equal(mine, theirs)
