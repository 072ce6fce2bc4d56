"""The instruction counts of docs and benchmarks are those of the kernels as they are now."""

import json
from pathlib import Path

import pytest

from mcmargin.engines.cupy_kernels import NAME_EXPRESSIONS
from tools import sass_counts

ROOT = Path(__file__).parents[2]
KEPT = json.loads((ROOT / sass_counts.OUT).read_text())


def test_a_path_is_read_off_a_listing():
    """The code has a loop of two blocks, a line that is not reached, and a call."""
    listing = """
//--------------------- .text._Z6evolvePf  --------------------------
.text._Z6evolvePf:
\t//## File "/x/kernels/evolve.cu", line 60
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
\t//## File "/usr/include/c++/12/cmath", line 464 inlined at "/x/kernels/evolve.cu", line 81
\t//## File "/x/kernels/evolve.cu", line 81
        /*0010*/                   MUFU.RSQ R2, R1 ;
        /*0020*/              @!P0 BRA `(.L_x_1) ;
\t//## File "/x/kernels/evolve.cu", line 38
        /*0030*/                   FADD R2, R2, R2 ;
        /*0040*/                   BRA `(.L_x_1) ;
.L_x_2:
        /*0050*/                   CALL.REL.NOINC `($slow) ;
.L_x_1:
\t//## File "/x/kernels/evolve.cu", line 81
        /*0060*/              @P1  FFMA R2, R2, R2, R1 ;
        /*0070*/               @P0 BRA `(.L_x_0) ;
        /*0080*/                   EXIT ;
$slow:
        /*0090*/                   FMUL R0, R0, R0 ;
"""
    variant = sass_counts.VARIANTS["evolve, scaled, float32"]
    blocks = sass_counts.parse(listing, variant)
    loop = sass_counts.loop_of(blocks)
    reached = [
        opcode
        for at in loop
        if not sass_counts.is_called(blocks[at]) and not blocks[at].lines <= {38}
        for opcode, _ in blocks[at].instructions
    ]
    assert reached == ["MUFU.RSQ", "BRA", "FFMA", "BRA"]
    assert blocks[-1].instructions == [("EXIT", "")]


def test_every_kernel_is_counted():
    counted = {variant.name for variant in sass_counts.VARIANTS.values()}
    kernels = {name for names in NAME_EXPRESSIONS.values() for name in names}
    # float64 mixing differs from float32's in its last store; float64 dates from the scaled kind's;
    # jumps are drawn as dates are, for single instruments.
    assert kernels - counted == {"mixing<double>", "evolve<double, 1>", "jumps"}
    assert set(KEPT["kernels"]) == set(sass_counts.VARIANTS)


@pytest.mark.parametrize("name", sass_counts.VARIANTS)
def test_counts_are_of_the_kernels_as_they_are(name, monkeypatch):
    """Counts are equal with the same compiler, and within a fifth with another."""
    monkeypatch.chdir(ROOT)
    if sass_counts.missing() is not None:
        pytest.skip(sass_counts.missing())
    found, kept = sass_counts.count(sass_counts.VARIANTS[name]), KEPT["kernels"][name]
    if KEPT["compiler"] == f"nvcc {sass_counts.compiler()}":
        assert found == kept
    assert found["instructions"] == pytest.approx(kept["instructions"], rel=0.2)
