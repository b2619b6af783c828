"""What the form of a matrix product is worth on this machine's CPU.

    python -m benchmarks.dense [--rows 1000] [--rounds 15]

Times the product of a dense layer's forward pass (768 to 3072 features) and that of its
kernel's gradient, float32 and bfloat16, written in several ways, in turn in one run;
prints the median rate of each. `models.dense` takes the last of either kind.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models import dense

WIDTH, HIDDEN = 768, 3072


def products(dtype: str) -> dict[str, Callable]:
    """The ways to write them: functions of rows, kernel, and gradient of the result."""
    as_operands = functools.partial(_dot, result=dtype)
    in_float32 = functools.partial(_dot, result="float32")
    return {
        "forward, result as operands": lambda x, w, g: as_operands(x, w, 1, 0),
        "forward, float32 result": lambda x, w, g: in_float32(x, w, 1, 0),
        "kernel gradient, result as operands": lambda x, w, g: as_operands(x, g, 0, 0),
        "kernel gradient, float32 result": lambda x, w, g: in_float32(x, g, 0, 0),
        "kernel gradient, behind a barrier": lambda x, w, g: in_float32(
            jax.lax.optimization_barrier(x.T), g, 1, 0
        ),
        "kernel gradient, transposed": lambda x, w, g: in_float32(
            dense.transposed(x), g, 1, 0
        ),
    }


def _dot(a, b, axis_a, axis_b, result):
    dimensions = (((axis_a,), (axis_b,)), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=result)


def rates(dtype: str, n_rows: int, rounds: int) -> dict[str, float]:
    """Median GFLOP/s of each way, all ways in turn in every round."""
    rng = np.random.default_rng(0)
    shapes = (n_rows, WIDTH), (WIDTH, HIDDEN), (n_rows, HIDDEN)
    arrays = [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]
    ways = {
        name: jax.jit(function).lower(*arrays).compile()
        for name, function in products(dtype).items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            jax.block_until_ready(way(*arrays))
            seconds[name].append(time.perf_counter() - begin)
    work = 2e-9 * n_rows * WIDTH * HIDDEN
    return {name: work / statistics.median(taken) for name, taken in seconds.items()}


def main() -> None:
    """Prints a line a way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    print("| product | float32 | bfloat16 |\n|---|---|---|")
    both = [rates(d, args.rows, args.rounds) for d in ("float32", "bfloat16")]
    for name in both[0]:
        single, half = (found[name] for found in both)
        print(f"| {name} | {single:.0f} GFLOP/s | {half:.0f} GFLOP/s |")


if __name__ == "__main__":
    main()
