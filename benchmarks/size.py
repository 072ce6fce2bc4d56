"""How large the workloads are: as asked of the package, or small, so that a test can run them.

MCMARGIN_BENCHMARKS=small makes them small. The figures then say nothing.
"""

import os

SMALL = os.environ.get("MCMARGIN_BENCHMARKS") == "small"


def size(full, small):
    """One of two workloads."""
    return small if SMALL else full
