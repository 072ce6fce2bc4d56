"""Files that would unpack to more than the memory: bounded by their headers, before anything is.

Each is made here and read in a process of its own, whose memory the kernel limits.
"""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

import mcmargin as mm
from mcmargin.data import limits
from tests.helpers.models import make_model

ROOT = Path(__file__).parents[2]
READ = """
import resource, sys
import mcmargin as mm
from mcmargin.data.parquet_tables import read_frame
import pyarrow.parquet, pandas, scipy.sparse, mcmargin.models.model_file
import mcmargin.markets.market_files, mcmargin.instruments.instrument_files
with open("/proc/self/statm") as file:
    held = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 700_000_000,) * 2)
read = {reader}
try:
    read(sys.argv[1])
except mm.McMarginError as error:
    print(str(error)[:500])
else:
    print("read")
"""


def said(path, reader, **setting):
    """What a process with 700 MB of memory says of a file."""
    done = subprocess.run(
        [sys.executable, "-c", READ.format(reader=reader), str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"} | setting,
    )
    assert done.returncode == 0, done.stderr[-600:]
    return done.stdout.strip()


def test_an_npz_of_a_megabyte_that_unpacks_to_gigabytes(tmp_path):
    path = tmp_path / "m.npz"
    make_model().save(path)
    header = {"descr": "<f8", "fortran_order": False, "shape": (1_000_000_000 // 8,)}
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("history.more.npy", "w", force_zip64=True) as entry,
    ):
        np.lib.format.write_array_header_1_0(entry, header)
        for _ in range(100):
            entry.write(bytes(10_000_000))
    assert path.stat().st_size < 6_000_000
    text = said(path, "mm.load_model")
    assert "its entries are compressed: " in text
    assert "bytes that unpack to 1,0" in text


def test_a_parquet_of_a_few_kilobytes_that_unpacks_to_terabytes(tmp_path):
    """Rows without end, each the same; and one text of a megabyte that each row names."""
    rows = 4_000_000
    for name, column, kind in (
        ("quantity", pyarrow.array(np.zeros(rows)), "unpacked"),
        (
            "account",
            pyarrow.DictionaryArray.from_arrays(
                np.zeros(50_000, np.int32), pyarrow.array(["x" * 1_000_000])
            ),
            "unpacked",
        ),
    ):
        columns = {
            "account": pyarrow.array(["a"]).take(np.zeros(len(column), np.int64)),
            "instrument": pyarrow.array(["b"]).take(np.zeros(len(column), np.int64)),
            "quantity": pyarrow.array(np.zeros(len(column), np.float32)),
        }
        path = tmp_path / f"{name}.parquet"
        parquet.write_table(pyarrow.table(columns | {name: column}), path, compression="zstd")
        del columns, column
        assert path.stat().st_size < 4_000_000
        text = said(path, "mm.read_positions", MCMARGIN_LARGEST_FILE="150000000")
        assert f"bytes {kind}, and the limit is 150,000,000" in text
        assert "set MCMARGIN_LARGEST_FILE=" in text


def test_the_limit_is_widened_by_its_name(tmp_path, monkeypatch):
    frame = pd.DataFrame({"account": ["x"] * 100, "instrument": range(100), "quantity": 1.0})
    frame.to_parquet(tmp_path / "p.parquet")
    monkeypatch.setenv("MCMARGIN_LARGEST_FILE", "4799")
    with pytest.raises(mm.DataError, match=r"set MCMARGIN_LARGEST_FILE=4\d\d\d\d?$"):
        mm.read_positions(tmp_path / "p.parquet")
    monkeypatch.setenv("MCMARGIN_LARGEST_FILE", "100000")
    assert len(mm.read_positions(tmp_path / "p.parquet").instruments) == 100
    frame.to_csv(tmp_path / "p.csv", index=False)
    monkeypatch.setenv("MCMARGIN_LARGEST_FILE", "100")
    with pytest.raises(mm.DataError, match=r"p\.csv: [\d,]+ bytes on disk, and the limit is 100"):
        mm.read_positions(tmp_path / "p.csv")
    monkeypatch.setenv("MCMARGIN_LARGEST_FILE", "")
    assert limits.largest_file() == limits.LARGEST_FILE
    for value in ("much", "-1", "0", "1e9"):
        monkeypatch.setenv("MCMARGIN_LARGEST_FILE", value)
        with pytest.raises(mm.DataError, match="MCMARGIN_LARGEST_FILE must be a whole number"):
            mm.read_positions(tmp_path / "p.csv")


def test_a_file_without_end(tmp_path):
    """A sparse file of a terabyte holds nothing; a device never ends."""
    path = tmp_path / "p.csv"
    with path.open("wb") as file:
        file.truncate(2**40)
    for target in (path, Path("/dev/zero")):
        text = said(target, "mm.read_positions", MCMARGIN_LARGEST_FILE="10000000")
        assert "bytes on disk, and the limit is 10,000,000" in text


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_one_long_name_beside_many_rows(suffix, tmp_path):
    """An array of fixed width would give every row the room of the longest name."""
    names = ["x" * 100_000, *(f"a{at}" for at in range(20_000))]
    frame = pd.DataFrame({"account": names, "instrument": "b", "quantity": 1.0})
    path = tmp_path / f"p.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    text = said(path, "mm.read_positions")
    assert "row 2, column 'account': 100,000 letters, and a name has 1,000 at most" in text


def test_a_line_without_end(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("account,instrument,quantity\nx,b,1\n" + "," * 100_000_000)
    text = said(path, "mm.read_positions")
    assert "line 3 has 100,000,000 bytes, and a line has 16,777,216 at most" in text


DEEP = {
    "arrays": "[" * 100_000,
    "closed arrays": "spot = " + "[" * 5000 + "]" * 5000,
    "tables": "a = " + "{a=" * 5000,
    "dotted": "spot" + ".a" * 5000 + " = 1",
    "headers": "[" + ".".join("a" * 5000) + "]\nb = 1",
    "shallow enough for TOML": "spot = " + "[" * 60 + "]" * 60,
    "digits": "spot = { a = " + "9" * 5000 + " }",
    "many digits": "spot = { a = " + "9" * 4000 + " }",
    "exponent": "spot = { a = 1e999999999 }",
}


@pytest.mark.parametrize("kind", DEEP)
def test_nested_and_endless_toml(kind, tmp_path):
    path = tmp_path / "f.toml"
    for head, read in (
        ("as_of = 2024-01-01\n", mm.read_market),
        ("", mm.read_instruments),
        ("version = 1\n", mm.MarginPolicy.from_toml),
    ):
        path.write_text(head + DEEP[kind])
        with pytest.raises((mm.DataError, mm.PolicyError), match=r"f\.toml: ") as caught:
            read(path)
        assert len(str(caught.value)) < 500


def test_a_toml_of_a_hundred_megabytes(tmp_path):
    path = tmp_path / "f.toml"
    path.write_text("# " + "x" * 70_000_000)
    text = said(path, "mm.read_market")
    assert "70,000,002 bytes, and such a file has 67,108,864 at most" in text


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"a": 9' + "9" * 5000]
)
def test_nested_and_endless_json(text):
    with pytest.raises(mm.ModelFileError, match="report: not a"):
        mm.MarginReport.from_json(text)


def test_cells_that_are_lists_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "p.parquet"
    columns = {"account": ["x"], "instrument": ["b"], "quantity": [[1.0, 2.0]]}
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(mm.DataError, match="column 'quantity' has lists or tables in its cells"):
        mm.read_positions(path)


@pytest.mark.parametrize("dictionary", [True, False])
def test_text_that_is_not_utf8_in_parquet(dictionary, tmp_path):
    """Status 2 with the place, and never a traceback, whatever reads the cell first."""
    names = pyarrow.array([b"a", b"ok", b"b\xff\xfe"], pyarrow.binary()).view(pyarrow.string())
    table = pyarrow.table(
        {"account": names, "instrument": ["x", "y", "z"], "quantity": [1.0, 2.0, 3.0]}
    )
    path = tmp_path / "p.parquet"
    parquet.write_table(table, path, use_dictionary=dictionary)
    said = r"p\.parquet: row 4, column 'account': not UTF-8 text at byte 1 of the cell"
    with pytest.raises(mm.DataError, match=said):
        mm.read_positions(path)
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"date": names, "a": [1.0, 2.0, 3.0]}), buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(mm.DataError, match="row 4, column 'date': not UTF-8"):
        mm.read_prices(path)


def test_texts_of_every_type_come_back(tmp_path):
    """Categories, strings, large strings and an index of text, as pandas writes them."""
    cells = ["é", "b", "é", None]
    frame = pd.DataFrame(
        {
            "object": cells,
            "string": pd.array(cells, dtype="string"),
            "arrow": pd.array(cells, dtype="string[pyarrow]"),
            "category": pd.Categorical(cells),
            "number": [1.0, 2.0, np.nan, 4.0],
        },
        index=pd.Index(list("wxyz"), name="index"),
    )
    from mcmargin.data.parquet_tables import read_frame

    frame.to_parquet(tmp_path / "f.parquet")
    again = read_frame(tmp_path / "f.parquet")
    assert list(again.index) == list("wxyz")
    for name in frame.columns[:-1]:
        given = again[name].astype(object)
        assert given.where(given.notna(), None).tolist() == cells
