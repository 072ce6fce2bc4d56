"""verify(): recompute a margin report from its own seed and compare.

In: a report, the model and the book that it names by fingerprint. Out: a verdict: equal bit for
bit, within the bound that holds between engines, or different, with the reasons.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mcmargin.book import Book
from mcmargin.checks import Progress
from mcmargin.errors import DataError, PolicyError
from mcmargin.margining import margin
from mcmargin.model import MarketModel
from mcmargin.reporting import AccountMargin, MarginReport
from mcmargin.simulation import simulate, thread_count

ENGINE_BOUND = {"single": 2e-5, "double": 1e-11}
"""Largest difference between engines, as a share of gross exposure."""


@dataclass(frozen=True)
class Verification:
    """Outcome of a recomputation.

    Attributes
    ----------
    verdict : str
        `equal`, `within the engine bound` or `different`.
    largest_difference : float
        Of any account's expected shortfall, as a share of its gross exposure; infinite where
        there is none to compare.
    reasons : tuple of str
        Why it is different.
    """

    verdict: str
    largest_difference: float
    reasons: tuple[str, ...]


def verify(
    report: MarginReport,
    model: MarketModel,
    book: Book,
    *,
    engine: str = "auto",
    progress: Progress | None = None,
) -> Verification:
    """Recompute a report and say whether its figures hold.

    Parameters
    ----------
    report : MarginReport
    model : MarketModel
    book : Book
    engine : str
        To recompute on; it need not be the report's.
    progress : callable, optional
        Called with work items of the simulation done and in all.

    Returns
    -------
    Verification
        `different`, too, where this model and book give no margin under the report's plan.

    Raises
    ------
    EngineError
        For an engine that is unknown or not here.
    """
    plan, market = report.plan, report.market()
    # Asked here, so that a bad setting of this machine is an error and no difference.
    threads = thread_count(None)
    fingerprints = {
        "model": model.fingerprint(),
        "book": book.fingerprint(),
        "market": market.fingerprint(),
        "policy": report.policy.fingerprint(),
    }
    reasons = [
        f"the {name}'s fingerprint differs"
        for name, digest in fingerprints.items()
        if digest != report.fingerprints.get(name)
    ]
    try:
        scenarios = simulate(
            model,
            horizons=plan.horizons,
            paths=plan.paths,
            seed=plan.seed,
            engine=engine,
            precision=plan.precision,
            variance_cap=plan.variance_cap,
            price_floor=plan.price_floor,
            threads=threads,
            progress=progress,
        )
        again = margin(book, scenarios, market, report.policy)
    except (DataError, PolicyError) as error:
        return Verification("different", float("inf"), (*reasons, f"no margin from these: {error}"))
    if [a.account for a in again.accounts] != [a.account for a in report.accounts]:
        return Verification("different", float("inf"), (*reasons, "the accounts differ"))
    differences = [
        abs(new.expected_shortfall - old.expected_shortfall) / max(new.gross_exposure, 1e-300)
        for new, old in zip(again.accounts, report.accounts, strict=True)
    ]
    largest = max(differences)
    if not largest <= ENGINE_BOUND[plan.precision]:
        reasons.append(f"expected shortfall differs by {largest:.3g} of gross exposure")
    reasons += [
        f"{field} differs"
        for field in ("as_of", "horizon")
        if getattr(again, field) != getattr(report, field)
    ]
    if report.engine == again.engine:
        # Between engines a path at the bound may fall on either side; on one it may not.
        reasons += [
            f"{field} differs"
            for field in ("floored_paths", "capped_paths")
            if getattr(again, field) != getattr(report, field)
        ]
    if reasons:
        return Verification("different", largest, tuple(reasons))
    if again.accounts == report.accounts:
        return Verification("equal", 0.0, ())
    # Every figure derives from the losses, so a lone altered one is no rounding.
    for new, old in zip(again.accounts, report.accounts, strict=True):
        bound = ENGINE_BOUND[plan.precision] * max(new.gross_exposure, 1e-300)
        figures, filed = _figures(new), _figures(old)
        if figures.keys() != filed.keys() or new.currency != old.currency:
            return Verification(
                "different", largest, (f"currency or positions of account {new.account!r} differ",)
            )
        for name, figure in figures.items():
            if not abs(figure - filed[name]) <= bound:
                return Verification(
                    "different", largest, (f"{name} of account {new.account!r} differs",)
                )
    return Verification("within the engine bound", largest, ())


def _figures(account: AccountMargin) -> dict[str, float]:
    """Every number of an account, by name."""
    figures: dict[str, float] = {}
    for name, value in asdict(account).items():
        if isinstance(value, float):
            figures[name] = value
        elif name.endswith("_interval"):
            figures[f"{name} low"], figures[f"{name} high"] = value
    for position in account.contributions:
        for name in ("quantity", "exposure", "contribution"):
            figures[f"{name} of {position.instrument!r}"] = getattr(position, name)
    return figures
