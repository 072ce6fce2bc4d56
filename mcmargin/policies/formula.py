"""The formula of a margin: its steps in their order, in one table that everybody reads.

In: nothing. Out: `FORMULA`, one row for each step; and a policy in words, line by line. These read
the table, so that the order of the steps stands nowhere else:

mcmargin.margins.operations     applies the steps, for initial and for maintenance margin
mcmargin.margins.components     computes what goes in, where the policy switches it on
mcmargin.desk.attribution       shares a margin out over what it is made of
mcmargin.desk.largest_order     searches the largest order: not every step is convex in its size
mcmargin.reports.margin_parts   shows the parts of a margin as a picture
`policy_in_words`               says what a policy does, for `mcmargin policy check` and pages
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from mcmargin.policies import policy_words as words
from mcmargin.policies.policy import MarginPolicy
from mcmargin.policies.policy_words import StepWords


class Operation(Enum):
    """What a step does with the amount that the steps before it have made."""

    START = "the step's own amount, with nothing before it"
    AT_LEAST = "the larger of the amount so far and the step's own"
    PLUS = "the step's own amount is added; neighbours in one line are summed up first"
    CALM = "buffer and speed limit, which go by the last margin"
    ROUND_UP = "rounded up to whole ticks"
    MAINTENANCE = "all steps before it once more, for maintenance; the larger result is charged"


@dataclass(frozen=True)
class Step:
    """One step of the formula.

    Attributes
    ----------
    name : str
        Name of the part of the margin that the step makes.
    operation : Operation
    component : str
        Name of the component that goes in; see `mcmargin.margins.components`. It is empty where the
        step works on the amount so far alone.
    part : str
        Field of `MarginPolicy` that switches the step on; empty where it is always on.
    line : str
        Line of the formula: the column of a report that the line's last step makes.
    written : str
        The step as it is written, with {} for what the steps before it have made.
    words : StepWords
        What people read about the step.
    """

    name: str
    operation: Operation
    component: str
    part: str
    line: str
    written: str
    words: StepWords

    def is_on(self, policy: MarginPolicy) -> bool:
        """Whether a policy switches the step on."""
        return self.part == "" or bool(getattr(policy, self.part))


# fmt: off
FORMULA: tuple[Step, ...] = (
    Step("base", Operation.START, "base", "",
         "base", "ES(level, horizon by product class)", words.BASE),
    Step("floor", Operation.AT_LEAST, "floor", "procyclicality",
         "stressed", "max({}, floor)", words.FLOOR),
    Step("stress", Operation.PLUS, "stress_add_on", "stress",
         "stressed", "{} + stress add-on", words.STRESS),
    Step("procyclicality", Operation.CALM, "", "procyclicality",
         "calm", "buffer and speed limit({}, previous)", words.CALM),
    Step("liquidity", Operation.PLUS, "liquidity", "liquidity",
         "total", "{} + liquidity", words.LIQUIDITY),
    Step("concentration", Operation.PLUS, "concentration", "concentration",
         "total", "{} + concentration", words.CONCENTRATION),
    Step("stressed_funding", Operation.PLUS, "stressed_funding", "",
         "total", "{} + funding", words.STRESSED_FUNDING),
    Step("leverage_minimum", Operation.AT_LEAST, "leverage_minimum", "leverage",
         "margin", "max({}, notional / maximum leverage)", words.LEVERAGE),
    Step("tick", Operation.ROUND_UP, "", "tick",
         "margin", "round up to tick({})", words.TICK),
    Step("maintenance", Operation.MAINTENANCE, "", "maintenance",
         "maintenance", "the same at its own level and horizon", words.MAINTENANCE),
)
# fmt: on
"""Every step, in the order in which they make a margin."""


@dataclass(frozen=True)
class Line:
    """A line of the formula, and what a policy says about it.

    Attributes
    ----------
    name : str
        The column of a report that the line makes, or the part of the policy that it is about.
    formula : str
        Empty for what stands beside the formula.
    sentences : tuple of str
    """

    name: str
    formula: str
    sentences: tuple[str, ...]


def policy_in_words(policy: MarginPolicy) -> tuple[Line, ...]:
    """Say what a policy does.

    Examples
    --------
    >>> lines = policy_in_words(MarginPolicy(level=0.975, horizon=2, tick=0.01))
    >>> f"{lines[1].name} = {lines[1].formula}"
    'stressed = max(base, floor) + stress add-on'
    >>> lines[0].sentences[0]
    'Expected shortfall at 97.5 % over 2 bars, with the worst fills of open orders.'
    """
    lines, so_far = [], ""
    for name, steps in groupby(FORMULA, key=lambda step: step.line):
        said: list[str] = []
        for step in steps:
            so_far = step.written.format(so_far)
            said += step.words.sentences(policy)
        lines.append(Line(name, so_far, tuple(said)))
        so_far = name
    beside = {name: say(policy) for name, say in words.BESIDE.items()}
    return (*lines, *(Line(name, "", said) for name, said in beside.items() if said))
