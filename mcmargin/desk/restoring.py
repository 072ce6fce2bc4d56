"""Restoring: a saved report gets its scenarios again.

In: a report that was read, and what it was made from, which is given or lies in its folder. Out:
the same report, margined again on its own seed, so that attribution and what-ifs can be asked of
it. Models, books and markets are recognised by the fingerprints in the report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mcmargin.books.book import Book
from mcmargin.books.files_of_book import BookFiles
from mcmargin.desk.margining import margin
from mcmargin.desk.verification import ENGINE_BOUND
from mcmargin.errors import DataError, McMarginError, ModelFileError
from mcmargin.markets.market import Market
from mcmargin.markets.market_files import read_market
from mcmargin.models.model import MarketModel
from mcmargin.models.model_file import load_model
from mcmargin.progress import Progress
from mcmargin.reports.margin_report import MarginReport
from mcmargin.reports.report_checksum import require_unaltered
from mcmargin.scenarios.simulation import simulate_plan

T = TypeVar("T")


@dataclass(frozen=True)
class Sources:
    """Where to look for what reports were made from.

    Attributes
    ----------
    models : tuple of MarketModel or path
    books : tuple of Book, BookFiles or path
        A path is that of the positions; the other files of the book lie beside it.
    markets : tuple of Market or path
    reports : tuple of MarginReport or path
        Among them are the previous reports of the reports that are restored.
    """

    models: tuple[Any, ...] = ()
    books: tuple[Any, ...] = ()
    markets: tuple[Any, ...] = ()
    reports: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Filed:
    """A report, and where it was read from.

    Attributes
    ----------
    report : MarginReport
    path : Path, optional
    """

    report: MarginReport
    path: Path | None = None

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"the report of {self.report.as_of[:19]}" if self.path is None else str(self.path)


def several(given: Any) -> tuple[Any, ...]:
    """A tuple of what was given: nothing, one thing, or several."""
    if given is None:
        return ()
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


def read_report(path: str | os.PathLike[str], *, altered: bool = False) -> MarginReport:
    """Read a report's JSON.

    Parameters
    ----------
    path : path
    altered : bool
        Whether to accept a report that was altered after it was written.

    Raises
    ------
    ModelFileError
        If the file cannot be read, or holds no report.
    DataError
        If the report was altered.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ModelFileError(f"{path}: not a margin report: it is not text") from None
    except ValueError as error:  # a path with a null byte
        raise ModelFileError(f"{str(path)!r:.60}: cannot be read ({error})") from None
    report = MarginReport.from_json(text, source=str(path))
    if not altered:
        require_unaltered(report, f"{path}: the report")
    return report


def restored(
    reports: Sequence[Filed],
    sources: Sources,
    *,
    engine: str = "auto",
    progress: Progress | None = None,
) -> list[MarginReport]:
    """Reports with their scenarios; a report that has them is returned as it is.

    Parameters
    ----------
    reports : sequence of Filed
        The earlier ones first: one may be the previous report of a later one.
    sources : Sources
    engine : str
        Engine to simulate on; the reports may have been made on another.
    progress : callable, optional
        It is called with how many work items of each simulation are done, and how many there are.

    Raises
    ------
    DataError
        If something is lacking (one line names all of it), or if the figures differ from the saved
        ones.
    """
    found: list[_Parts | None] = []
    lacking = []
    for at, filed in enumerate(reports):
        if filed.report.session is not None:
            found.append(None)
            continue
        earlier = tuple(each.report for each in reports[:at])
        own = _Parts.of(filed, replace(sources, reports=(*earlier, *sources.reports)))
        if own.lacking:
            beside = "" if filed.path is None else f", or copy it into {filed.path.parent}"
            lacking.append(
                f"{filed.name} cannot be computed again without {' and '.join(own.lacking)}{beside}"
            )
        found.append(own)
    if lacking:
        raise DataError(
            f"{'; '.join(lacking)} (only what the report was made from is taken: the fingerprints "
            "in the report tell it)"
        )
    return [
        filed.report if own is None else own.margined(filed, engine, progress)
        for filed, own in zip(reports, found, strict=True)
    ]


@dataclass(frozen=True)
class _Parts:
    """What one report was made from; None for what was not found."""

    model: MarketModel | None
    book: Book | None
    market: Market | None
    previous: MarginReport | None
    lacking: tuple[str, ...]

    @classmethod
    def of(cls, filed: Filed, sources: Sources) -> _Parts:
        """Look for what a report was made from."""
        report, prints = filed.report, filed.report.fingerprints
        folder = None if filed.path is None else filed.path.parent
        code = report.market.get("currency", "USD")
        model = _matching(_models(sources.models, folder), prints.get("model"))
        market = _matching(_markets(report, sources.markets, folder), prints.get("market"))
        book = _matching(_books(sources.books, folder, code), prints.get("book"))
        previous = None
        if report.previous_as_of:
            candidates = _reports(sources.reports, filed.path)
            previous = next((e for e in candidates if e.as_of == report.previous_as_of), None)
        lacking = [
            f"its {what} (give {option})"
            for what, option, part in (
                ("model", "model=, or --model", model),
                ("book", "book=, or --positions and what goes with them", book),
                ("market, for its volatility surfaces", "market=, or --market", market),
            )
            if part is None
        ]
        if report.previous_as_of and previous is None and _goes_by_previous(report):
            lacking.append(
                f"its own previous report, of {report.previous_as_of[:19]} "
                "(give previous=, or --previous)"
            )
        return cls(model, book, market, previous, tuple(lacking))

    def margined(self, filed: Filed, engine: str, progress: Progress | None) -> MarginReport:
        """The report made again; DataError if its margins differ from the saved ones."""
        report, plan = filed.report, filed.report.plan
        assert self.model is not None
        assert self.book is not None
        scenarios = simulate_plan(self.model, plan, report.policy, engine=engine, progress=progress)
        again = margin(self.book, scenarios, self.market, report.policy, previous=self.previous)
        if again.figures["account"].tolist() != report.figures["account"].tolist():
            raise DataError(f"{filed.name}: its accounts are not those of its book")
        one, other = (each.figures["unrounded"].to_numpy(float) for each in (again, report))
        scale = np.abs(report.figures[["gross_exposure", "margin"]].to_numpy(float)).max(axis=1)
        apart = np.abs(one - other) > 10.0 * ENGINE_BOUND[plan.precision] * scale
        if apart.any():
            account = report.figures["account"].iloc[int(np.argmax(apart))]
            raise DataError(
                f"{filed.name}: the margin of account {account!r} is not what its seed, model and "
                "book give here; `mcmargin verify` says what differs"
            )
        return again


def _goes_by_previous(report: MarginReport) -> bool:
    """Whether margins depend on the previous report: only a buffer or a speed limit makes them."""
    part = report.policy.procyclicality
    return part is not None and (part.buffer > 0.0 or part.speed_limit is not None)


def _matching(candidates: Iterable[T], fingerprint: str | None) -> T | None:
    """The first candidate that has a fingerprint."""
    each: Any
    for each in candidates:
        if each.fingerprint() == fingerprint:
            return each  # type: ignore[no-any-return]
    return None


def _read(paths: Iterable[Path], read: Callable[[Path], T]) -> Iterator[T]:
    """What files hold; a file that cannot be read as such a thing is skipped."""
    for path in paths:
        try:
            yield read(path)
        except McMarginError:
            continue


def _beside(folder: Path | None, pattern: str) -> list[Path]:
    return [] if folder is None else sorted(folder.glob(pattern))


def _models(given: Sequence[Any], folder: Path | None) -> Iterator[MarketModel]:
    for each in given:
        yield each if isinstance(each, MarketModel) else load_model(each)
    yield from _read(_beside(folder, "*.npz"), load_model)


def _markets(report: MarginReport, given: Sequence[Any], folder: Path | None) -> Iterator[Market]:
    for each in given:
        yield each if isinstance(each, Market) else read_market(each)
    try:
        yield report.market_used()
    except DataError:
        # The report has only the fingerprints of its surfaces.
        yield from _read(_beside(folder, "*.toml"), read_market)


def _reports(given: Sequence[Any], own: Path | None) -> Iterator[MarginReport]:
    for each in given:
        yield each if isinstance(each, MarginReport) else read_report(each)
    others = _beside(None if own is None else own.parent, "*.json")
    yield from _read((path for path in others if path != own), read_report)


def _books(given: Sequence[Any], folder: Path | None, currency: str) -> Iterator[Book]:
    for each in given:
        if isinstance(each, Book):
            yield each
        elif isinstance(each, BookFiles):
            yield each.read(currency=currency)[0]
        else:
            yield from _books_beside(Path(each), currency)
    for positions in _beside(folder, "positions.*"):
        yield from _books_beside(positions, currency)


def _books_beside(positions: Path, currency: str) -> Iterator[Book]:
    """Books that a file of positions makes with the files beside it."""
    for files in BookFiles.beside(positions):
        try:
            yield files.read(currency=currency)[0]
        except McMarginError:
            continue
