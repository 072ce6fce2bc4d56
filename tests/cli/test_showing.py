"""`info`: versions, engines and devices."""

from tests.helpers.commands import called, run


def test_info_names_versions():
    done = run("info")
    assert done.returncode == 0
    assert "numpy" in done.stdout


def test_info_names_each_device(machine, monkeypatch, capsys):
    status, output, _ = called(("info",), monkeypatch, capsys)
    assert status == 0
    assert "device 0 Pretended GPU\ndevice 1 Pretended GPU\nengine cupy\ndevices 0\n" in output
    monkeypatch.setenv("MCMARGIN_DEVICES", "1,0")
    assert "engine cupy\ndevices 1,0\n" in called(("info",), monkeypatch, capsys)[1]
