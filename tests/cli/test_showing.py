"""The commands `info` and `demo`."""

import re

from tests.helpers.commands import called, run
from tests.helpers.terminal import on_terminal


def test_info_names_each_device(machine, monkeypatch, capsys):
    status, output, _ = called(("info",), monkeypatch, capsys)
    assert status == 0
    assert "device 0 Pretended GPU\ndevice 1 Pretended GPU\nengine cupy\ndevices 0\n" in output
    monkeypatch.setenv("MCMARGIN_DEVICES", "1,0")
    assert "engine cupy\ndevices 1,0\n" in called(("info",), monkeypatch, capsys)[1]


def test_the_demo_tells_its_fits_between_the_bars():
    status, output, sent = on_terminal("demo", cwd=None)
    assert status == 0
    assert "Margin at" in output
    assert (
        "Fits that were replaced: sp500: garch, t, as gjr with skewt innovations is not" in output
    )
    # Longer than the terminal's 100 columns, and sent as one line all the same.
    told = r"5012 common dates .{60,} \(missing closes: sp500 185, nasdaq 185, wti 195\)\r\n"
    line = re.search(told, sent)
    assert line
    assert sent[: line.start()].endswith("\x1b[2K")
    assert sent[line.end() :].startswith("sp500: ")


def test_info_names_versions():
    done = run("info")
    assert done.returncode == 0
    assert "numpy" in done.stdout
