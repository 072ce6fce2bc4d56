"""Names that somebody else chose, on terminals, in all encodings and in spreadsheets."""

import csv
import io
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.cli.printing import ON_CONSOLES
from mcmargin.data.tables import read_cells, read_table
from mcmargin.names import shown, table_cell, to_csv_text
from tests.helpers.commands import called

EVIL = {
    "a screen cleared": "desk\x1b[2J\x1b[31m",
    "letters turned about": "fund\u202edc\u2066x",
    "a bell, a return and a back space": "a\ab\rc\x08d",
    "a mark between words": "de\u200bsk\ufeff",
    "a second row": "one\ntwo",
    "markup": "[red]desk[/red] [bold]",
    "an emoji by its name": ":warning: desk\\",
    "a formula": "=HYPERLINK(1)",
    "another language": "日本口座",
}
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


# CSV --------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1)
formulas = st.builds(
    lambda quotes, sign, rest: f"{quotes}{sign}{rest}",
    st.sampled_from(["", "'", "''"]),
    st.sampled_from(["=", "+", "-", "@", "\uff1d", "="]),
    texts,
)
chosen_names = (texts | formulas).map(str.strip).filter(bool)


@settings(max_examples=50, deadline=None)
@given(st.lists(chosen_names, min_size=2, max_size=6, unique=True), st.floats(allow_nan=False))
def test_names_and_numbers_come_back_from_csv_and_are_no_formulas(tmp_path_factory, names, number):
    """Our reader gives the same names; for the csv module, no text begins like a formula."""
    path = tmp_path_factory.mktemp("csv") / "names.csv"
    frame = pd.DataFrame({"account": names, names[0] + "x": number})
    path.write_bytes(to_csv_text(frame).encode())
    header, rows = read_cells(path)
    assert header == list(frame.columns)
    assert [row[0] for row in rows] == names
    assert all(float(row[1]) == number for row in rows)
    cells = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    for text in [cells[0][0], cells[0][1], *(row[0] for row in cells[1:])]:
        assert text[0] not in "=+-@\t\r\n"
    assert cells[1][1] == repr(number)


def test_what_is_no_text_stays_as_it_is():
    frame = pd.DataFrame(
        {
            "n": [-1.5, np.nan],
            "i": [-1, 2],
            "b": [True, False],
            "t": pd.to_datetime(["2021-01-04", None]),
            "s": ["-x", None],
        }
    )
    assert to_csv_text(frame) == "n,i,b,t,s\n-1.5,-1,True,2021-01-04,'-x\n,2,False,,\n"


# Terminals --------------------------------------------------------------------------------------


@given(st.text())
def test_what_is_shown_is_printable_and_stays_where_it_was(text):
    assert shown(text).isprintable()
    if text.isprintable():
        assert shown(text) == text


@given(st.text(), st.sampled_from(["ascii", "cp1252", "latin-1", "cp437", "shift_jis", "utf-8"]))
def test_any_text_becomes_one_that_an_encoding_has(text, encoding):
    written = io.BytesIO()
    console = io.TextIOWrapper(written, encoding=encoding, errors=ON_CONSOLES, newline="")
    console.write(text)
    console.flush()
    if text.isascii():
        assert written.getvalue() == text.encode(encoding)
    else:
        assert len(written.getvalue().decode(encoding)) >= len(text)


def test_borders_and_signs_have_plain_ones_in_their_place():
    assert "┃ ± 日本 é ┃".encode("cp1252", ON_CONSOLES) == "| ± \\u65e5\\u672c é |".encode("cp1252")
    assert "━┳━│…±─".encode("ascii", ON_CONSOLES) == b"=+=|...+/--"


def test_a_cell_takes_nothing_for_markup():
    for name in EVIL.values():
        assert table_cell(name).plain == shown(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a model, and a book whose accounts have harmful names."""
    from mcmargin.demo import demo_model

    folder = tmp_path_factory.mktemp("names")
    demo_model().save(folder / "m.npz")
    frame = pd.DataFrame({"account": list(EVIL.values()), "instrument": "sp500", "quantity": 1.0})
    frame.to_parquet(folder / "evil.parquet")
    frame.iloc[-1:].to_csv(folder / "japan.csv", index=False)
    frame.rename(columns={"instrument": "asset", "quantity": "amount"}).assign(
        asset="USD"
    ).to_parquet(folder / "balances.parquet")
    (folder / "p.toml").write_text("version = 1\nhorizon = 2\n[procyclicality]\nbuffer = 0.25\n")
    return folder


MARGIN = ("margin", "m.npz", "evil.parquet", "--paths", "2000")
STATUS = ("status", *MARGIN[1:], "--balances", "balances.parquet")
WHAT_IF = ("what-if", *MARGIN[1:], "--account", EVIL["markup"], "--trade", "sp500=1")
UNKNOWN = ("what-if", *MARGIN[1:], "--account", EVIL["a screen cleared"], "--trade", "\x1b[2J=1")


@pytest.mark.parametrize("command", [MARGIN, STATUS, WHAT_IF, UNKNOWN], ids=lambda each: each[0])
def test_no_name_reaches_a_terminal_with_what_is_hidden_in_it(folder, command, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    _, output, message = called(command, monkeypatch, capsys)
    assert output + message
    assert not HIDDEN.findall(output + message)


def test_names_are_whole_in_tables(folder, monkeypatch, capsys):
    """A name gives neither markup nor an emoji, and it stays on its own line."""
    monkeypatch.chdir(folder)
    for command in (MARGIN, STATUS):
        _, output, _ = called(command, monkeypatch, capsys)
        for name in EVIL.values():
            assert sum(shown(name) in line for line in output.splitlines()) == 1, name


def test_messages_show_what_is_hidden_in_names(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "bad.csv").write_text("account,instrument,quantity\na,x\x1b[2J\u202e,1\n")
    status, _, message = called(("margin", "m.npz", "bad.csv"), monkeypatch, capsys)
    assert status == 2
    assert "x\\x1b[2J\\u202e" in message
    assert not HIDDEN.findall(message)


def test_csv_of_a_report_is_read_back(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(folder)
    path = tmp_path / "report.csv"
    assert called((*MARGIN, "-o", str(path)), monkeypatch, capsys)[0] == 0
    assert sorted(read_table(path)["account"]) == sorted(EVIL.values())
    assert '\n"\'=HYPERLINK(1)",' in path.read_text(encoding="utf-8")
    _, printed, _ = called((*MARGIN, "--format", "csv"), monkeypatch, capsys)
    assert printed.encode() == path.read_bytes()


# Consoles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "utf-8"])
@pytest.mark.parametrize(
    "command", [MARGIN, STATUS, WHAT_IF, ("info",), ("policy", "check", "p.toml")]
)
def test_any_console_is_shown_a_table(folder, command, encoding, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    written = io.BytesIO()
    stdout = io.TextIOWrapper(written, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    status, _, message = called(command, monkeypatch, capsys)
    assert status == 0, message
    text = written.getvalue().decode(encoding)
    assert text
    if encoding == "ascii" and command is MARGIN:
        assert "| \\u65e5\\u672c\\u53e3\\u5ea7 (USD) " in text
        assert "+=" in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_python_prints_a_report_on_any_console(encoding, monkeypatch):
    """A script prints to a stdout that raises an error for signs that it cannot encode."""
    from mcmargin.demo import demo_report

    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    print(demo_report())
    sys.stdout.flush()
    assert "| diversified (USD) " in written.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("environment", "form", "expected"),
    [
        ({"PYTHONIOENCODING": "cp1252"}, "csv", "\n日本口座,".encode()),
        (
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            "table",
            rb"| \u65e5\u672c\u53e3\u5ea7 (USD) |",
        ),
    ],
    ids=["windows", "the C locale"],
)
def test_a_process_in_another_encoding(folder, environment, form, expected):
    """Tables have the encoding of the console, and CSV has UTF-8, as CSV files have."""
    done = subprocess.run(
        [sys.executable, "-m", "mcmargin", *MARGIN[:2], "japan.csv", *MARGIN[3:], "--format", form],
        cwd=folder,
        capture_output=True,
        env=os.environ | environment,
        check=True,
    )
    assert expected in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_help_and_usage_errors_are_shown_on_any_console(encoding, monkeypatch, capsys):
    """typer prints it, with borders, and with an ellipsis where a column is too narrow."""
    for command, status in ((("margin", "--help"), 0), (("margin", "--nope"), 2)):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", streams[0])
            patched.setattr(sys, "stderr", streams[1])
            assert called(command, patched, capsys)[0] == status
        stream = streams[1 if status else 0]
        stream.flush()
        assert "margin" in stream.buffer.getvalue().decode(encoding)


def test_a_closed_stdout_is_told(folder):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "mcmargin", "info"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == ("mcmargin: stdout is closed, and what was asked for cannot be printed\n")


def test_commands_print_through_what_knows_the_console():
    """A bare print would raise UnicodeEncodeError on a console without signs for borders."""
    from pathlib import Path

    for module in Path(mm.__file__).parent.joinpath("cli").glob("*.py"):
        lines = module.read_text(encoding="utf-8").splitlines()
        bare = [line for line in lines if re.match(r"(?!\s*(>>>|\.\.\.)).*(?<![\w.])print\(", line)]
        assert module.name == "printing.py" or not bare, (module.name, bare)
