"""How many paths a simulation limited, in words.

In: numbers of such paths, in all and by asset. Out: a sentence without its full stop, which every
report and command uses.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcmargin.checks import few
from mcmargin.names import shown

LIMITS = {"floored": "a floored price", "capped": "a capped variance"}


def limited_words(floored: int, capped: int, limited: Mapping[str, Mapping[str, int]]) -> str:
    """Numbers of paths on which a price was floored or a variance capped.

    The assets with the most such paths are named.

    Parameters
    ----------
    floored, capped : int
        Paths on which the price of any asset was floored, or the variance of any asset capped.
    limited : mapping of str to mapping of str to int
        Paths of each asset, under `floored` and `capped`. For a policy's other scenarios they are
        under names such as `floored in floor`.

    Examples
    --------
    >>> limited_words(12, 0, {"floored": {"eth": 2, "btc": 11}})
    'Paths with a floored price: 12 (btc 11, eth 2), with a capped variance: 0'
    """
    words = []
    for limit, count in (("floored", floored), ("capped", capped)):
        paths = limited.get(limit)
        named = f" ({_named(paths)})" if paths else ""
        words.append(f"with {LIMITS[limit]}: {count:,}{named}")
    text = f"Paths {', '.join(words)}"
    for name, paths in limited.items():
        limit, _, scenarios = name.partition(" in ")
        if scenarios:
            what = LIMITS.get(limit, limit)
            text += f"; in the {scenarios} scenarios with {what}: {_named(paths)}"
    return text


def _named(paths: Mapping[str, int]) -> str:
    ordered = sorted(paths.items(), key=lambda each: (-each[1], each[0]))
    return few(f"{shown(asset)} {count:,}" for asset, count in ordered)
