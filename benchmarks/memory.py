"""Peak resident memory of one call alone, whatever its process did before.

In: a function. Out: its result, and the MB by which the process grew at most while it ran. This
works on Linux alone, where /proc/self/clear_refs sets the peak back to the memory that is resident.
The peak of getrusage cannot be set back: imports, compilers and the call that warms up would hide a
function that needs less memory than they did.
"""

import re
from pathlib import Path

RESET_PEAK = "5"  # of proc(5)
PROCESS = Path("/proc/self")


def reset_peak():
    """Set the peak back to the memory that is resident now."""
    (PROCESS / "clear_refs").write_text(RESET_PEAK)


def peak():
    """Peak resident memory of this process since it was last set back, MB."""
    return _status("VmHWM")


def growth(function, *arguments):
    """Call a function; return its result, and its peak above the memory used before, in MB."""
    reset_peak()
    before = _status("VmRSS")
    result = function(*arguments)
    return result, peak() - before


def _status(name):
    return int(re.search(rf"{name}:\s+(\d+) kB", (PROCESS / "status").read_text())[1]) / 1024
