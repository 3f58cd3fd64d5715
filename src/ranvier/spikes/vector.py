"""Vectors of float32 for Numba kernels. LLVM keeps them in registers, for any width of the registers of the machine.

    total = zeros(LANES)                                    LANES numbers, none of them in memory
    total = fma(splat(LANES, a), load(LANES, A, i, j), total)     a * A[i, j:j+LANES] + total
    store(A, i, j, total)
    word = nonzero64(A, i, j)                               64 numbers -> 64 bits, set where the number is not zero
    store(A, i, j, spread64(word))                          the inverse: 64 bits -> the numbers 0 and 1
    first(word), count(word)                                the index of the lowest set bit, the number of set bits

Arrays are C-contiguous with two axes. Bounds are not checked: the loops of the kernels must stay within their arrays.
Why they are needed: sums over rows that are chosen by an index are fast only if they stay in registers, but a loop that
Numba vectorises by itself keeps its sums in memory.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic, models, register_model

FLOAT, WORD = ir.FloatType(), ir.IntType(64)


def _lanes() -> int:
    """Number of lanes that fill eight registers: enough independent sums to hide the latency of an addition."""
    named = config.CPU_NAME  # type: ignore[attr-defined]  # NUMBA_CPU_NAME, to compile for another machine
    wide = not named and llvm.get_host_cpu_features().get("avx512f", False)
    return 128 if wide else 64


LANES = _lanes()


class Vector(types.Type):
    """Numba's type of a vector of `lanes` float32 numbers."""

    def __init__(self, lanes: int):
        self.lanes = lanes
        super().__init__(f"Vector({lanes})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector):
        super().__init__(manager, kind, ir.VectorType(FLOAT, kind.lanes))


def _place(context: Any, build: Any, kind: Any, given: tuple, to: Any) -> Any:
    """Return the address of array[row, column], as the address of a value of type `to`."""
    array, row, column = given[:3]
    array = context.make_array(kind)(context, build, value=array)
    width = cgutils.unpack_tuple(build, array.shape)[1]
    at = build.add(build.mul(row, width), column)
    return build.bitcast(build.gep(array.data, [at]), to.as_pointer())


@intrinsic(prefer_literal=True)
def zeros(typing: Any, lanes: Any) -> Any:
    vector = Vector(lanes.literal_value)
    return vector(lanes), lambda *_: ir.Constant(ir.VectorType(FLOAT, vector.lanes), None)


@intrinsic(prefer_literal=True)
def load(typing: Any, lanes: Any, array: Any, row: Any, column: Any) -> Any:
    vector = Vector(lanes.literal_value)

    def code(context: Any, build: Any, signature: Any, given: tuple) -> Any:
        to = ir.VectorType(FLOAT, vector.lanes)
        return build.load(_place(context, build, signature.args[1], given[1:], to), align=4)

    return vector(lanes, array, types.intp, types.intp), code


@intrinsic
def store(typing: Any, array: Any, row: Any, column: Any, value: Any) -> Any:
    def code(context: Any, build: Any, signature: Any, given: tuple) -> Any:
        build.store(given[3], _place(context, build, signature.args[0], given, given[3].type), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, value), code


@intrinsic(prefer_literal=True)
def splat(typing: Any, lanes: Any, number: Any) -> Any:
    """Put the same number in every lane."""
    vector = Vector(lanes.literal_value)

    def code(context: Any, build: Any, signature: Any, given: tuple) -> Any:
        kind = ir.VectorType(FLOAT, vector.lanes)
        one = build.insert_element(ir.Constant(kind, ir.Undefined), given[1], ir.Constant(ir.IntType(32), 0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), None)
        return build.shuffle_vector(one, ir.Constant(kind, ir.Undefined), everywhere)

    return vector(lanes, types.float32), code


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""

    def code(context: Any, build: Any, signature: Any, given: tuple) -> Any:
        kind = given[0].type
        name = f"llvm.fma.v{kind.count}f32"
        return build.call(cgutils.get_or_insert_function(build.module, ir.FunctionType(kind, [kind] * 3), name), given)

    return a(a, b, c), code


@intrinsic
def nonzero64(typing: Any, array: Any, row: Any, column: Any) -> Any:
    def code(context: Any, build: Any, signature: Any, given: tuple) -> Any:
        kind = ir.VectorType(FLOAT, 64)
        numbers = build.load(_place(context, build, signature.args[0], given, kind), align=4)
        return build.bitcast(build.fcmp_unordered("!=", numbers, ir.Constant(kind, None)), WORD)

    return types.uint64(array, types.intp, types.intp), code


@intrinsic
def spread64(typing: Any, word: Any) -> Any:
    """Return the 64 bits of a word as the numbers 0 and 1: the inverse of `nonzero64`."""

    def code(context: Any, build: Any, signature: Any, given: tuple) -> Any:
        kind = ir.VectorType(FLOAT, 64)
        ones, bits = ir.Constant(kind, [1.0] * 64), build.bitcast(given[0], ir.VectorType(ir.IntType(1), 64))
        return build.select(bits, ones, ir.Constant(kind, None))

    return Vector(64)(types.uint64), code


@intrinsic
def first(typing: Any, word: Any) -> Any:
    return types.int64(types.uint64), lambda c, build, s, given: build.cttz(given[0], ir.Constant(ir.IntType(1), 0))


@intrinsic
def count(typing: Any, word: Any) -> Any:
    return types.int64(types.uint64), lambda c, build, s, given: build.ctpop(given[0])
