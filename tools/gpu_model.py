"""The tables of docs/gpu_model.md: how long W1 to W4 should take on an H100, by arithmetic alone.

    python -m tools.gpu_model

Nothing here is measured. The least times are those of benchmarks/gpu_steps.py with the card's
published peaks. The expected times divide them by `REACHED`, which is an assumption.
"""

import json

from benchmarks.gpu_steps import INSTRUCTIONS, PATHS, STEPS, WORKLOADS, bound, work_of

H100 = {
    "peak_bytes_s": 3.35e12,
    "peak_flop_s": 67e12,
    # 132 multiprocessors at 1,980 MHz: 132 x 128 x 2 x 1.98e9 are the 67 Tflop/s.
    "multiprocessor_cycles_s": 132 * 1.98e9,
}
"""NVIDIA H100 SXM5 80 GB, data sheet: 3.35 TB/s, 67 Tflop/s float32, 132 multiprocessors."""

REACHED = {"memory": 0.8, "float32": 0.6, "instructions": 0.65}
"""Assumed share of each bound that good code reaches; products of few rows fill a tile badly."""


def instruction_table():
    """The table of the instructions of each kernel."""
    lines = [
        "| kernel | unit | instructions | float32 | float64 | integer multiply | other integer "
        "| root, exp, conversion | memory | once a thread | once a horizon | cycles, bound |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, kernel in json.loads(INSTRUCTIONS.read_text())["kernels"].items():
        pipes = (
            *("float32 add and multiply", "float64", "integer multiply"),
            *("integer add, compare, logic", "root, exponential, conversion", "memory"),
        )
        cells = [name, kernel["unit"], f"{kernel['instructions']:g}"]
        cells += [f"{kernel['by_pipe'].get(pipe, 0):g}" for pipe in pipes]
        cells += [f"{kernel['once_a_thread']}", f"{kernel['once_a_horizon']:g}"]
        cells.append(f"{kernel['cycles']:.2f}, {kernel['bound_by']}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def work_table():
    """The table of bytes, flop and least time of each step, for one asset-step."""
    lines = [
        "| workload | step | bytes | flop | cycles | ps at the least | set by |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, step, work, cells in _all():
        least, by = bound(work, H100)
        figures = [f"{value / cells:.3g}" for value in (work.bytes, work.flop, work.cycles)]
        figures.append(f"{1e12 * least / cells:.2f}")
        lines.append(f"| {name} | {step} | {' | '.join(figures)} | {by} |")
    return lines


def time_table():
    """The table of milliseconds: least times of steps, their sum, and the expected time."""
    lines = [
        f"| workload | asset-steps | {' | '.join(STEPS)} | least | expected | expected, 1e9 |",
        "|---" * (len(STEPS) + 5) + "|",
    ]
    for name in WORKLOADS:
        found = {step: (bound(work, H100), cells) for n, step, work, cells in _all() if n == name}
        cells = next(iter(found.values()))[1]
        steps = [f"{1e3 * found[s][0][0]:.2f}" if s in found else "" for s in STEPS]
        least = sum(seconds for (seconds, _), _ in found.values())
        expected = sum(seconds / REACHED[by] for (seconds, by), _ in found.values())
        billion = expected * 1e9 / cells
        cells_told = f"{cells:.0e}".replace("e+", "e")
        ends = " | ".join(f"{1e3 * each:.1f}" for each in (least, expected, billion))
        lines.append(f"| {name} | {cells_told} | {' | '.join(steps)} | {ends} |")
    return lines


def _all():
    for name, (_, _, dependence, assets, bars) in WORKLOADS.items():
        mixed = dependence == "t"
        for step in STEPS:
            if step != "mixing" or mixed:
                work = work_of(step, assets=assets, bars=bars, paths=PATHS, mixed=mixed)
                yield name, step, work, assets * bars * PATHS


def main():
    """Print the tables."""
    for table in (instruction_table, work_table, time_table):
        print("\n".join(table()), end="\n\n")


if __name__ == "__main__":
    main()
