"""Linear instruments: what cannot be declared."""

import pytest

import mcmargin as mm


def test_an_inverse_contract_is_quoted_in_money():
    for make in (mm.Perpetual, lambda *a, **k: mm.Future(*a[:2], "2021-01-01", *a[2:], **k)):
        with pytest.raises(mm.DataError, match=r"quoted in, as USD, not its coin 'a0'"):
            make("P", "a0", "a0", inverse=True)
