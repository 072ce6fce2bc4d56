"""Templates of pages, with the filters that they use.

In: nothing. Out: an environment of jinja2 in which every text is escaped, and invisible letters of
a name are shown. jinja2 is imported on first use.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from mcmargin.checks import plain_time
from mcmargin.errors import McMarginError
from mcmargin.names import shown as shown_name
from mcmargin.policies.policy_words import percent
from mcmargin.reports.shown_figures import exact_place, shown

NEEDED = ("jinja2", "matplotlib")
"""Packages that pages are made with."""


def check_installed() -> None:
    """Raise McMarginError if a package that pages need is not installed."""
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        raise McMarginError(
            f"HTML reports need {' and '.join(NEEDED)}, and {lacking[0]} is not installed: "
            "pip install 'mcmargin[report]'"
        )


def page_environment() -> Any:
    """Templates of pages, with the filters that they use: an environment of jinja2."""
    check_installed()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mcmargin"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Letters that nobody sees, such as a null byte in a name, are shown.
        finalize=lambda value: shown_name(value) if type(value) is str else value,
    )
    environment.filters |= {
        "percent": percent,
        "time": plain_time,
        "slug": _slug,
        "amount": _amount,
    }
    return environment


def _slug(state: str) -> str:
    return state.replace(" ", "-")


def _amount(amount: float) -> str:
    return shown(amount, exact_place(abs(amount)))
