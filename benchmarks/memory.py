"""Peak resident memory of one call, and not of all that its process did before.

In: a function. Out: what it returned, and by how many MB the process grew at most while it ran.
Linux alone: /proc/self/clear_refs sets the peak back to what is resident. getrusage's peak cannot
be set back: imports, compilers and a call to warm up would hide whatever needs less than they did.
"""

import re
from pathlib import Path

RESET_PEAK = "5"  # of proc(5)
PROCESS = Path("/proc/self")


def reset_peak():
    """Count the peak anew from here."""
    (PROCESS / "clear_refs").write_text(RESET_PEAK)


def peak():
    """Peak resident memory of this process since it was last set back, MB."""
    return _status("VmHWM")


def growth(function, *arguments):
    """Call a function: its result, and its peak over what was resident before, MB."""
    reset_peak()
    before = _status("VmRSS")
    result = function(*arguments)
    return result, peak() - before


def _status(name):
    return int(re.search(rf"{name}:\s+(\d+) kB", (PROCESS / "status").read_text())[1]) / 1024
