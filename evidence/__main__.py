"""`python -m evidence`: all of it, to evidence/results.

MCMARGIN_EVIDENCE=small takes seconds, and shows only that nothing has rotted.
"""

import os
import sys
import time
from pathlib import Path

from evidence import listed, size_and_power


def main(results, folder, *, small=False):
    """Write every table.

    Parameters
    ----------
    results : path
        Folder of the tables.
    folder : path
        Where windows that are done are kept.
    small : bool
    """
    results = Path(results)
    results.mkdir(parents=True, exist_ok=True)
    # The first call tells what an earlier run has done already.
    begun = []

    def progress(done, total):
        if not begun:
            begun.extend((time.monotonic(), done))
        start, before = begun
        if done == before:
            return
        left = (time.monotonic() - start) / (done - before) * (total - done)
        told = f"\r{done:,} of {total:,} dates, about {left / 60:.0f} min left "
        print(told, end="", file=sys.stderr)

    found = listed.walked(Path(folder) / "listed", small=small, progress=progress)
    print(file=sys.stderr)
    table = listed.table_of(found)
    table.to_csv(results / "listed.csv", index=False, float_format="%.6g")
    (results / "listed.md").write_text(listed.text_of(found, table))
    (results / "size_and_power.md").write_text(size_and_power.text(small=small))


if __name__ == "__main__":
    SMALL = os.environ.get("MCMARGIN_EVIDENCE") == "small"
    main("evidence/results", "build/evidence", small=SMALL)
