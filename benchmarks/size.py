"""The size of the workloads: full, or small, so that a test can run them.

MCMARGIN_BENCHMARKS=small makes them small, and so does cupy's double. Small workloads only show
that the benchmarks run; their figures mean nothing.
"""

import os

SMALL = (
    os.environ.get("MCMARGIN_BENCHMARKS") == "small"
    or os.environ.get("MCMARGIN_TEST_GPU") == "double"
)


def size(full, small):
    """One of two workloads."""
    return small if SMALL else full
