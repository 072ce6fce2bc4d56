"""The engines: the same few functions, one file each; `simulation` chooses one."""
