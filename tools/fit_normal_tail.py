"""Fit the polynomials of the normal tail in mcmargin/numerics/normal.py, and print them.

    python tools/fit_normal_tail.py

Mills' ratio M(z) = Phi(-z) / phi(z) is smooth and falls like 1/z. Let y = 2 k / (k + z0 + z) and
t = y - 1, so that z from -z0 to infinity becomes t from 1 to -1. Then M(z) phi(0) / y is a smooth
function of t. Its Chebyshev coefficients (Mason and Handscomb 2003, section 6.3) are computed in 60
digits. The series ends where the sum of the remaining coefficients is below the precision that is
wanted, and is then written in powers of t. The first seven powers are positive and the others are
small beside them, so that Horner's rule loses little. In float64 the precision is chosen such that
Phi(0) is exactly one half.
"""

import mpmath as mp

from mcmargin.numerics.normal import LEAST, SCALE

mp.mp.dps = 60
POINTS = 60


def mills(z):
    """Mills' ratio; far out by its continued fraction, because erfc underflows in the product."""
    if z < 60:
        return mp.sqrt(mp.pi / 2) * mp.erfc(z / mp.sqrt(2)) * mp.exp(z * z / 2)
    tail = mp.mpf(0)
    for n in range(200, 0, -1):
        tail = n / (z + tail)
    return 1 / (z + tail)


def tail(t):
    """phi(0) M(z) / y at t."""
    if t <= -1:
        return 1 / (SCALE * mp.sqrt(2 * mp.pi))
    y = 1 + t
    return mills(mp.mpf(SCALE) / y + LEAST - mp.mpf(SCALE) / 2) / (y * mp.sqrt(2 * mp.pi))


def chebyshev(function):
    """Coefficients of the Chebyshev interpolant at POINTS points."""
    angles = [mp.pi * (2 * j + 1) / (2 * POINTS) for j in range(POINTS)]
    values = [function(mp.cos(angle)) for angle in angles]
    return [
        (2 if k else 1) * mp.fdot(values, [mp.cos(k * angle) for angle in angles]) / POINTS
        for k in range(POINTS)
    ]


def powers(coefficients):
    """Coefficients of a Chebyshev series in powers of t, lowest power first."""
    out = [mp.mpf(0)] * len(coefficients)
    before, now = [mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]
    for coefficient in coefficients:
        for power, factor in enumerate(before):
            out[power] += coefficient * factor
        after = [mp.mpf(0), *(2 * factor for factor in now)]
        for power, factor in enumerate(before):
            after[power] -= factor
        before, now = now, after
    return out


def fit(error):
    """Coefficients of powers of t as doubles, lowest first; the relative error is below `error`."""
    coefficients = chebyshev(tail)
    least = tail(-1)
    count = next(n for n in range(1, POINTS) if mp.fsum(map(abs, coefficients[n:])) < error * least)
    return [float(power) for power in powers(coefficients[:count])]


if __name__ == "__main__":
    for name, error in (("SINGLE", 1e-8), ("DOUBLE", 3e-18)):
        print(f"{name} = (")
        for power in fit(error):
            print(f"    {power!r},")
        print(")")
