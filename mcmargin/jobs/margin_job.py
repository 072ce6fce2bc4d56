"""The margin job: from the files of a model and a book to a report.

In: paths of the files, a policy, and how many paths to simulate. Out: a `MarginReport`. Messages
and progress go to functions that the caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from mcmargin.books.book import Book
from mcmargin.books.files_of_book import BookFiles
from mcmargin.checks import few
from mcmargin.desk.margining import margin
from mcmargin.desk.restoring import read_report
from mcmargin.errors import DataError
from mcmargin.margins.horizons import horizons_needed
from mcmargin.models.model_file import load_model
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Progress
from mcmargin.reports.margin_report import MarginReport
from mcmargin.scenarios.simulation import simulate


def margin_from_files(
    files: BookFiles,
    model: Path,
    policy: MarginPolicy,
    previous: Path | None = None,
    *,
    paths: int = 100_000,
    seed: int = 7,
    engine: str = "auto",
    precision: str = "single",
    account: str | None = None,
    traded: Collection[str] = (),
    every: bool = False,
    tell: Callable[[str], None] | None = None,
    progress: Callable[[str], Progress | None] = lambda step: None,
) -> MarginReport:
    r"""Margin the accounts of a book on fresh scenarios.

    Parameters
    ----------
    files : BookFiles
    model : Path
        Model file.
    policy : MarginPolicy
    previous : Path, optional
        JSON of the last report, where a buffer or a speed limit of the policy needs it.
    paths, seed, engine, precision
        As of `simulate`.
    account, traded : str, and collection of str, optional
        An account and instruments that the report will be asked about. They are looked up before
        anything is simulated.
    every : bool
        Simulate the horizons of every instrument in the file of instruments, so that the report
        can be asked about trades in them; by default, only of those in positions and open orders.
    tell : callable, optional
        Takes one line of text for each quote of the market that was repaired.
    progress : callable, optional
        Takes the name of a step, and returns the progress callback of that step or None.

    Returns
    -------
    MarginReport

    Raises
    ------
    DataError
        If a file cannot be used, or if the book has no such account or instrument.
    ModelFileError
        If the model or the last report cannot be read.
    PolicyError, EngineError
        As `simulate` and `margin` raise them.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from mcmargin.demo import demo_model
    >>> with TemporaryDirectory() as folder:
    ...     model, positions = Path(folder) / "model.npz", Path(folder) / "positions.csv"
    ...     demo_model().save(model)
    ...     _ = positions.write_text("account,instrument,quantity\ndesk,sp500,100\n")
    ...     policy = MarginPolicy(horizon=2)
    ...     report = margin_from_files(BookFiles(positions), model, policy, paths=10_000)
    >>> report.account("desk").margin > 0
    True
    """
    last = None if previous is None else read_report(previous)
    book, market = files.read(tell=tell)
    fitted = load_model(model)
    _check_known(book, account, traded)
    scenarios = simulate(
        fitted,
        horizons=horizons_needed(
            book.known.values() if every else book.instruments,
            fitted,
            policy,
            None if market is None else market.as_of,
        ),
        paths=paths,
        seed=seed,
        policy=policy,
        engine=engine,
        precision=precision,
        progress=progress("Simulating"),
    )
    return margin(book, scenarios, market, policy, previous=last, progress=progress("Margining"))


def _check_known(book: Book, account: str | None, traded: Collection[str]) -> None:
    """Refuse an account or an instrument that the book does not know."""
    accounts = [each.name for each in book.accounts]
    if account is not None and account not in accounts:
        raise DataError(f"account {account!r} is unknown; the book has {few(accounts)}")
    for name in traded:
        if name not in book.known:
            raise DataError(
                f"instrument {name!r} is unknown; add it, or correct the name; there are "
                f"{few(book.known)}"
            )
