"""The doubles of cupy are as strict as cupy 14.2 wherever wrong figures could go unnoticed."""

import inspect
import threading

import numpy as np
import pytest

from tests.emulator.device_array import METHODS
from tests.emulator.fake_cupy import CREATION, FUNCTIONS, UFUNCS
from tests.emulator.machine import Device, OutOfMemoryError
from tests.emulator.raw_module import CompileException

CODE = """
#line 1 "kernels/sum.cu"
template <typename T>
__global__ void sum(T* out, const T* a, const unsigned char* mask, long long count, T scale) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count) out[at] = mask && mask[at] ? scale * a[at] : T(0);
}
"""
NAMES = ("sum<float>", "sum<double>")


def sound_arguments(cupy):
    a = cupy.asarray(np.arange(6, dtype=np.float32))
    mask = cupy.asarray(np.array([True, False] * 3))
    return [cupy.empty_like(a), a, mask, np.int64(6), np.float32(2)]


def launch(cupy, arguments, grid=(2,), block=(4,)):
    kernel = cupy.RawModule(code=CODE, name_expressions=NAMES).get_function("sum<float>")
    kernel(grid, block, tuple(arguments))


def test_a_launch_runs_every_block_and_thread(machine, cupy):
    arguments = sound_arguments(cupy)
    launch(cupy, arguments)
    assert arguments[0].get().tolist() == [0, 0, 4, 0, 8, 0]
    for null in (None, np.uintp(0), cupy.empty(0, np.uint8)):
        arguments[2] = null
        launch(cupy, arguments)
        assert not arguments[0].any()


WRONG = {
    "float64 array": (
        1,
        lambda cupy: cupy.zeros(6, np.float64),
        "argument 1 .const float.*float64",
    ),
    "view with gaps": (1, lambda cupy: cupy.zeros(12, np.float32)[::2], "not C-contiguous"),
    "host array": (1, lambda cupy: np.zeros(6, np.float32), "device array, not numpy.ndarray"),
    "host array of one": (4, lambda cupy: np.zeros(1, np.float32), "needs float32"),
    "address": (1, lambda cupy: np.uintp(64), "device array"),
    "Python integer": (3, lambda cupy: 6, "argument 3 .long long.: needs int64, not builtins.int"),
    "narrow integer": (3, lambda cupy: np.int32(6), "needs int64"),
    "Python float": (4, lambda cupy: 2.0, "argument 4 .float.: needs float32, not builtins.float"),
    "float64 scalar": (4, lambda cupy: np.float64(2), "needs float32"),
    "None for a number": (4, lambda cupy: None, "needs float32"),
    "device number": (4, lambda cupy: cupy.zeros((), np.float32), "needs float32"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_named(machine, cupy, wrong):
    at, make, message = WRONG[wrong]
    arguments = sound_arguments(cupy)
    arguments[at] = make(cupy)
    with pytest.raises(TypeError, match=f"sum<float>.*{message}"):
        launch(cupy, arguments)


def test_wrong_counts_and_sizes_are_refused(machine, cupy):
    arguments = sound_arguments(cupy)
    with pytest.raises(TypeError, match="takes 5 arguments, but 4"):
        launch(cupy, arguments[:4])
    for sizes in (
        {"grid": (0,)},
        {"grid": (2**31,)},
        {"grid": (1, 65_536)},
        {"block": (1025,)},
        {"block": (32, 33)},
    ):
        with pytest.raises(ValueError, match=r"beyond|1,024"):
            launch(cupy, arguments, **sizes)
    with pytest.raises(TypeError, match="tuple"):
        launch(cupy, arguments, grid=[2])


def test_compilers_errors_name_the_kernels_file(machine, cupy):
    planted = CODE.replace("scale * a[at]", "2.0 * a[at]")
    module = cupy.RawModule(code=planted, name_expressions=NAMES)
    with pytest.raises(CompileException, match=r"kernels/sum\.cu:4:"):
        module.get_function("sum<float>")
    with pytest.raises(KeyError, match="sum<int>"):
        cupy.RawModule(code=CODE, name_expressions=NAMES).get_function("sum<int>")


HOST = np.ones(3)
MIXED = {
    "operator": lambda cupy, a: a + HOST,
    "reflected operator": lambda cupy, a: HOST * a,
    "in place": lambda cupy, a: a.__iadd__(HOST),
    "ufunc": lambda cupy, a: cupy.maximum(a, HOST),
    "ufunc out": lambda cupy, a: cupy.exp(a, out=HOST),
    "numpy's ufunc": lambda cupy, a: np.exp(a, out=HOST),
    "list": lambda cupy, a: cupy.add(a, [1.0, 2.0, 3.0]),
    "where": lambda cupy, a: cupy.where(a > 0, a, HOST),
    "concatenate": lambda cupy, a: cupy.concatenate([a, HOST]),
    "matmul": lambda cupy, a: a @ HOST,
    "asarray of numpy": lambda cupy, a: np.asarray(a),
    "a parameter cupy lacks": lambda cupy, a: cupy.take(a, cupy.zeros(1, int), mode="clip"),
    "where of a ufunc": lambda cupy, a: cupy.exp(a, where=a > 0),
}


@pytest.mark.parametrize("mixed", MIXED)
def test_host_and_device_do_not_mix(cupy, mixed):
    with pytest.raises(TypeError):
        MIXED[mixed](cupy, cupy.zeros(3))


def test_arrays_are_numpys_but_for_scalars(cupy):
    """Figures are those of numpy; a reduction or an element is an array without dimensions."""
    host = np.random.default_rng(1).standard_normal((4, 5))
    a = cupy.asarray(host)
    assert a.sum().shape == a[1, 2].shape == a.min(axis=1)[0].shape == ()
    assert float(a.sum()) == pytest.approx(host.sum(), abs=1e-14)
    np.testing.assert_array_equal((2 * a[:, 1:] - a.T[1:].T).get(), 2 * host[:, 1:] - host[:, 1:])
    np.testing.assert_array_equal(cupy.sort(a, axis=1)[:, -2:].get(), np.sort(host)[:, -2:])
    a[1] = 7.0
    a[2, a[2] > 0] = 0.0
    a[:, 0] += 1
    host[1] = 7.0
    host[2, host[2] > 0] = 0.0
    host[:, 0] += 1
    np.testing.assert_array_equal(cupy.asnumpy(a), host)
    with pytest.raises(ValueError, match="fill"):
        a[0] = host[0]


def test_memory_is_counted_and_runs_out(machine, cupy):
    pool = cupy.get_default_memory_pool()
    machine.devices[0] = Device(capacity=10_000)
    a = cupy.zeros(1000)
    view = a[10:]
    assert pool.used_bytes() == 8192
    with pytest.raises(OutOfMemoryError):
        cupy.zeros(300)
    del a
    assert pool.used_bytes() == 8192
    del view
    assert pool.used_bytes() == 0
    assert pool.free_bytes() == 8192
    assert cupy.cuda.runtime.memGetInfo() == (1808, 10_000)
    pool.free_all_blocks()
    assert cupy.cuda.runtime.memGetInfo() == (10_000, 10_000)
    pool.set_limit(4096)
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
        cupy.zeros(600)


def test_failures_are_planted(machine, cupy):
    machine.fail_allocations = {machine.allocations + 1}
    cupy.zeros(1)
    with pytest.raises(OutOfMemoryError):
        cupy.zeros(1)
    machine.largest = 4096
    cupy.zeros(512)
    with pytest.raises(OutOfMemoryError):
        cupy.zeros(513)


def test_arrays_belong_to_a_device(machine, cupy):
    with cupy.cuda.Device(1):
        there = cupy.zeros(3)
        arguments = sound_arguments(cupy)
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(cupy.cuda.Device().id))
        thread.start()
        thread.join()
    assert elsewhere == [0]
    assert cupy.cuda.Device().id == 0
    for use in (lambda: there + 1, lambda: launch(cupy, arguments), lambda: there.sum()):
        with pytest.raises(ValueError, match="different from the current device"):
            use()
    assert float((cupy.asarray(there) + 1).sum()) == 3.0
    assert machine.devices[1].used > 0


def test_a_machine_without_devices(machine, cupy):
    machine.devices.clear()
    for use in (cupy.cuda.runtime.getDeviceCount, lambda: cupy.zeros(3)):
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="NoDevice"):
            use()


def test_products_are_noted_with_their_math_mode(machine, cupy):
    from cupy import cublas
    from cupy.cuda import cublas as library

    a, b = cupy.asarray(np.eye(2, 3)), cupy.asarray(np.arange(6.0).reshape(3, 2))
    handle = cupy.cuda.device.get_cublas_handle()
    library.setMathMode(handle, library.CUBLAS_TENSOR_OP_MATH)
    out = cupy.empty((2, 2))
    cublas.gemm("N", "N", a, b, out=out)
    np.testing.assert_array_equal(out.get(), [[0.0, 1.0], [2.0, 3.0]])
    library.setMathMode(handle, library.CUBLAS_DEFAULT_MATH)
    cupy.matmul(a, b)
    assert [each.math_mode for each in machine.products] == [1, 0]


def test_sparse_products_come_in_columns(cupy):
    from cupyx.scipy import sparse

    parts = (np.array([2.0, 3.0]), np.array([1, 0], np.int32), np.array([0, 1, 2], np.int32))
    matrix = sparse.csr_matrix(tuple(cupy.asarray(part) for part in parts), shape=(2, 2))
    product = matrix @ cupy.asarray(np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(product.get(), [[6.0, 8.0], [3.0, 6.0]])
    assert product.flags.f_contiguous


def test_names_and_parameters_are_cupys():
    """Everything in the double is in cupy 14.2. The test needs cupy, but no GPU."""
    cupy = pytest.importorskip("cupy", reason="cupy is not installed")
    for name in (*UFUNCS, *METHODS):
        assert hasattr(cupy, name) or hasattr(cupy.ndarray, name), name
    for name, parameters in {**FUNCTIONS, **CREATION}.items():
        real = inspect.signature(getattr(cupy, name)).parameters
        assert set(parameters.split()) <= {*real, "a"}, name


def test_what_a_gpu_is_asked_is_cupys():
    """cupy has the names that checks and benchmarks use. The test needs cupy, but no GPU."""
    cupy = pytest.importorskip("cupy", reason="cupy is not installed")
    from cupyx import profiler

    assert {"n_repeat", "n_warmup"} <= set(inspect.signature(profiler.benchmark).parameters)
    for draw in (cupy.random.standard_normal, cupy.random.chisquare):
        assert {"size", "dtype"} <= set(inspect.signature(draw).parameters)
    for name in ("ClockRate", "MemoryClockRate", "GlobalMemoryBusWidth", "MultiProcessorCount"):
        assert hasattr(cupy.cuda.runtime, f"cudaDevAttr{name}")
    for name in ("driverGetVersion", "runtimeGetVersion", "getDeviceProperties", "memGetInfo"):
        assert hasattr(cupy.cuda.runtime, name)
    for name in ("attributes", "compute_capability", "mem_info", "synchronize"):
        assert hasattr(cupy.cuda.Device, name)
    assert hasattr(cupy.RawKernel, "attributes")
    assert cupy.cuda.memory.Memory
