"""Microseconds a step of SOBA and AdamBO on logistic regression with one learned strength a feature: `bilevel bench small`
beside the same steps in JAX, jitted, with lax.scan over batches drawn before. One core each, one after the other, in pairs.

    python benchmarks/small_problems.py --program build/bilevel [--pairs 5] [--json]

Needs numpy and jax. Both work on rows of standard normal numbers in float32, 20,000 and 5,000 of them, batches of 64 drawn at
random, and every oracle call of AdamBO has a batch of its own, ten terms of the Neumann series. JAX's times leave out what its
users pay once (tracing, compiling) and the drawing of batches, bilevel's include the drawing."""
import argparse
import json
import os
import statistics
import subprocess
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = "1"
import jax  # noqa: E402  (reads XLA_FLAGS)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

TRAIN, VALID, BATCH, TERMS = 20_000, 5_000, 64, 10


def problem(features, seed=0):
    random = np.random.default_rng(seed)
    direction = random.standard_normal(features) / np.sqrt(features)
    rows = random.standard_normal((TRAIN + VALID, features)).astype(np.float32)
    target = np.where(rows @ direction + 0.5 * random.standard_normal(TRAIN + VALID) > 0, 1, -1).astype(np.float32)
    a, t = jnp.asarray(rows), jnp.asarray(target)
    return (a[:TRAIN], t[:TRAIN]), (a[TRAIN:], t[TRAIN:])


def losses(train, valid):
    def lower(x, y, batch):
        a, t = train[0][batch], train[1][batch]
        return jnp.mean(jax.nn.softplus(-t * (a @ y))) + 0.5 * jnp.sum(jnp.exp(x) * y * y)

    def upper(y, batch):
        a, t = valid[0][batch], valid[1][batch]
        return jnp.mean(jax.nn.softplus(-t * (a @ y)))

    return upper, lower


def soba(upper, lower):
    def step(state, batches):
        x, y, z = state
        of_upper, of_lower = batches
        (gradient, back) = jax.vjp(lambda x, y: jax.grad(lower, 1)(x, y, of_lower), x, y)
        jz, hz = back(z)
        loss, in_y = jax.value_and_grad(upper)(y, of_upper)
        return (x + 1e-2 * jz, y - 0.1 * gradient, z - 0.1 * (hz - in_y)), loss

    return step


def adambo(upper, lower):
    def step(state, batches):
        x, y, m, v, k = state
        of_upper, of_y, of_terms, of_cross = batches
        y_next = y - 0.1 * jax.grad(lower, 1)(x, y, of_y)
        loss, b = jax.value_and_grad(upper)(y, of_upper)

        def term(carry, batch):
            p, total = carry
            p = p - 0.5 * jax.jvp(lambda y: jax.grad(lower, 1)(x, y, batch), (y,), (p,))[1]
            return (p, total + p), None

        (_, total), _ = jax.lax.scan(term, (b, b), of_terms)
        jz = jax.vjp(lambda x: jax.grad(lower, 1)(x, y, of_cross), x)[1](0.5 * total)[0]
        h, k = -jz, k + 1
        m, v = 0.9 * m + 0.1 * h, 0.999 * v + 0.001 * h * h
        x = x - 1e-2 * (m / (1 - 0.9**k)) / (jnp.sqrt(v / (1 - 0.999**k)) + 1e-8)
        return (x, y_next, m, v, k), loss

    return step


def peer(solver, features, steps):
    """A function that runs `steps` steps and returns microseconds a step."""
    upper, lower = losses(*problem(features))
    random = np.random.default_rng(1)

    def batches(rows, *shape):
        return jnp.asarray(random.integers(0, rows, (steps, *shape, BATCH), dtype=np.int32))

    zeros = jnp.zeros(features, jnp.float32)
    if solver == "soba":
        start, of, step = (zeros, zeros, zeros), (batches(VALID), batches(TRAIN)), soba(upper, lower)
    else:
        start = (zeros, zeros, zeros, zeros, jnp.float32(0))
        of = (batches(VALID), batches(TRAIN), batches(TRAIN, TERMS - 1), batches(TRAIN))
        step = adambo(upper, lower)
    run = jax.jit(lambda state, of: jax.lax.scan(step, state, of))
    jax.block_until_ready(run(start, of))

    def measure():
        begin = time.perf_counter()
        state, loss = jax.block_until_ready(run(start, of))
        assert np.isfinite(np.asarray(loss)).all()
        return (time.perf_counter() - begin) / steps * 1e6

    return measure


def own(program, solver, features, steps):
    command = [program, "bench", "small", "--solver", solver, "--features", str(features), "--steps", str(steps), "--json"]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return result["solvers"][0]["microseconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/bilevel")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = []
    for features in (123, 22):
        for solver in ("soba", "adambo"):
            measure = peer(solver, features, options.steps)
            pairs = [(own(options.program, solver, features, options.steps), measure()) for _ in range(options.pairs)]
            ratio = [ours / theirs for ours, theirs in pairs]
            found.append({"solver": solver, "features": features,
                          "bilevel_microseconds": statistics.median(ours for ours, _ in pairs),
                          "jax_microseconds": statistics.median(theirs for _, theirs in pairs),
                          "ratio": statistics.median(ratio), "lowest": min(ratio), "highest": max(ratio)})
            if not options.json:
                one = found[-1]
                print(f"{solver:7} {features:4} features: {one['bilevel_microseconds']:7.2f} us a step, JAX "
                      f"{one['jax_microseconds']:7.2f}: {one['ratio']:.3f} ({one['lowest']:.3f} to {one['highest']:.3f})")
    if options.json:
        print(json.dumps({"jax": jax.__version__, "pairs": found}, indent=2))


if __name__ == "__main__":
    main()
