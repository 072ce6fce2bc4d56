"""The errors that a caller may want to catch, each with a message that names the way out.

A message says what is wrong, where (file, row, column, asset) and what to do. The command
line turns every one of them into exit status 2 and a line on stderr.
"""

from __future__ import annotations


class McMarginError(Exception):
    """Base of every error that mcmargin raises on purpose."""


class DataError(McMarginError):
    """Prices, positions or a market that cannot be used as they are."""


class CalibrationError(McMarginError):
    """A model that cannot be fitted: too short a history, or an illegal combination."""


class ModelFileError(McMarginError):
    """A saved model or report that is cut short, altered, of another schema or unreadable."""


class PolicyError(McMarginError):
    """A margin policy, simulation plan or confidence level out of its range."""


class MemoryLimitWarning(UserWarning):
    """Values that do not fit the memory limit, and so are made several times: it says how often."""


class EngineError(McMarginError):
    """An engine that is unknown, absent on this machine, or out of memory."""
