"""betty: an engine steps both problems; the upper gradient comes from the lower one's state."""

import sys

import torch

try:
    from betty.configs import Config, EngineConfig
    from betty.engine import Engine
    from betty.problems import ImplicitProblem
except ImportError:
    print("skipped: betty is not installed")
    sys.exit(77)
from task import fit, judge, lower, train_x, train_y, upper, valid_x, valid_y

import bilevel


class Strengths(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.values = torch.nn.Parameter(torch.full((10,), -1.0))


# [theirs]
class Upper(ImplicitProblem):
    def training_step(self, batch):
        return upper(self.module.values, self.ridge.module.weight[0])


class Lower(ImplicitProblem):
    def training_step(self, batch):
        return lower(self.strengths.module.values, self.module.weight[0])


def hypergradient(config):
    strengths, ridge = Strengths(), torch.nn.Linear(10, 1, bias=False)
    step, descent = torch.optim.SGD(strengths.parameters(), lr=1.0), torch.optim.SGD(ridge.parameters(), lr=0.1)
    above = Upper("strengths", Config(), strengths, step, train_data_loader=[(valid_x, valid_y)])
    below = Lower("ridge", config, ridge, descent, train_data_loader=[(train_x, train_y)])
    Engine([above, below], EngineConfig(train_iters=300), {"u2l": {above: [below]}, "l2u": {below: [above]}}).run()
    return -1.0 - strengths.values.detach()  # the one step of the upper optimizer


theirs = hypergradient(Config(type="neumann", neumann_iterations=100, neumann_alpha=0.3, unroll_steps=300))
# [theirs]

# [ours]
strengths = torch.full((10,), -1.0, requires_grad=True)
w = fit(strengths).detach().requires_grad_()  # or what your own loop has made of w
problem = bilevel.Problem(
    bilevel.Level(strengths, lambda b: upper(strengths, w)), bilevel.Level(w, lambda b: lower(strengths, w))
)
ours = bilevel.hypergradient(problem, method="cg").value
# [ours]

assert judge(theirs) < 1e-5 and judge(ours) < 1e-5
print('betty with type="cg":')
judge(hypergradient(Config(type="cg", cg_iterations=10, unroll_steps=300)))
