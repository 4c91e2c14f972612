"""Solvers in Python, and one of the library, do what every solver must; solvers with a mistake do not."""

import unittest

import torch

import bilevel
from conformance import Conformance
from support import SOBA

SINGLE_LOOP = {"lower_gradient": 1, "upper_gradient": 1, "hvp": 1, "cross_vjp": 1}


class SOBAInPython(Conformance, unittest.TestCase):
    calls = SINGLE_LOOP

    def make(self, upper_step_size=0.01):
        return SOBA(upper_step_size, 0.2, 0.2)


class SOBAOfTheLibrary(Conformance, unittest.TestCase):
    calls = SINGLE_LOOP

    def make(self, upper_step_size=0.01):
        return bilevel.SOBA(upper_step_size=upper_step_size, lower_step_size=0.2, linear_step_size=0.2)


class Averaging:
    """SOBA along a normalized moving average, with two steps on y, of random length, a warm start and step sizes that shrink; of no base
    class."""

    def __init__(self, upper_step_size):
        self.upper_step_size = upper_step_size

    def start(self, oracles, max_steps):
        self.z, self.average = torch.zeros_like(oracles.y.flat()), torch.zeros_like(oracles.x.flat())
        self.steps, self.length, self.max_steps = 0, 0.2, max_steps

    def descend(self, oracles, stream):
        oracles.y.add(oracles.lower.gradient_in_y(oracles.lower.draw(stream)), -self.length)

    def warm_start(self, oracles):
        for _ in range(3):
            self.descend(oracles, "warm_start")

    def step(self, oracles):
        self.length = 0.1 + 0.1 * float(torch.rand((), generator=oracles.generator("length")))
        for _ in range(2):
            self.descend(oracles, "inner")
        upper, lower = oracles.points(oracles.upper.draw("upper"), oracles.lower.draw("lower"))
        loss = upper.value
        hypergradient, residual = oracles.hypergradient_and_residual(upper, lower, self.z)
        self.z = self.z.add(residual, alpha=-0.2)
        self.average = self.average.lerp(hypergradient, 0.2 if self.steps else 1.0)
        scale = self.upper_step_size * (1 - self.steps / self.max_steps)
        oracles.upper.move(self.average / (self.average.norm() + 1e-12), -scale)
        self.steps += 1
        return bilevel.StepReport(loss, hypergradient, residual)


class AveragingInPython(Conformance, unittest.TestCase):
    calls = SINGLE_LOOP | {"lower_gradient": 2}
    movement = "normalized"

    def make(self, upper_step_size=0.01):
        return Averaging(upper_step_size)


class Hidden(SOBA):
    """Keeps z where no checkpoint sees it."""

    def start(self, oracles, max_steps):
        z = torch.zeros_like(oracles.y.flat())
        self.variable = lambda: z

    def step(self, oracles):
        self.z = self.variable()
        report = super().step(oracles)
        z = self.z
        self.variable = lambda: z
        del self.z
        return report


class Global(SOBA):
    """Draws from the process's generator."""

    def step(self, oracles):
        self.upper_step_size = 0.01 * float(torch.rand(()))
        return super().step(oracles)


class Leaving(SOBA):
    """Moves x past the projection."""

    def step(self, oracles):
        before = oracles.x.flat()
        report = super().step(oracles)
        oracles.x.add(oracles.x.flat() - before)
        return report


class Wasteful(SOBA):
    """Takes a product more than it declares."""

    def step(self, oracles):
        oracles.lower.point(oracles.lower.draw("more")).hvp(self.z)
        return super().step(oracles)


class Stale(SOBA):
    """Begins a second run where the first one ended."""

    def start(self, oracles, max_steps):
        if not hasattr(self, "z"):
            super().start(oracles, max_steps)


class Entangled(SOBA):
    """Draws for the lower level as often as rows of the upper level say."""

    def step(self, oracles):
        for _ in range(len(oracles.upper.draw("more").batch) % 3):
            oracles.lower.draw("lower_batches")
        return super().step(oracles)


class Uphill(SOBA):
    """Has the sign of its step on x wrong."""

    def step(self, oracles):
        before = oracles.x.flat()
        report = super().step(oracles)
        oracles.upper.move(oracles.x.flat() - before, -2.0)
        return report


class Mistakes(unittest.TestCase):
    def test_are_found(self):
        for solver, checks in {
            Hidden: ["a_checkpoint_continues_bit_for_bit"],
            Global: ["all_randomness_is_the_runs"],
            Leaving: ["every_step_ends_in_the_feasible_set"],
            Wasteful: ["counts_equal_the_declared_calls", "the_declared_calls_are_those_that_losses_see"],
            Stale: ["a_solver_serves_again"],
            Entangled: ["levels_draw_apart"],
            Uphill: ["converges_on_quadratics", "converges_where_the_upper_hessian_is_unbounded"],
        }.items():

            class Case(SOBAInPython):
                def make(self, upper_step_size=0.01, solver=solver):
                    return solver(upper_step_size, 0.2, 0.2)

            for check in checks:
                with self.subTest(solver.__name__, check=check):
                    found = Case("test_" + check).run()
                    self.assertEqual((len(found.failures) > 0, found.errors), (True, []))


if __name__ == "__main__":
    unittest.main()
