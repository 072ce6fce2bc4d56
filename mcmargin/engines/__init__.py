"""The engines that simulate: numpy and cupy, twins with the same functions under the same names.

In: a model, a plan, and how to run. Out: returns and next variances on all paths, with a count of
the paths that were limited. `choice` says which engine runs; kernels/ has the CUDA sources.

choice         the choice of an engine: which one runs, on which GPUs, and with how many threads
execution      how a simulation is run: on which threads and devices, and in which pieces
model_arrays   a model and a plan as arrays, in the form that both engines start from
limited        paths on which a simulation was held within its limits

numpy_engine   groups of path tiles go through draws, product, transform and recursion
numpy_steps    the arithmetic of the numpy engine: one step of one block of assets on a group of
               path tiles

cupy_engine    blocks of path tiles go through CUDA kernels and cuBLAS, on one GPU or several
cupy_steps     the launches of the cupy engine: what is drawn and what is computed for one block of
               path tiles
cupy_kernels   the sources of the CUDA kernels, compiled through cupy on first use, and the launches
cupy_devices   cupy and the GPUs that it finds: whether they can be used, their names and their
               memory
"""
