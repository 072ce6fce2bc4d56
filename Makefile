# make demo   runs the main job on real prices.
# make test   runs the whole test suite.
# make bench  measures the speed beside other libraries, and writes benchmarks/results/;
#             ONLY=simulation runs one benchmark alone.
# make kills  ends commands with 160 kills, half of them while they write, and checks that every
#             file is whole.
# These four make the environment .venv if there is none. The next two use GPU_PYTHON as it is; the
# README lists the packages that it needs.
# make gpu-check  compares the results on a GPU with the CPU's.
# make gpu-bench  measures the speed on a GPU; both write benchmarks/results/.
PYTHON ?= python3
GPU_PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench kills gpu-check gpu-bench clean
.DEFAULT_GOAL := demo

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/mcmargin demo

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

# Without these two settings of the environment, BLAS chooses the kernels of this processor.
BENCH = env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python -m pytest -q \
	-o addopts=--import-mode=importlib

bench: $(VENV)/.installed
	mkdir -p build
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	for name in $(or $(ONLY),simulation update calibration black76 book policy scale); do \
		$(BENCH) benchmarks/test_$${name}_speed.py --benchmark-json=build/$$name.json \
		&& $(BIN)/python -m benchmarks.report build/$$name.json benchmarks/results/$$name \
		|| exit 1; done

kills: $(VENV)/.installed
	MCMARGIN_KILLS=40 $(BIN)/python -m pytest -q -n0 tests/properties/test_kills.py

gpu-check:
	$(GPU_PYTHON) -m tests.gpu.check

gpu-bench:
	$(GPU_PYTHON) -m benchmarks.gpu

clean:
	rm -rf $(VENV) build *.egg-info
