"""Model files of absurd content, their checksum made anew: each change is refused by its field."""

import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.audit import fingerprint
from tests.helpers.files import replaced
from tests.helpers.models import make_model, with_history


def history_model(**options):
    model = make_model(("garch", "egarch", "gjr"), **options)
    rng = np.random.default_rng(3)
    return with_history(model, 0.01 * rng.standard_normal((50, 3)), np.full((50, 3), 1e-4))


def prices(bars=420):
    rng = np.random.default_rng(5)
    moves = 0.02 * rng.standard_t(5, (bars, 3))
    index = pd.date_range("2022-01-03", periods=bars)
    frame = pd.DataFrame(100 * np.exp(np.cumsum(moves, axis=0)), index, columns=list("abc"))
    return mm.PriceHistory.from_frame(frame)


def calibrated(**options):
    """A model of `calibrate` and `update`, with a provisional state."""
    closes = prices()
    head = mm.PriceHistory.from_frame(closes.to_frame().iloc[:-2])
    model = mm.calibrate(head, volatility="ewma", jobs=1, **options)
    day = mm.PriceHistory.from_frame(closes.to_frame().iloc[:-1])
    return model.update(day).update(closes, provisional=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Arrays of files that `save` wrote, of every kind of dependence."""
    models = {
        "t": history_model(innovations="skewt", dependence="t"),
        "gaussian": calibrated(innovations="t", dependence="gaussian"),
        "historical": calibrated(innovations="empirical", dependence="historical"),
        "factors": calibrated(innovations="empirical", dependence="t", factors=1),
    }
    found = {}
    for name, model in models.items():
        path = tmp_path_factory.mktemp("models") / f"{name}.npz"
        model.save(path)
        assert mm.load_model(path).fingerprint() == model.fingerprint()
        with np.load(path) as archive:
            found[name] = dict(archive)
    return found


def signed_anew(path, arrays):
    """Write arrays with a checksum that fits them."""
    arrays = {name: np.asarray(array) for name, array in arrays.items() if name != "checksum"}
    parts = [part for entry in sorted(arrays.items()) for part in entry]
    arrays["checksum"] = np.array(fingerprint(*parts))
    np.savez(path, **arrays)
    return path


def refusal(path, arrays):
    """What `load_model` says; anything but its own error fails the test."""
    with pytest.raises(mm.ModelFileError) as caught:
        mm.load_model(signed_anew(path, arrays))
    return str(caught.value)


def numbers(arrays):
    return [name for name, array in arrays.items() if array.dtype.kind in "fiM"]


NEVER = {
    "no number": lambda a: np.full_like(a, "NaT" if a.dtype.kind == "M" else np.nan),
    "one more": lambda a: np.concatenate([np.atleast_1d(a), np.atleast_1d(a)[-1:]]),
    "a dimension more": lambda a: np.asarray(a)[None],
    "no dimension": lambda a: np.zeros((), a.dtype) if a.ndim else np.zeros(1, a.dtype),
    "half the precision": lambda a: a.astype("M8[s]" if a.dtype.kind == "M" else "f4"),
    "other bytes": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "text": lambda a: a.astype("U30"),
    "fields": lambda a: np.zeros(a.shape, [("x", "f8")]),
    "complex": lambda a: np.zeros(a.shape, complex),
}
"""Changes that no field may have; whole numbers have no NaN."""


@pytest.mark.parametrize("kind", ["t", "gaussian", "historical", "factors"])
def test_every_field_of_another_type_or_shape_is_refused(files, kind, tmp_path):
    arrays = files[kind]
    assert len(numbers(arrays)) >= 18
    for name in numbers(arrays):
        for what, change in NEVER.items():
            array = arrays[name]
            if (array.dtype.kind == "i" or array.size == 0) and what == "no number":
                continue
            if what == "one more" and (array.size == 0 or name == "dependence.residuals"):
                continue
            said = refusal(tmp_path / "m.npz", arrays | {name: change(array)})
            assert "field " in said, (name, what, said)
        without = {each: array for each, array in arrays.items() if each != name}
        assert f"field {name} is missing" in refusal(tmp_path / "m.npz", without)
    assert "field odd is unknown" in refusal(tmp_path / "m.npz", arrays | {"odd": np.zeros(1)})


def times_(factor):
    return lambda array: array * factor


def at(place, value):
    def change(array):
        changed = array.copy()
        changed[place] = value
        return changed

    return change


NEXT_YEAR = np.datetime64("2031-01-01", "ns")
ABSURD = [
    *[("t", f"committed.{name}", times_(-1)) for name in ("prices", "variance")],
    *[("t", f"committed.{name}", times_(0)) for name in ("prices", "variance")],
    *[("t", f"committed.{name}", times_(1e300)) for name in ("prices", "variance")],
    *[("t", f"committed.{name}", times_(1e-300)) for name in ("prices", "variance")],
    ("gaussian", "state.variance", times_(1e-6)),
    *[("t", "volatility.sample_variance", times_(by)) for by in (-1, 0, 1e300)],
    *[("t", f"volatility.{name}", times_(by)) for name in ("omega", "beta") for by in (-1, 1e12)],
    ("t", "volatility.alpha", times_(-1)),
    ("t", "volatility.alpha", times_(10)),
    ("t", "volatility.gamma", at(0, 0.1)),
    ("t", "volatility.gamma", times_(10)),
    ("t", "volatility.beta", at(1, 1.2)),
    ("t", "innovations.0", at(0, 1.9)),
    ("t", "innovations.0", at(1, 1.5)),
    ("t", "innovations.0", at(0, 1e300)),
    ("gaussian", "innovations.2", times_(0)),
    ("factors", "innovations.1", times_(2)),
    ("factors", "innovations.1", times_(-1)),
    ("factors", "innovations.1", at(0, 0.6)),
    ("factors", "innovations.1", at(1, 0.0)),
    ("factors", "innovations.1", at(50, 9.0)),
    ("t", "dependence.factor", times_(2)),
    ("t", "dependence.factor", times_(-1)),
    ("t", "dependence.factor", lambda a: a.T.copy()),
    ("t", "dependence.factor", times_(0)),
    ("factors", "dependence.factor", times_(1.5)),
    ("factors", "dependence.diagonal", times_(-1)),
    ("factors", "dependence.diagonal", times_(2)),
    *[("t", "dependence.nu", lambda a, to=to: a * 0 + to) for to in (-1, 0, 1.99, 50)],
    ("t", "dependence.nu", lambda a: a * np.inf),
    ("gaussian", "dependence.nu", lambda a: np.array(5.0)),
    ("t", "dependence.mixing", lambda a: a[::-1].copy()),
    ("t", "dependence.mixing", times_(1.01)),
    *[("t", "dependence.half_life", lambda a, to=to: np.array(to)) for to in (0.0, -1.0)],
    *[("t", "dependence.shrinkage", lambda a, to=to: np.array(to)) for to in (-0.1, 1.1)],
    ("t", "dependence.lookback", lambda a: a - 1),
    ("historical", "dependence.lookback", lambda a: a * 0 + 5),
    ("historical", "dependence.residuals", lambda a: a[:0]),
    ("historical", "dependence.residuals", times_(1e9)),
    ("gaussian", "dependence.residuals", lambda a: np.zeros((5, 3))),
    ("t", "tables", times_(-1)),
    ("t", "tables", times_(2)),
    ("t", "tables", lambda a: a[::-1] * 0),
    ("t", "tables", at((1, slice(0, 4097)), 1.0)),
    ("t", "tables", at((0, 4097), 1.0)),
    ("t", "tables", lambda a: a[:0, :0]),
    ("historical", "tables", lambda a: np.zeros((3, 4163))),
    ("t", "history.times", lambda a: a[::-1].copy()),
    ("t", "history.times", lambda a: a + np.timedelta64(1, "D")),
    ("t", "history.times", at(-1, NEXT_YEAR)),
    ("t", "history.returns", times_(1e300)),
    ("t", "history.returns", lambda a: a - 1.0),
    *[("t", "history.variances", times_(by)) for by in (-1, 0, 1e300)],
]


@pytest.mark.parametrize(("kind", "name", "change"), ABSURD)
def test_absurd_numbers_are_refused_by_their_field(files, kind, name, change, tmp_path):
    with np.errstate(invalid="ignore"):
        changed = change(files[kind][name])
    said = refusal(tmp_path / "m.npz", files[kind] | {name: np.asarray(changed)})
    assert "field " in said, said
    # The table of a changed law is no longer its own.
    others = {
        "innovations.0": "tables",
        "dependence.nu": "dependence.mixing",
        "dependence.diagonal": "dependence.factor",
        "dependence.lookback": "dependence.residuals",
    }
    assert name in said or others.get(name, name) in said or "volatility" in said, said


def leaves(value, path=()):
    """Paths of everything within plain values, tables and lists included."""
    yield path
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from leaves(entry, (*path, name))
    elif isinstance(value, list):
        for place, entry in enumerate(value):
            yield from leaves(entry, (*path, place))


OTHERS = [None, True, -1, 1e300, "now", [], {"a": 1}, 10**400]


FREE = [(("calendar", "mean"), None), (("facts",), {"a": 1}), (("facts", "versions"), {"a": 1})]
"""What may be left out, and facts that nobody reads."""


def fits(value, new):
    """Whether a value may stand in another's place without the file being wrong: such are not asked
    for. A count may be another count, a text another text, and nothing says how many reasons
    there were."""
    if isinstance(value, str) or value is None:
        return type(value) is type(new)
    if isinstance(value, bool) or isinstance(new, bool):
        return False
    if isinstance(value, int | float):
        return isinstance(new, int | float) and abs(new) < 1e301
    return type(value) is type(new) and not new


@pytest.mark.parametrize("kind", ["t", "historical"])
def test_every_word_of_another_type_is_refused(files, kind, tmp_path):
    """And what is of its type is refused, or read without a fault: never anything else."""
    arrays, path = files[kind], tmp_path / "m.npz"
    meta = json.loads(str(arrays["meta"]))
    asked = 0
    for place in leaves(meta):
        value = meta
        for step in place:
            value = value[step]
        for new in OTHERS:
            if new == value and type(new) is type(value):
                continue
            words = arrays | {"meta": np.array(json.dumps(replaced(meta, place, new)))}
            try:
                model = mm.load_model(signed_anew(path, words))
            except mm.ModelFileError:
                asked += 1
                continue
            assert fits(value, new) or (place, new) in FREE, (place, value, new)
            assert isinstance(model.fit_report() + repr(model), str)
            assert model.calibration_notes().assets == 3
    assert asked > 100


@pytest.mark.parametrize(
    ("place", "new"),
    [
        *[(("kinds", 0), new) for new in ("arch", "")],
        *[(("innovations", 0), new) for new in ("cauchy", "empirical")],
        *[(("dependence",), new) for new in ("vine", "historical", "gaussian")],
        (("assets", 1), "a0"),
        (("assets",), []),
        (("assets",), ["a0", "a1"]),
        *[(("as_of", "committed"), new) for new in ("NaT", "now", "today", "0001-01-01", "2021")],
        (("as_of",), {}),
        (("as_of", "state"), "2019-12-31"),
        *[(("calendar", "days"), new) for new in (0, -1, 1e-300, 1e300)],
        *[(("calendar", "mean"), new) for new in (0, -1, 1e300)],
        *[(("calendar", "weekdays"), new) for new in ([], [7], [-1], [1, 1], [3, 1])],
        *[(("calendar", "slots"), new) for new in ([-1], [1440], [5, 5])],
        (("schema",), "mcmargin.model/9"),
    ],
)
def test_absurd_words_are_refused(files, place, new, tmp_path):
    arrays = files["t"]
    meta = json.loads(str(arrays["meta"]))
    if place[-1] == "state":
        arrays = arrays | {
            f"state.{each}": arrays[f"committed.{each}"]
            for each in ("prices", "variance", "residuals")
        }
        meta["as_of"]["state"] = ""
    words = {"meta": np.array(json.dumps(replaced(meta, place, new)))}
    refusal(tmp_path / "m.npz", arrays | words)


def test_words_that_are_no_plain_table_are_refused(files, tmp_path):
    arrays = files["t"]
    texts = ["", "{", "[]", "5", "null", "[" * 100_000, '{"schema": NaN}', "9" * 5000]
    metas = [np.array(text) for text in texts]
    metas += [np.array(5.0), np.array(["{}"]), np.array(b"{}"), np.zeros((), [("a", "U3")])]
    for meta in metas:
        refusal(tmp_path / "m.npz", arrays | {"meta": meta})
    without = {name: array for name, array in arrays.items() if name != "meta"}
    assert "meta" in refusal(tmp_path / "m.npz", without)
    for checksum in (np.array(5.0), np.array(["x"]), np.array("é")):
        np.savez(tmp_path / "c.npz", **(arrays | {"checksum": checksum}))
        with pytest.raises(mm.ModelFileError, match="checksum"):
            mm.load_model(tmp_path / "c.npz")


def test_a_signed_file_asks_for_its_key(tmp_path):
    model, path = make_model(), tmp_path / "m.npz"
    model.save(path, key=b"ours")
    assert mm.load_model(path, key=b"ours").fingerprint() == model.fingerprint()
    with pytest.raises(mm.ModelFileError, match=r"signed; give the key .*load_model\(path, key="):
        mm.load_model(path)
    with pytest.raises(mm.ModelFileError, match="the key is another"):
        mm.load_model(path, key=b"theirs")
    model.save(path)
    with pytest.raises(mm.ModelFileError, match="not signed, and a key is given"):
        mm.load_model(path, key=b"ours")
    for key in ("ours", b"", 5):
        with pytest.raises(mm.DataError, match="key must be bytes"):
            mm.load_model(path, key=key)
        with pytest.raises(mm.DataError, match="key must be bytes"):
            model.save(path, key=key)


def test_an_altered_signed_file_whose_mark_is_taken_off(tmp_path):
    """Without the key nobody can make the checksum anew: the plain one is not taken for it."""
    path = tmp_path / "m.npz"
    make_model().save(path, key=b"ours")
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["committed.prices"] *= 2
    signed_anew(path, arrays)
    with pytest.raises(mm.ModelFileError, match="not signed"):
        mm.load_model(path, key=b"ours")


def test_entries_that_are_compressed_or_there_twice_are_refused_unread(files, tmp_path):
    """2 GB of zeros in 2 MB: what is stored is as large as the file, and a model's is stored."""
    path = tmp_path / "m.npz"
    np.savez_compressed(path, **files["t"])
    with pytest.raises(mm.ModelFileError, match=r"compressed: .* that unpack to .* save the"):
        mm.load_model(path)
    signed_anew(path, files["t"])
    buffer = io.BytesIO()
    np.save(buffer, files["t"]["tables"])
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tables.npy", buffer.getvalue())
    with pytest.raises(mm.ModelFileError, match="twice"):
        mm.load_model(path)


HEADERS = [
    *[
        f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
        for descr, shape in [
            ("'<f8'", f"(0, {10**22})"),
            ("'<f8'", "(True,)"),
            ("'<f8'", "(-1,)"),
            ("'<f8'", f"({10**13},)"),
            ("'<f8'", "1"),
            ("'<f8'", "('1',)"),
            ("'<f8'", "(" + "1," * 70 + ")"),
            ("'|O'", "(1,)"),
            ("'|V0'", f"({10**19},)"),
            ("('<f8', (1000000, 1000000))", "(0,)"),
            ("[('a', '<f8', 5, 5)]", "(1,)"),
            ("{'names': 5}", "(1,)"),
            ("None", "(1,)"),
        ]
    ],
    "{'descr': (",
    "{[]: 1}",
    "[]",
    "9" * 5000,
    "-" * 9000,
    "(" * 900,
    "open('x')",
    "\x00",
    " {",
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_headers_of_entries_that_make_numpy_raise_anything(files, header, tmp_path):
    path = signed_anew(tmp_path / "m.npz", files["t"])
    text = header.encode("latin1") + b"\n"
    entry = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)
    with zipfile.ZipFile(path) as archive:
        others = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in others.items():
            archive.writestr(name, entry if name == "tables.npy" else content)
    with pytest.raises(mm.ModelFileError, match=r"m\.npz: "):
        mm.load_model(path)
