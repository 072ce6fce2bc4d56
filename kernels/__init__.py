"""CUDA sources, read through importlib.resources; see `mcmargin.engines.cupy_engine`."""
