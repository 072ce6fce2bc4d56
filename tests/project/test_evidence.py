"""`make evidence` in small, so that it does not rot between two runs."""

from evidence.__main__ import main


def test_every_table_is_written(tmp_path):
    main(tmp_path / "results", tmp_path / "work", small=True)
    listed = (tmp_path / "results" / "listed.md").read_text()
    for heading in ("## 1 bar, 99 %", "## 2 bars, 97.5 %"):
        assert heading in listed
    assert listed.count("| ewma, t, t copula |") == 4
    rows = (tmp_path / "results" / "listed.csv").read_text().strip().split("\n")
    assert len(rows) == 1 + 4 * 3
    power = (tmp_path / "results" / "size_and_power.md").read_text()
    assert power.count("| 250 |") == 11
