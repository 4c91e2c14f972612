"""jaxopt: the implicit derivative of an optimality condition, in jax."""

import sys

import torch

try:
    import jax
    import jax.numpy as jnp
    import jaxopt
except ImportError:
    print("skipped: jaxopt is not installed")
    sys.exit(77)
from task import fit, judge, lower, train_x, train_y, upper, valid_x, valid_y

import bilevel

jax.config.update("jax_enable_x64", True)
x, y, held_x, held_y = (jnp.asarray(t.tolist()) for t in (train_x, train_y, valid_x, valid_y))


# [theirs]
def jax_lower(w, strengths):
    return jnp.mean((x @ w - y) ** 2) + jnp.sum(jnp.exp(strengths) * w**2)


@jaxopt.implicit_diff.custom_root(jax.grad(jax_lower), solve=jaxopt.linear_solve.solve_cg)
def solve(start, strengths):
    return jnp.linalg.solve(x.T @ x / 80 + jnp.diag(jnp.exp(strengths)), x.T @ y / 80)


gradient = jax.grad(lambda strengths: jnp.mean((held_x @ solve(None, strengths) - held_y) ** 2))
theirs = torch.tensor(gradient(jnp.full(10, -1.0)).tolist())
# [theirs]

# [ours]
strengths = torch.full((10,), -1.0, requires_grad=True)
best = bilevel.implicit(fit, lower, linear="cg")
(ours,) = torch.autograd.grad(upper(strengths, best(strengths)), strengths)
# [ours]

assert judge(theirs) < 1e-5 and judge(ours) < 1e-5
