"""The tables of docs/gpu_model.md are those of its tool, and the page is marked as a prediction."""

from pathlib import Path

from tools import gpu_model

DOCUMENT = Path(__file__).parents[2] / "docs" / "gpu_model.md"


def test_tables_are_those_of_the_tool():
    lines = DOCUMENT.read_text().splitlines()
    for table in (gpu_model.instruction_table, gpu_model.work_table, gpu_model.time_table):
        found = table()
        start = lines.index(found[0])
        assert lines[start : start + len(found)] == found


def test_it_is_marked_as_prediction():
    assert "**This page is a prediction, and not a measurement.**" in DOCUMENT.read_text()
