# make demo: the main job on real prices. make test: the whole suite. make bench: speed beside
# others, to benchmarks/results/ (ONLY=simulation for one of them). Each makes its own .venv.
# make kills: 160 kills of commands, half of them while they write, to prove that no file is torn.
# make gpu-check and gpu-bench: proof and speed on a GPU, to benchmarks/results/, with GPU_PYTHON as
# it is: cupy, numpy, scipy, pandas, pytest and pytest-benchmark are all that it needs.
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

# The environment's BLAS settings would hide the processor's own kernels.
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
