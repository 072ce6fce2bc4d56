"""From a pytest-benchmark run to what the repository keeps: one JSON and one table of ratios.

    python -m benchmarks.report RAW.json benchmarks/results/NAME

In: the raw JSON, in which each benchmark has `who` in its extra_info. Out: NAME.json and NAME.md
with medians, ratios to mcmargin's own median in the same group, and everything else that extra_info
holds. Of the machine, only the facts that a reader needs to judge the figures are kept. A run on a
GPU also brings the device, single steps with their bounds, ceilings, and the benchmarks that were
skipped; its targets are judged here.
"""

import json
import sys
from pathlib import Path

OWN = "mcmargin"

TIMES_FASTEST = 3.0
"""Target on a GPU: the median of the fastest peer over ours is at least this."""
SHARE_OF_BOUND = 0.5
"""Target on a GPU: each step that is NOTABLE reaches at least this share of its bound."""
NOTABLE = 0.02
"""A step counts if it takes at least this share of the time of its block."""
SIMULATIONS = ("W1", "W2", "W3", "W4")
"""Groups in which other libraries run the same simulation on the GPU."""
SECONDS_A_BILLION = {"W1": 0.015, "W2": 0.015}
"""Target on a card of the H100 class: 1e9 asset-steps take at most so many seconds."""


def summarise(raw):
    """The machine, and one row for each benchmark."""
    rows = []
    for bench in raw["benchmarks"]:
        if "who" not in bench["extra_info"]:
            continue
        # If only a sample was run, the times are scaled, and the table says by how much.
        scale, stats = bench["extra_info"].get("scaled_by", 1), bench["stats"]
        times = {f"{name}_s": scale * stats[name] for name in ("median", "min", "max")}
        row = {"group": bench["group"], **bench["extra_info"], **times}
        rows.append(row | {"rounds": stats["rounds"]})
    own = {row["group"]: row["median_s"] for row in rows if row["who"] == OWN}
    for row in rows:
        row["times_ours"] = row["median_s"] / own[row["group"]]
        if "asset_steps" in row:
            row["ps_an_asset_step"] = 1e12 * row["median_s"] / row["asset_steps"]
    machine = raw["machine_info"]
    return {
        "processor": machine["cpu"].get("brand_raw", machine["processor"]),
        "cores": machine["cpu"].get("count"),
        "python": machine["python_version"],
        "packages": raw.get("packages", {}),
        "date": raw["datetime"][:10],
        "rows": rows,
        **(on_a_device(raw, rows) if "device" in raw else {}),
    }


def on_a_device(raw, rows):
    """The device, steps, ceilings and targets of a run on a GPU, and what was skipped or failed."""
    extra = [bench["extra_info"] for bench in raw["benchmarks"]]
    steps = [each for each in extra if "step" in each]
    for each in steps:
        block = sum(other["device_s"] for other in steps if other["workload"] == each["workload"])
        each["share_of_block"] = each["device_s"] / block
    return {
        "device": raw["device"],
        "steps": steps,
        "ceilings": [each for each in extra if "ceiling" in each],
        "targets": targets(rows, steps),
        "skipped": sorted(set(raw["skipped"])),
        "failed": raw["failed"],
    }


def targets(rows, steps):
    """The goals, the figures that were found (None if not measured), and whether each is met."""
    found = []
    for group in dict.fromkeys(row["group"] for row in rows if row["group"] in SIMULATIONS):
        peers = [row["times_ours"] for row in rows if row["group"] == group and row["who"] != OWN]
        best = min(peers, default=None)
        met = best is not None and best >= TIMES_FASTEST
        goal = f"at least {TIMES_FASTEST:g} times the fastest peer"
        found.append({"what": group, "goal": goal, "found": best, "met": met})
    for row in rows:
        if row["who"] == OWN and row["group"] in SECONDS_A_BILLION:
            most = SECONDS_A_BILLION[row["group"]]
            took = row["ps_an_asset_step"] / 1000
            goal = f"1e9 asset-steps in {most:g} s (H100 class)"
            found.append({"what": row["group"], "goal": goal, "found": took, "met": took <= most})
    for step in steps:
        if step["share_of_block"] >= NOTABLE:
            share = step["share_of_bound"]
            what = f"{step['workload']} {step['step']}"
            goal = f"at least {SHARE_OF_BOUND:g} of the {step['bound_by']} bound"
            met = share is not None and share >= SHARE_OF_BOUND
            found.append({"what": what, "goal": goal, "found": share, "met": met})
    return found


def table(summary, title):
    """Markdown of a summary."""
    extra = [key for row in summary["rows"] for key in row]
    extra = [key for key in dict.fromkeys(extra) if key not in _PLAIN]
    head = ["workload", "who", "median, s", "times ours", *extra]
    lines = [
        f"# {title}",
        "",
        f"{summary['date']}, {summary['processor']}, {summary['cores']} cores, "
        f"Python {summary['python']}. Medians of the rounds of one run; "
        "times ours: median over that of mcmargin in the same run.",
        *(_device_lines(summary["device"]) if "device" in summary else []),
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for row in sorted(summary["rows"], key=lambda row: (row["group"], row["times_ours"])):
        cells = [row["group"], row["who"], f"{row['median_s']:.4g}", f"{row['times_ours']:.2f}"]
        cells += [_cell(row.get(key, "")) for key in extra]
        lines.append("| " + " | ".join(cells) + " |")
    for name in ("targets", "steps", "ceilings"):
        if summary.get(name):
            lines += ["", f"## {name.capitalize()}", "", *_plain_table(summary[name])]
    for name in ("skipped", "failed"):
        if summary.get(name):
            lines += ["", f"## {name.capitalize()}", "", *(f"- {each}" for each in summary[name])]
    return "\n".join(lines) + "\n"


def _device_lines(device):
    known = (
        f"{_peak(device['peak_bytes_s'], 1e9, '.0f')} GB/s, "
        f"{_peak(device['peak_flop_s'], 1e12, '.1f')} Tflop/s float32 at "
        f"{_peak(device['clock_MHz'], 1, '.0f')} MHz, {device['multiprocessors']} multiprocessors"
    )
    return [
        "",
        f"{device['name']}, compute capability {device['compute_capability']}, "
        f"{device['memory_GB']} GB; peaks from its attributes: {known}. CUDA driver "
        f"{device['driver']}, runtime {device['runtime']}, cupy {device['cupy']}, "
        f"numpy {device['numpy']}.",
    ]


def _peak(value, unit, form):
    return format(value / unit, form) if value else "unknown"


def _plain_table(rows):
    head = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(key.replace("_", " ") for key in head) + " |"]
    lines.append("|" + "---|" * len(head))
    lines += ["| " + " | ".join(_cell(row.get(key, "")) for key in head) + " |" for row in rows]
    return lines


def _cell(value):
    if value is None:
        return "not measured"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_PLAIN = {"group", "who", "median_s", "min_s", "max_s", "rounds", "times_ours"}


def main(raw_path, stem):
    """Write STEM.json and STEM.md."""
    stem = Path(stem)
    title = stem.name.replace("_", " ").capitalize() + " speed"
    write(json.loads(Path(raw_path).read_text()), stem, title)


def write(raw, stem, title):
    """Write STEM.json and STEM.md of a raw run, and print the table."""
    summary = summarise(raw)
    stem.with_suffix(".json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    stem.with_suffix(".md").write_text(table(summary, title))
    print(table(summary, title))


if __name__ == "__main__":
    main(*sys.argv[1:])
