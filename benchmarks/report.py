"""From a pytest-benchmark run to what the repository keeps: one JSON and one table of ratios.

    python -m benchmarks.report RAW.json benchmarks/results/NAME

In: the raw JSON, each benchmark with `who` in its extra_info. Out: NAME.json and NAME.md with
medians, ratios to mcmargin's own median in the same group, and whatever else extra_info holds.
Of the machine only what a reader needs to judge the figures is kept.
"""

import json
import sys
from pathlib import Path

OWN = "mcmargin"


def summarise(raw):
    """Machine and one row a benchmark."""
    rows = [
        {
            "group": bench["group"],
            **bench["extra_info"],
            "median_s": bench["stats"]["median"],
            "min_s": bench["stats"]["min"],
            "max_s": bench["stats"]["max"],
            "rounds": bench["stats"]["rounds"],
        }
        for bench in raw["benchmarks"]
    ]
    own = {row["group"]: row["median_s"] for row in rows if row["who"] == OWN}
    for row in rows:
        row["times_ours"] = row["median_s"] / own[row["group"]]
    machine = raw["machine_info"]
    return {
        "processor": machine["cpu"].get("brand_raw", machine["processor"]),
        "cores": machine["cpu"].get("count"),
        "python": machine["python_version"],
        "packages": raw.get("packages", {}),
        "date": raw["datetime"][:10],
        "rows": rows,
    }


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
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for row in sorted(summary["rows"], key=lambda row: (row["group"], row["times_ours"])):
        cells = [row["group"], row["who"], f"{row['median_s']:.4g}", f"{row['times_ours']:.2f}"]
        cells += [str(row.get(key, "")) for key in extra]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


_PLAIN = {"group", "who", "median_s", "min_s", "max_s", "rounds", "times_ours"}


def main(raw_path, stem):
    """Write STEM.json and STEM.md."""
    summary = summarise(json.loads(Path(raw_path).read_text()))
    stem = Path(stem)
    title = stem.name.replace("_", " ").capitalize() + " speed"
    stem.with_suffix(".json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    stem.with_suffix(".md").write_text(table(summary, title))
    print(table(summary, title))


if __name__ == "__main__":
    main(*sys.argv[1:])
