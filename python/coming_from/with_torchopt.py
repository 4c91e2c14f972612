"""TorchOpt: the implicit derivative of an optimality condition."""

import sys

import torch

try:
    import torchopt
except ImportError:
    print("skipped: torchopt is not installed")
    sys.exit(77)
from task import fit, judge, lower, upper

import bilevel


# [theirs]
def stationarity(w, strengths):
    return torch.func.grad(lower, argnums=1)(strengths, w)


@torchopt.diff.implicit.custom_root(stationarity, argnums=1, solve=torchopt.linear_solve.solve_cg(maxiter=50, rtol=1e-12))
def solve(start, strengths):
    return fit(strengths).detach()


strengths = torch.full((10,), -1.0, requires_grad=True)
(theirs,) = torch.autograd.grad(upper(strengths, solve(torch.zeros(10), strengths)), strengths)
# [theirs]

# [ours]
strengths = torch.full((10,), -1.0, requires_grad=True)
best = bilevel.implicit(fit, lower, linear="cg")
(ours,) = torch.autograd.grad(upper(strengths, best(strengths)), strengths)
# [ours]

assert judge(theirs) < 1e-5 and judge(ours) < 1e-5
