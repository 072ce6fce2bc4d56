"""Run the notebooks and store them with their outputs.

    python tools/run_notebooks.py [NAME ...]

Messages to standard error and times of execution are left out, so that a notebook changes only if
its code or its results change. The notebook keeps a digest of its code, by which a test checks that
the stored results belong to the code.
"""

import hashlib
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "notebooks"
SECONDS = 600


def executed(notebook: NotebookNode) -> NotebookNode:
    """Run a notebook in a new kernel, in place."""
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


def digest(notebook: NotebookNode) -> str:
    """SHA-256 of a notebook's code."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\0".join(code).encode()).hexdigest()


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    for name in names:
        path = FOLDER / f"{name}.ipynb"
        notebook = executed(nbformat.read(path, as_version=4))
        notebook.metadata["code_sha256"] = digest(notebook)
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)
