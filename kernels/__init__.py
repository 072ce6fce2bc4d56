"""The CUDA sources; `mcmargin.engines.cupy_kernels` reads, compiles and launches them."""
