"""The errors that a caller may want to catch.

Each message says what is wrong, where it is (file, row, column, asset) and what the caller can do
about it. The command line shows the message as one line on stderr, and ends with exit status 2.
"""

from __future__ import annotations


class McMarginError(Exception):
    """Base of every error that mcmargin raises on purpose."""


class DataError(McMarginError):
    """Prices, positions or a market cannot be used as they are."""


class CalibrationError(McMarginError):
    """A model cannot be fitted: the history is too short, or the combination is not allowed."""


class ModelFileError(McMarginError):
    """A saved model or report is cut short, altered, of another schema or unreadable."""


class PolicyError(McMarginError):
    """A margin policy, simulation plan or confidence level is out of its range."""


class MemoryLimitWarning(UserWarning):
    """The values do not fit the memory limit, and are computed several times; it says how often."""


class EngineError(McMarginError):
    """An engine is unknown, not available on this machine, or out of memory."""
