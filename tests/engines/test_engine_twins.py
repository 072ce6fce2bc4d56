"""The two engines have the same functions with the same signatures."""

import inspect
import re

from mcmargin.engines import cupy_engine, numpy_engine


def functions(engine):
    """Return parameters and result of each public function; arrays of both modules are Array."""
    return {
        name: (
            [
                (each.name, each.kind, each.default, plain(each.annotation))
                for each in signature.parameters.values()
            ],
            plain(signature.return_annotation),
        )
        for name, function in inspect.getmembers(engine, inspect.isfunction)
        if function.__module__ == engine.__name__ and not name.startswith("_")
        for signature in [inspect.signature(function)]
    }


def plain(annotation):
    return re.sub(r"NDArray\[[^\[\]]*\]", "Array", annotation)


def test_the_engines_offer_the_same_functions_with_the_same_signatures():
    ours, peers = functions(numpy_engine), functions(cupy_engine)
    assert set(ours) == {"simulate_paths", "named_normals", "named_jumps"}
    assert ours == peers
