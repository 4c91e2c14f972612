"""higher: the lower level's steps are unrolled."""

import sys

import torch

try:
    import higher
except ImportError:
    print("skipped: higher is not installed")
    sys.exit(77)
from task import fit, judge, lower, upper

import bilevel

# [theirs]
strengths = torch.full((10,), -1.0, requires_grad=True)
model = torch.nn.Linear(10, 1, bias=False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (inner, steps):
    for _ in range(300):
        steps.step(lower(strengths, inner.weight[0]))
    (theirs,) = torch.autograd.grad(upper(strengths, inner.weight[0]), strengths)
# [theirs]

# [ours]
strengths = torch.full((10,), -1.0, requires_grad=True)
w = torch.zeros(10, requires_grad=True)
problem = bilevel.Problem(
    bilevel.Level(strengths, lambda b: upper(strengths, w)), bilevel.Level(w, lambda b: lower(strengths, w))
)
ours = bilevel.hypergradient(problem, method="unrolled", lower_steps=300, lower_step_size=0.1).value
# [ours]

assert judge(theirs) < 1e-5 and judge(ours) < 1e-5
