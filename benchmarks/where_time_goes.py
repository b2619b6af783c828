"""Where an encoder's time goes on this machine's CPU, in terms of the model.

    python -m benchmarks.where_time_goes [--encoders atst_frame,beats] [--batch 4]
        [--dtype float32] [--out FILE]

Runs a whole model once forward and once for its gradient under JAX's profiler, and adds
up the compiled program's instructions by the part of the model that they come from, and
by whether they are matrix products. What is fused into one instruction counts as its
last operation.
"""

import argparse
import collections
import re
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.encoders import ENCODERS
from jaxsed import losses
from jaxsed.models import sed
from jaxsed.stages.program import init_params

N_CLASSES = 447
PARTS = {  # the first that is found in an operation's name
    "mlp": r"/mlp/",
    "attention: projections": r"/attn/(qkv|proj)/",
    "attention: bias": r"gate/|relative_bias",
    "attention: scores, softmax, values": r"/attn/",
    "norms": r"norm",
    "embedding": r"/embed/",
    "convolutions": r"/block_",
    "heads, loss": r"head|logit|loss",
}
HEADER = (
    "| encoder | pass | "
    + " | ".join(PARTS)
    + " | the rest | of it matrix products |\n"
    "|---|---|" + "---|" * (len(PARTS) + 2)
)


def passes(encoder: str, batch: int, dtype: str) -> dict[str, jax.stages.Compiled]:
    """Compiles forward pass and gradient, without the front-end.

    Args:
        encoder: A name in `models.sed.ENCODERS`.
        batch: Number of 10 s clips.
        dtype: Of the matrix products.

    Returns:
        Programs and their arguments by name.
    """
    model = sed.build(encoder, N_CLASSES, dtype=dtype)
    shapes = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.02, leaf.shape), leaf.dtype), shapes
    )
    wave = jnp.asarray(rng.normal(0, 0.1, (batch, 160_000)), jnp.float32)
    arguments = params, jax.jit(model.frontend)(wave)
    labels = jnp.zeros((batch, 250, N_CLASSES))

    def loss(params, mel):
        logits, _ = model.apply({"params": params}, mel)
        return losses.frame_bce(logits, labels)[0]

    return {
        name: (jax.jit(function).lower(*arguments).compile(), arguments)
        for name, function in (("forward", loss), ("gradient", jax.grad(loss)))
    }


def seconds_by_instruction(program, arguments) -> dict[str, float]:
    """Profiles one run of a compiled program."""
    jax.block_until_ready(program(*arguments))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(program(*arguments))
        (path,) = Path(folder).rglob("*.xplane.pb")
        profile = jax.profiler.ProfileData.from_file(str(path))
    seconds: dict[str, float] = collections.Counter()
    for plane in profile.planes:
        for line in plane.lines:
            for event in line.events:
                seconds[event.name] += event.duration_ns / 1e9
    return seconds


def shares(program, arguments) -> tuple[dict[str, float], float]:
    """Shares of the parts of the model, and of matrix products, in a program's time."""
    text = program.as_text()
    origin = dict(
        re.findall(r"%([\w.-]+) = [^\n]*metadata=\{op_name=\"([^\"]*)\"", text)
    )
    by_part: dict[str, float] = collections.Counter()
    products = 0.0
    for instruction, seconds in seconds_by_instruction(program, arguments).items():
        name = origin.get(instruction)
        if name is None:  # the profiler's own, or a program around it
            continue
        part = next((p for p, mark in PARTS.items() if re.search(mark, name)), "rest")
        by_part[part] += seconds
        products += seconds * ("dot_general" in name)
    total = sum(by_part.values())
    return {part: value / total for part, value in by_part.items()}, products / total


def main() -> None:
    """Prints a line a pass and encoder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoders", default=",".join(ENCODERS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--out", type=Path, help="file that the table is added to")
    args = parser.parse_args()
    lines = [f"{args.dtype}, batch of {args.batch}\n", HEADER]
    print("\n".join(lines), flush=True)
    for encoder in args.encoders.split(","):
        for name, compiled in passes(encoder, args.batch, args.dtype).items():
            parts, products = shares(*compiled)
            cells = [f"{parts.get(part, 0):.0%}" for part in (*PARTS, "rest")]
            lines.append(
                f"| {encoder} | {name} | {' | '.join(cells)} | {products:.0%} |"
            )
            print(lines[-1], flush=True)
    if args.out:
        with args.out.open("a", encoding="utf-8") as file:
            file.write("\n".join(["", *lines, ""]))


if __name__ == "__main__":
    main()
