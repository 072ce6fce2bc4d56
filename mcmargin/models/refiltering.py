"""A fit of an asset's own bars, carried to bars that are common to several assets.

In: the fit of an asset whose own bars are shorter, such as a coin that trades at weekends, and its
returns over the joint bars. Out: the same fit on the joint bars.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mcmargin.errors import CalibrationError
from mcmargin.models.arch_fits import (
    RESIDUAL_STD,
    AssetFit,
    arch_model_of,
    counted_deviation,
    floored,
    next_variance,
)
from mcmargin.models.volatility import COEFFICIENTS, KINDS, Recursion


def refilter(
    fit: AssetFit, returns: NDArray[np.float64], *, ratio: float, bars: float, asset: str = ""
) -> AssetFit:
    """Carry a fit of an asset's own bars to joint bars, by arch's filter.

    The variance of a joint bar is `ratio` times as high. If the persistence a bar is p, an excess
    of the variance over its mean decays to a share p**bars over a joint bar, which has `bars` own
    bars: sums of GARCH returns are weak GARCH of persistence p**bars (Drost and Nijman 1993).
    alpha, gamma and beta keep their shares of the new persistence. This is an approximation: the
    exact shares depend on the fourth moment, which heavy tails may not have, and joint bars are not
    all of one length (a coin's Monday beside shares holds three of its days). On simulated returns
    of a coin beside a share, the excess that follows is eight to nine tenths of the excess that the
    filter sees, and it decays as said. EGARCH's beta becomes beta**bars, and alpha and gamma shrink
    in proportion. EWMA's decay is declared for a bar of any length, and stays. The innovations
    stay, too. Those of a longer bar have lighter tails, so that risk is rather overstated than
    understated.

    Parameters
    ----------
    fit : AssetFit
        Fit of the asset's own history.
    returns : ndarray of shape (bars,), float64
        Returns over the joint bars.
    ratio : float
        Variance of a joint bar over that of an own bar; 1 if they are the same bars.
    bars : float
        Average number of own bars in a joint bar; 1 if they are the same bars.
    asset : str
        Named in errors.

    Returns
    -------
    AssetFit
        With the residuals and the next variance of the joint bars.

    Raises
    ------
    CalibrationError
        If the standard deviation of the residuals of the joint bars is not within `RESIDUAL_STD`.

    References
    ----------
    Drost and Nijman (1993), Temporal aggregation of GARCH processes, Econometrica 61(4).
    """
    parameters, persistence = _joint_parameters(fit, ratio, bars)
    given = dict(zip(COEFFICIENTS, parameters.tolist(), strict=True))
    fixed = arch_model_of(returns, fit.volatility, "normal").fix(
        [given[name] for name in KINDS[fit.volatility].fitted]
    )
    variances = floored(
        fit.volatility,
        parameters,
        np.asarray(fixed.conditional_volatility) ** 2,
        returns,
        returns.var(),
    )
    residuals = returns / np.sqrt(variances)
    deviation = counted_deviation(residuals, fit.innovations.kind)
    if not RESIDUAL_STD[0] <= deviation <= RESIDUAL_STD[1]:
        raise CalibrationError(
            f"{asset}: the fit of its own history leaves residuals of standard deviation "
            f"{deviation:.3g} on the joint dates, where 1 is right; fit the joint dates instead "
            "(own_history=False)"
        )
    return replace(
        fit,
        parameters=parameters,
        next_variance=next_variance(
            fit.volatility, parameters, variances[-1], returns[-1], returns.var()
        ),
        variances=variances,
        residuals=residuals,
        persistence=persistence,
    )


def _joint_parameters(
    fit: AssetFit, ratio: float, bars: float
) -> tuple[NDArray[np.float64], float]:
    """omega, alpha, gamma and beta of joint bars, and their persistence."""
    omega, alpha, gamma, beta = fit.parameters
    persistence, rules = fit.persistence, KINDS[fit.volatility]
    logarithmic = rules.recursion is Recursion.LOGARITHMIC
    if not rules.integrated and persistence > 0.0:
        share = persistence ** (bars - 1.0)
        if logarithmic:
            # With a negative beta the excess changes its sign from bar to bar; its size decays.
            omega, persistence = omega * (1.0 - share * beta) / (1.0 - beta), share * persistence
        else:
            omega *= (1.0 - share * persistence) / (1.0 - persistence)
            persistence *= share
        alpha, gamma, beta = share * alpha, share * gamma, share * beta
    if logarithmic:
        omega += (1.0 - beta) * np.log(ratio)
    else:
        omega *= ratio
    return np.array([omega, alpha, gamma, beta]), persistence
