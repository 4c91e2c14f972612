"""LibAUC: the AUC-margin loss with its own optimizer."""

import sys

import torch

try:
    from libauc.losses import AUCMLoss
    from libauc.optimizers import PESG
except ImportError as missing:
    print(f"skipped: LibAUC is not installed ({missing})")
    sys.exit(77)

import bilevel

SHARE = 0.05  # of the positive class


def rows(count, seed):
    """Rows of 20 features, the first five of which are larger in positive ones."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 20, generator=generator)
    positive = torch.arange(count) % round(1 / SHARE) == 0
    inputs[positive, :5] += 0.7
    return inputs, positive.float()


def auc(net):
    with torch.no_grad():
        scores = net(test[0]).squeeze(1)
    return float((scores[test[1] == 1][:, None] > scores[test[1] == 0]).float().mean())


def made():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))


(inputs, targets), test = rows(4000, 1), rows(4000, 2)
net = made()

# [theirs]
loss = AUCMLoss()
optimizer = PESG(net.parameters(), loss_fn=loss, lr=0.5, momentum=0.9, verbose=False)
for _ in range(20):
    for batch in torch.randperm(len(inputs)).split(256):
        optimizer.zero_grad()
        loss(net(inputs[batch]).sigmoid(), targets[batch]).backward()
        optimizer.step()
# [theirs]
theirs, net = auc(net), made()

# [ours]
upper = {**dict(net.named_parameters()), "a": torch.zeros(1, requires_grad=True), "b": torch.zeros(1, requires_grad=True)}
alpha = torch.zeros(1, requires_grad=True)


def margin_loss(batch):
    scores, positive = net(batch.inputs).squeeze(1).sigmoid(), batch.targets
    spread = (1 - SHARE) * (scores - upper["a"]) ** 2 * positive + SHARE * (scores - upper["b"]) ** 2 * (1 - positive)
    gap = SHARE * scores * (1 - positive) - (1 - SHARE) * scores * positive
    return (spread + 2 * alpha * gap).mean() + ((2 * alpha - alpha**2) * SHARE * (1 - SHARE)).squeeze()


problem = bilevel.Problem(
    upper=bilevel.Level(upper, margin_loss, data=(inputs, targets), batch_size=256),
    lower=bilevel.Level({"alpha": alpha}, lambda b: -margin_loss(b), data=(inputs, targets), batch_size=256),
)
bilevel.run(problem, bilevel.AdamBO(upper_step_size=1e-2), max_steps=300)
# [ours]
ours = auc(net)
print(f"test AUC: {theirs:.3f} there, {ours:.3f} here")
assert theirs > 0.8 and ours > 0.8
