"""The first ten minutes: a problem, a run, a check, a differentiable minimizer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bilevel

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
inputs = torch.randn(300, 20)
labels = (inputs[:, :2].prod(1) + 0.3 * torch.randn(300) > 0).long()

# [shown]
encoder = nn.Sequential(nn.Linear(20, 16), nn.Tanh())  # x
head = nn.Linear(16, 2)  # y
train, valid = (inputs[:200], labels[:200]), (inputs[200:], labels[200:])


def entropy(batch: bilevel.Batch) -> Tensor:
    return F.cross_entropy(head(encoder(batch.inputs)), batch.targets)


problem = bilevel.Problem(
    upper=bilevel.Level(encoder, entropy, data=valid),
    lower=bilevel.Level(head, lambda b: entropy(b) + 1e-2 * bilevel.squared_norm(head), data=train),
)
result = bilevel.run(problem, bilevel.AdamBO(upper_step_size=1e-2), max_steps=300, seed=7)
print(result)
print(result.trace)
# [shown]
assert result.end["upper"] < 0.8 * result.start["upper"]

# [shown]
report = bilevel.check(problem, starts=2, estimators=["cg", "neumann"])
print(report)
assert report.ok
# [shown]

# [shown]
estimate = bilevel.hypergradient(problem, method="cg")
print(estimate.gradients["0.weight"].shape, estimate.residual)
# [shown]

# [shown]
strength = torch.tensor(-2.0, requires_grad=True)


def fit(s: Tensor) -> Tensor:  # any solver: it is never differentiated
    x, y = inputs[:200], labels[:200].double()
    w: Tensor = torch.linalg.solve(x.T @ x / 200 + s.exp() * torch.eye(20), x.T @ y / 200)
    return w


def lower_loss(s: Tensor, w: Tensor) -> Tensor:  # what it minimizes in w
    return 0.5 * (inputs[:200] @ w - labels[:200]).square().mean() + 0.5 * s.exp() * w.square().sum()


w = bilevel.implicit(fit, lower_loss)(strength)
(inputs[200:] @ w - labels[200:]).square().mean().backward()
print(strength.grad)
# [shown]

# [shown]
x, y = torch.tensor([1.0, 2.0]), torch.zeros(2)
theirs = torch.tensor([1.0, 2.0])  # what another library says
verdict = bilevel.check_hypergradient(
    upper=lambda x, y: 0.5 * y.square().sum(), lower=lambda x, y: 0.5 * (y - 2 * x).square().sum(), x=x, y=y, candidate=theirs
)
print(verdict.ok, verdict.error)  # False: y*(x) = 2 x, so that it is 4 x
# [shown]
assert not verdict.ok
