"""The files of a book and its market, read together.

In: paths of the files. Out: a `Book` and a `Market`. Of a file of positions alone, the sets of
files that lie beside it and could make a book with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mcmargin.books.account_files import read_accounts
from mcmargin.books.book import Book, read_positions
from mcmargin.data.files import check_destination
from mcmargin.instruments.instrument_files import read_instruments
from mcmargin.markets.market import Market
from mcmargin.markets.market_files import files_beside, read_market, repair_notes

ENDINGS = {
    "instruments": (".toml", ".csv", ".parquet"),
    "accounts": (".csv", ".parquet"),
    "orders": (".csv", ".parquet"),
    "balances": (".csv", ".parquet"),
}
"""Names, and their endings, of the files that `BookFiles.beside` looks for."""


@dataclass(frozen=True)
class BookFiles:
    r"""Files that make up a book and its market; docs/files.md describes each of them.

    Attributes
    ----------
    positions : Path
    instruments, market, accounts, orders, balances : Path, optional

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     positions = Path(folder) / "positions.csv"
    ...     _ = positions.write_text("account,instrument,quantity\ndesk,sp500,100\n")
    ...     book, market = BookFiles(positions).read()
    >>> book.accounts[0].name, market is None
    ('desk', True)
    """

    positions: Path
    instruments: Path | None = None
    market: Path | None = None
    accounts: Path | None = None
    orders: Path | None = None
    balances: Path | None = None

    @classmethod
    def beside(cls, positions: Path) -> Iterator[BookFiles]:
        """Sets of files in the folder of `positions`; the set of all that exist comes first."""
        choices: list[list[Path | None]] = []
        for name, endings in ENDINGS.items():
            paths = (positions.with_name(f"{name}{ending}") for ending in endings)
            choices.append([*(path for path in paths if path.exists()), None])
        for chosen in product(*choices):
            yield cls(positions, **dict(zip(ENDINGS, chosen, strict=True)))

    def check_output(self, output: Path, *others: Path) -> None:
        """Refuse an output that cannot be written, or that is one of these files or `others`.

        Raises
        ------
        DataError
            Naming the output.
        """
        given = (path for path in vars(self).values() if path is not None)
        check_destination(output, inputs=(*others, *given))
        if self.market is not None:
            check_destination(output, inputs=files_beside(self.market))

    def read(
        self, *, currency: str | None = None, tell: Callable[[str], None] | None = None
    ) -> tuple[Book, Market | None]:
        """Read all of the files.

        Parameters
        ----------
        currency : str, optional
            Currency of instruments and accounts that have no file; the market's by default, or
            USD where there is no market file.
        tell : callable, optional
            Takes a line of text for each quote that was repaired.

        Returns
        -------
        book : Book
        market : Market or None
            None where there is no market file.

        Raises
        ------
        DataError
            Naming the file, and the row, column or table that cannot be used.
        """
        market = None if self.market is None else market_of(self.market, tell)
        instruments = None if self.instruments is None else read_instruments(self.instruments)
        accounts = None if self.accounts is None else read_accounts(self.accounts)
        if currency is None:
            currency = "USD" if market is None else market.currency
        book = read_positions(
            self.positions,
            instruments=instruments,
            accounts=accounts,
            orders=self.orders,
            balances=self.balances,
            currency=currency,
        )
        return book, market


def market_of(path: Path, tell: Callable[[str], None] | None) -> Market:
    """Read a market, and tell which of its quotes were repaired."""
    market = read_market(path)
    if tell is not None:
        for note in repair_notes(market):
            tell(f"{path}: {note}")
    return market
