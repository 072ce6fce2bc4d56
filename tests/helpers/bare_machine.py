"""A process that finds no more packages than a machine with a GPU has."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HIDDEN = (
    *("arch", "hypothesis", "joblib", "pyarrow", "rich", "sklearn", "statsmodels"),
    *("threadpoolctl", "typer", "mcmargin.kernels", "matplotlib", "numba", "torch", "jax"),
    *("QuantLib", "py_vollib_vectorized", "pydantic", "tomli_w"),
)

BARE = """
import sys

class Hides:
    def find_spec(self, name, path=None, target=None):
        if any(name == each or name.startswith(each + ".") for each in {hidden}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hides())
from {module} import main
sys.exit(main(sys.argv[1:]))
"""


def run_bare(module, *arguments, gpu="double", hidden=HIDDEN):
    """A module's main in a process that finds nothing but what a bare machine has."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "MCMARGIN"))}
    # pytest's own plugins import what is hidden.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    if gpu is not None:
        environment["MCMARGIN_TEST_GPU"] = gpu
    return subprocess.run(
        [sys.executable, "-c", BARE.format(hidden=hidden, module=module), *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
