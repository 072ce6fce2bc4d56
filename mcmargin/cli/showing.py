"""Commands that show what is installed (`info`) and the main job on real prices (`demo`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcmargin.cli.app import app, bar
from mcmargin.cli.printing import say, show

if TYPE_CHECKING:
    from mcmargin.progress import Progress


@app.command()
def info() -> None:
    """Print versions, the engines found, and the devices and threads used.

    Example: mcmargin info
    """
    from importlib.metadata import PackageNotFoundError, version

    from mcmargin.engines import cupy_devices
    from mcmargin.engines.choice import choose_engine, device_ids, thread_count

    chosen, threads = choose_engine("auto"), thread_count(None)
    used = device_ids(None) if chosen == "cupy" else None
    for name in ("mcmargin", "numpy", "scipy", "pandas", "arch"):
        try:
            show(f"{name} {version(name)}")
        except PackageNotFoundError:
            show(f"{name} not installed")
    reason = cupy_devices.missing()
    show("engines numpy" if reason else "engines numpy cupy")
    if reason:
        show(f"device none: {reason}")
    for number, name in enumerate(cupy_devices.device_names()):
        show(f"device {number} {name}")
    show(f"engine {chosen}")
    if chosen == "cupy":
        show(f"devices {','.join(map(str, used or (0,)))}")
    show(f"threads {threads}")


@app.command()
def demo() -> None:
    """Run the main job on real prices that ship with arch: fit, simulate, margin.

    Example: mcmargin demo
    """
    from contextlib import ExitStack

    from mcmargin.demo import run_demo

    with ExitStack() as bars:

        def progress(step: str) -> Progress | None:
            bars.close()
            return bars.enter_context(bar(step))

        def tell(text: str) -> None:
            bars.close()
            say(text)

        report = run_demo(tell, progress)
    show(str(report))
    show(report.contributions_frame().round(2).to_string(index=False))
