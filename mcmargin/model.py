"""MarketModel: a calibrated market, frozen, saved, loaded and filtered forward.

In: what calibration fitted. Out: a value that simulation reads, that a file holds exactly, and
that `update` moves to newer prices by the volatility recursions alone, without a refit.
"""

from __future__ import annotations

import hmac
import io
import json
import lzma
import os
import zipfile
import zlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcmargin.audit import fingerprint
from mcmargin.dependence import Dependence
from mcmargin.errors import DataError, ModelFileError
from mcmargin.files import write_atomically
from mcmargin.innovations import Innovations
from mcmargin.marginals import copula_variables
from mcmargin.prices import PriceHistory, joint_returns
from mcmargin.updates import record_update, update_summary

SCHEMA = "mcmargin.model/1"
LARGEST_MODEL_BYTES = 2**31
ROOT_TWO_OVER_PI = float(np.sqrt(2.0 / np.pi))


@dataclass(frozen=True, eq=False)
class Volatility:
    """Volatility recursions of all assets, on simple returns as fractions.

    Linear kinds: h' = omega + (alpha + gamma 1{e < 0}) e**2 + beta h. EGARCH (Nelson 1991):
    ln h' = omega + alpha (|z| - sqrt(2/pi)) + gamma z + beta ln h.

    Attributes
    ----------
    kinds : tuple of str
        `garch`, `gjr`, `egarch`, `ewma` or `constant`, one an asset.
    omega, alpha, gamma, beta : ndarray of shape (assets,), float64
    sample_variance : ndarray of shape (assets,), float64
        Variance of the returns that were fitted, a bar; simulated variance is capped by it.
    """

    kinds: tuple[str, ...]
    omega: NDArray[np.float64]
    alpha: NDArray[np.float64]
    gamma: NDArray[np.float64]
    beta: NDArray[np.float64]
    sample_variance: NDArray[np.float64]

    @property
    def is_egarch(self) -> NDArray[np.bool_]:
        """Which assets follow EGARCH; bool [assets]."""
        return np.array([kind == "egarch" for kind in self.kinds])

    def next_variance(
        self, variance: NDArray[np.float64], returns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Variance of the bar after one whose variance and return are given; [assets]."""
        square = returns * returns
        linear = (
            self.omega + (self.alpha + self.gamma * (returns < 0)) * square + self.beta * variance
        )
        log_variance = np.log(variance)
        z = returns / np.sqrt(variance)
        log_next = np.where(
            self.is_egarch,
            self.omega
            + self.alpha * (np.abs(z) - ROOT_TWO_OVER_PI)
            + self.gamma * z
            + self.beta * log_variance,
            0.0,
        )
        return np.where(self.is_egarch, np.exp(log_next), linear)


def volatility_of(
    kinds: tuple[str, ...],
    coefficients: NDArray[np.float64],
    sample_variance: NDArray[np.float64],
) -> Volatility:
    """Volatility of rows of omega, alpha, gamma, beta; coefficients [assets, 4]."""
    omega, alpha, gamma, beta = np.ascontiguousarray(coefficients.T)
    return Volatility(kinds, omega, alpha, gamma, beta, sample_variance)


@dataclass(frozen=True, eq=False)
class FilterState:
    """Where the filter stands: after the close of one bar, or provisionally within one.

    Attributes
    ----------
    as_of : numpy.datetime64
    prices : ndarray of shape (assets,), float64
    variance : ndarray of shape (assets,), float64
        Of the bar that comes next.
    residuals : ndarray of shape (assets,), float64
        Standardised residual of the bar that ended.
    """

    as_of: np.datetime64
    prices: NDArray[np.float64]
    variance: NDArray[np.float64]
    residuals: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MarketModel:
    """A calibrated market.

    Attributes
    ----------
    assets : tuple of str
    volatility : Volatility
    innovations : tuple of Innovations
        One an asset.
    dependence : Dependence
    committed : FilterState
        After the last closed bar; every update starts here.
    state : FilterState
        What simulation starts from: `committed`, or a provisional state within a bar.
    tables : ndarray of shape (assets, 4099) or (0, 0), float64
        Marginal transforms (`mcmargin.dependence.marginal_table`); empty for `historical`.
    facts : dict
        Bar length, fits asset by asset, dates lost, updates since, data fingerprint, library
        versions.
    """

    assets: tuple[str, ...]
    volatility: Volatility
    innovations: tuple[Innovations, ...]
    dependence: Dependence
    committed: FilterState
    state: FilterState
    tables: NDArray[np.float64]
    facts: dict[str, Any]

    @property
    def as_of(self) -> np.datetime64:
        """Time of the prices that simulation starts from."""
        return self.state.as_of

    @property
    def provisional(self) -> bool:
        """Whether the state is within a bar."""
        return self.state is not self.committed

    def update(self, prices: PriceHistory, *, provisional: bool = False) -> MarketModel:
        """Filter variances forward over newer closes, without a refit.

        Parameters
        ----------
        prices : PriceHistory
            All of the model's assets; rows at or before the committed state are passed over,
            and so are, as in calibration, dates on which some asset has no close.
        provisional : bool
            Take the last row as a tick within the running bar: the state is computed from the
            committed one and the bar's return so far, and is not committed. Assets without a
            price keep theirs.

        Returns
        -------
        MarketModel
            Its `update_report` tells the bars taken in and the dates lost.

        Raises
        ------
        DataError
            If an asset is missing, nothing is newer than the model, or a `historical` model was
            not made by `calibrate`.
        """
        lacking = [asset for asset in self.assets if asset not in prices.assets]
        if lacking:
            raise DataError(f"{prices.source}: no column for asset {lacking[0]!r} of the model")
        columns = [prices.assets.index(asset) for asset in self.assets]
        rows = prices.prices[:, columns]
        newer = prices.times > self.committed.as_of
        if not provisional:
            newer &= np.isfinite(rows).all(axis=1)
        if not newer.any():
            raise DataError(
                f"{prices.source}: no row newer than the model's {self.committed.as_of} has a "
                "close of every asset; give prices after that time"
            )
        if provisional:
            return replace(self, state=self._tick(prices.times[newer][-1], rows[newer][-1]))
        ordered = replace(prices, assets=self.assets, prices=rows)
        joint = joint_returns(ordered, before=(self.committed.as_of, self.committed.prices))
        variance, residuals = self.committed.variance, []
        for bar in joint.returns:
            residuals.append(bar / np.sqrt(variance))
            variance = self.volatility.next_variance(variance, bar)
        state = FilterState(joint.times[-1], joint.last_prices, variance, residuals[-1])
        dependence = self.dependence
        if dependence.kind == "historical":
            dates = np.vstack([dependence.residuals, self._standardised(np.array(residuals))])
            dependence = replace(dependence, residuals=dates)
        elif np.isfinite(dependence.half_life):
            bars = np.array(residuals)
            dependence = dependence.moved(copula_variables(bars, self.innovations, dependence.nu))
        record = record_update(
            self.facts.get("update"),
            self.assets,
            self.committed.as_of,
            prices.times,
            np.isfinite(rows),
        )
        facts = self.facts | {"update": record}
        return replace(self, committed=state, state=state, dependence=dependence, facts=facts)

    def _standardised(self, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Residuals [bars, assets] moved and scaled as calibration did those of its own dates."""
        try:
            fits = [self.facts["fits"][asset] for asset in self.assets]
            mean = np.array([fit["residual_mean"] for fit in fits])
            std = np.array([fit["residual_std"] for fit in fits])
        except KeyError:
            raise DataError(
                "the model does not say how its dates were standardised, so none can be added; "
                "calibrate it again"
            ) from None
        return np.asarray((residuals - mean) / std)

    def _tick(self, time: np.datetime64, row: NDArray[np.float64]) -> FilterState:
        last = self.committed
        traded = np.isfinite(row)
        prices = np.where(traded, row, last.prices)
        returns = prices / last.prices - 1.0
        moved = self.volatility.next_variance(last.variance, returns)
        variance = np.where(traded, moved, last.variance)
        residuals = np.where(traded, returns / np.sqrt(last.variance), last.residuals)
        return FilterState(time, prices, variance, residuals)

    def update_report(self) -> str:
        """Text for people: the bars that updates took in and the dates that they lost."""
        return update_summary(self.facts["update"]) if "update" in self.facts else ""

    def fit_report(self) -> str:
        """Text for people: the dates joined, updates since, each asset's fit and fallbacks."""
        lines = [str(self.facts.get("join", "")), self.update_report()]
        for asset, fit in self.facts.get("fits", {}).items():
            lines.append(
                f"{asset}: {fit['volatility']}, {fit['innovations']}, "
                f"persistence {fit['persistence']:.4f}"
                + (f" (fell back: {'; '.join(fit['refused'])})" if fit["refused"] else "")
            )
        return "\n".join(line for line in lines if line)

    @cached_property
    def _fingerprint(self) -> str:
        return _digest(_to_arrays(self), key=None)

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, over everything that the model holds."""
        return self._fingerprint

    def save(self, path: str | os.PathLike[str], *, key: bytes | None = None) -> None:
        """Write the model: to a temporary name in the same folder, synced, then renamed.

        Parameters
        ----------
        path : path
        key : bytes, optional
            Sign the checksum (HMAC-SHA-256) instead of only guarding against accidents.
        """
        arrays = _to_arrays(self)
        arrays["checksum"] = np.array(_digest(arrays, key=key))
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        write_atomically(Path(path), buffer.getvalue())


def load_model(path: str | os.PathLike[str], *, key: bytes | None = None) -> MarketModel:
    """Read a saved model, exactly as it was.

    Parameters
    ----------
    path : path
    key : bytes, optional
        The key it was signed with.

    Raises
    ------
    ModelFileError
        If the file is missing, cut short, altered, too large, of another schema, signed with
        another key, or holds anything but plain arrays.
    """
    arrays = _read_arrays(Path(path))
    try:
        checksum = str(arrays.pop("checksum"))
        if not hmac.compare_digest(checksum.encode(), _digest(arrays, key=key).encode()):
            raise ModelFileError(
                f"{path}: the checksum differs; the file was altered, or the key is another"
            )
        meta = json.loads(str(arrays["meta"]))
        if meta["schema"] != SCHEMA:
            raise ModelFileError(f"{path}: schema {meta['schema']!r}, this version reads {SCHEMA}")
        return _from_arrays(arrays, meta)
    except KeyError as error:
        raise ModelFileError(f"{path}: not a model file of {SCHEMA} (it has no {error})") from None
    except (ValueError, TypeError, IndexError) as error:
        raise ModelFileError(f"{path}: not a model file of {SCHEMA} ({error})") from None


_DAMAGE = (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError)
"""What zipfile and numpy raise for a damaged file."""


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > LARGEST_MODEL_BYTES:
                raise ModelFileError(f"{path}: larger than {LARGEST_MODEL_BYTES} bytes")
            return {
                entry.filename.removesuffix(".npy"): _read_array(archive.read(entry))
                for entry in entries
            }
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error})") from None
    except _DAMAGE as error:
        raise ModelFileError(
            f"{path}: not a model file that 'calibrate' wrote, or cut short or altered ({error})"
        ) from None


def _read_array(content: bytes) -> NDArray[Any]:
    """One npy entry; its header may not claim more than the entry holds."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"npy version {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("an entry holds pickled objects")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError("an entry's header does not fit its size")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _digest(arrays: dict[str, NDArray[Any]], *, key: bytes | None) -> str:
    return fingerprint(*chain.from_iterable(sorted(arrays.items())), key=key)


_STATE_FIELDS = ("prices", "variance", "residuals")
_DEPENDENCE_FIELDS = tuple(field.name for field in fields(Dependence) if field.name != "kind")
_VOLATILITY_FIELDS = ("omega", "alpha", "gamma", "beta", "sample_variance")


def _to_arrays(model: MarketModel) -> dict[str, NDArray[Any]]:
    states = {"committed": model.committed}
    if model.provisional:
        states["state"] = model.state
    meta = {
        "schema": SCHEMA,
        "assets": model.assets,
        "kinds": model.volatility.kinds,
        "innovations": [innovation.kind for innovation in model.innovations],
        "dependence": model.dependence.kind,
        "as_of": {name: str(state.as_of) for name, state in states.items()},
        "facts": model.facts,
    }
    arrays: dict[str, NDArray[Any]] = {
        "meta": np.array(json.dumps(meta, sort_keys=True)),
        "tables": model.tables,
    }
    for name in _DEPENDENCE_FIELDS:
        arrays[f"dependence.{name}"] = np.asarray(getattr(model.dependence, name))
    for name in _VOLATILITY_FIELDS:
        arrays[f"volatility.{name}"] = getattr(model.volatility, name)
    for name, state in states.items():
        for field in _STATE_FIELDS:
            arrays[f"{name}.{field}"] = getattr(state, field)
    for number, innovation in enumerate(model.innovations):
        arrays[f"innovations.{number}"] = innovation.parameters
    return arrays


def _from_arrays(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> MarketModel:
    states = {
        name: FilterState(
            np.datetime64(as_of, "ns"), *(arrays[f"{name}.{field}"] for field in _STATE_FIELDS)
        )
        for name, as_of in meta["as_of"].items()
    }
    volatility = Volatility(
        tuple(meta["kinds"]), *(arrays[f"volatility.{name}"] for name in _VOLATILITY_FIELDS)
    )
    parts: dict[str, Any] = {name: arrays[f"dependence.{name}"] for name in _DEPENDENCE_FIELDS}
    numbers = {name: float(parts[name]) for name in ("nu", "half_life", "shrinkage")}
    dependence = Dependence(**{"kind": meta["dependence"]} | parts | numbers)
    return MarketModel(
        assets=tuple(meta["assets"]),
        volatility=volatility,
        innovations=tuple(
            Innovations(kind, arrays[f"innovations.{number}"])
            for number, kind in enumerate(meta["innovations"])
        ),
        dependence=dependence,
        committed=states["committed"],
        state=states.get("state", states["committed"]),
        tables=arrays["tables"],
        facts=meta["facts"],
    )
