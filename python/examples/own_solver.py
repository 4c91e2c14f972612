"""A solver written in Python: SOBA (Dagreou et al. 2022), equal to the library's to the last bit."""

import torch

import bilevel


# [shown]
class SOBA(bilevel.Solver):
    """SGD on x, y and the linear system at once, from one sample a level."""

    def __init__(self, upper_step_size: float, lower_step_size: float, linear_step_size: float):
        self.upper_step_size = upper_step_size
        self.lower_step_size = lower_step_size
        self.linear_step_size = linear_step_size

    def start(self, oracles: bilevel.Oracles, max_steps: int) -> None:
        self.z = torch.zeros_like(oracles.y.flat())

    def step(self, oracles: bilevel.Oracles) -> bilevel.StepReport:
        upper, lower = oracles.points(oracles.upper.draw("upper_batches"), oracles.lower.draw("lower_batches"))
        loss, slope = upper.value, lower.grad_y()
        hypergradient, residual = oracles.hypergradient_and_residual(upper, lower, self.z)
        oracles.y.add(slope, -self.lower_step_size)
        self.z = self.z.add(residual, alpha=-self.linear_step_size)
        oracles.upper.move(hypergradient, -self.upper_step_size)
        return bilevel.StepReport(loss, hypergradient, residual)


# [shown]


def main() -> None:
    mine, theirs = bilevel.problems.quadratic(), bilevel.problems.quadratic()
    print(bilevel.run(mine, SOBA(0.01, 0.2, 0.2), max_steps=200))
    theirs_solver = bilevel.SOBA(upper_step_size=0.01, lower_step_size=0.2, linear_step_size=0.2)
    print(bilevel.run(theirs, theirs_solver, max_steps=200))
    assert torch.equal(mine.x, theirs.x) and torch.equal(mine.y, theirs.y)


if __name__ == "__main__":
    main()
