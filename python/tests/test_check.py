"""Hypergradients, checks, comparisons, known problems, the differentiable y*(x)."""

import os
import subprocess
import sys
import unittest

import torch

import bilevel
from support import P1, SOBA, Ridge, equal


def solved_p1(c=0.5):
    """p1 with y at y*(x)."""
    p1 = P1(c=c, start=0.7)
    with torch.no_grad():
        p1.y.copy_(p1.x)
    return p1


class Hypergradients(unittest.TestCase):
    def test_are_those_of_the_formula(self):
        p1 = solved_p1()
        expected = bilevel.problems.p1(c=0.5).gradient(p1.x)
        for method in ("cg", "exact", "neumann", "unrolled"):
            with self.subTest(method):
                options = {"cg": {}, "exact": {}}.get(method, {"linear_steps" if method == "neumann" else "lower_steps": 60})
                found = bilevel.hypergradient(p1.problem, method, **options)
                self.assertFalse(found.failed, found.message)
                torch.testing.assert_close(found.value, expected, rtol=1e-6, atol=1e-8)
                self.assertEqual(found.gradients["x"].shape, p1.x.shape)
        with self.assertRaisesRegex(bilevel.InputError, "there is no estimator 'newton'; known: .*cg"):
            bilevel.hypergradient(p1.problem, "newton")

    def test_that_are_not_known_are_not_zero(self):
        x = torch.ones(2, dtype=torch.float64, requires_grad=True)
        y = torch.ones(2, dtype=torch.float64, requires_grad=True)
        linear = bilevel.Problem(
            bilevel.Level(x, lambda b: (x * y).sum()), bilevel.Level(y, lambda b: (x * y).sum() + 0 * y.square().sum())
        )
        found = bilevel.hypergradient(linear, "cg")
        self.assertTrue(found.failed and found.value.isnan().all() and found.message)


class Checks(unittest.TestCase):
    def test_pass_a_sound_problem(self):
        report = bilevel.check(P1(c=0.5, start=0.7).problem)
        self.assertTrue(report.ok and bool(report), str(report))
        self.assertIn("cg", str(report))
        self.assertIn("<pre>", report._repr_html_())
        self.assertIn("tolerance (number", bilevel.check.__doc__)

    def test_find_a_wrong_derivative(self):
        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x.sin().sum()

            @staticmethod
            def backward(ctx, slope):
                return 1.1 * slope * ctx.saved_tensors[0].cos()

        p1 = P1(c=0.5, start=0.7)
        upper = bilevel.Level({"x": p1.x}, lambda b: p1.x.square().sum() + Wrong.apply(p1.y))
        report = bilevel.check(bilevel.Problem(upper, p1.problem.lower))
        self.assertFalse(report.ok)

    def test_judge_a_candidate(self):
        x, y = torch.full((3,), 0.4, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        upper = lambda x, y: x.square().sum() + y.sin().sum()  # noqa: E731
        lower = lambda x, y: 0.5 * (y - 2 * x).square().sum()  # noqa: E731
        right = 2 * x + 2 * (2 * x).cos()
        good = bilevel.check_hypergradient(upper, lower, x, y, right)
        bad = bilevel.check_hypergradient(upper, lower, x, y, 1.01 * right)
        self.assertTrue(good.ok and good.error < 1e-6, str(good))
        self.assertTrue(not bad.ok and 0.005 < bad.error < 0.02, str(bad))
        listed = bilevel.check_hypergradient(lambda x, y: upper(x[0], y[0]), lambda x, y: lower(x[0], y[0]), [x], [y], [right])
        self.assertTrue(listed.ok)
        with self.assertRaisesRegex(bilevel.InputError, r"candidate has shapes \[\(2,\)\]: must be those of x"):
            bilevel.check_hypergradient(upper, lower, x, y, right[:2])


class Comparisons(unittest.TestCase):
    def test_start_alike_and_leave_the_problem(self):
        ridge = Ridge()
        before = ridge.values()
        solvers = [bilevel.SOBA(upper_step_size=0.05, lower_step_size=0.1, linear_step_size=0.1), SOBA(0.05, 0.1, 0.1)]
        found = bilevel.compare(ridge.problem, solvers, seeds=[1, 2], max_steps=6, metric=lambda: float(ridge.strength.sum()))
        self.assertTrue(equal(ridge.values(), before))
        self.assertEqual(list(found["solver"]), ["SOBA"] * 4)
        self.assertEqual(list(found["metric"])[:2], list(found["metric"])[2:])
        self.assertEqual(list(found["upper_start"])[:2], list(found["upper_start"])[2:])
        self.assertNotEqual(found["metric"][0], found["metric"][1])
        self.assertEqual(list(found["calls"]), [24] * 4)


class KnownProblems(unittest.TestCase):
    def test_know_their_answers(self):
        for name in bilevel.problems.__all__:
            with self.subTest(name):
                known = getattr(bilevel.problems, name)()
                y = known.best_lower(known.x)
                with torch.no_grad():
                    known.y.copy_(y)
                found = bilevel.hypergradient(known, "cg")
                torch.testing.assert_close(found.value, known.gradient(known.x), rtol=1e-9, atol=1e-12)

    def test_take_options(self):
        self.assertEqual(bilevel.problems.p1(dim=7).x.shape, (7,))
        with self.assertRaisesRegex(bilevel.InputError, "dim = 0: must be >= 1"):
            bilevel.problems.p1(dim=0)


def ridge_weights(strength, inputs, targets):
    """The exact minimizer of mean (inputs w - targets)^2 + e^strength |w|^2."""
    gram = inputs.T @ inputs / len(inputs) + strength.exp() * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    return torch.linalg.solve(gram, inputs.T @ targets / len(inputs))


class Implicit(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.inputs, self.targets = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, dtype=torch.float64)
        self.loss = lambda s, w: (self.inputs @ w - self.targets).square().mean() + s.exp() * w.square().sum()
        self.solve = lambda s: ridge_weights(s, self.inputs, self.targets)

    def test_equals_finite_differences(self):
        for linear in ("cg", "exact", "cg-normal"):
            with self.subTest(linear):
                best = bilevel.implicit(self.solve, self.loss, linear=linear)
                strength = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
                best(strength).sin().sum().backward()
                values = [self.solve(torch.tensor(-1.0 + h, dtype=torch.float64)).sin().sum() for h in (1e-5, -1e-5)]
                difference = (values[0] - values[1]) / 2e-5
                self.assertLess(abs(strength.grad - difference) / abs(difference), 1e-6)

    def test_serves_batches_and_several_variables(self):
        def solve(a, b):  # minimizers of (u - a b)^2 + (v - u)^2 for each row
            return a * b, a * b

        def loss(a, b, u, v):
            return ((u - a * b).square() + (v - u).square()).sum(1)

        best = bilevel.implicit(solve, loss)
        a, b = (torch.randn(6, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
        self.assertTrue(torch.autograd.gradcheck(lambda a, b: best(a, b), (a, b), eps=1e-6, atol=1e-6))
        u, v = best(a, b.detach())
        (u.sum() + 2 * v.sum()).backward()
        torch.testing.assert_close(a.grad, 3 * b.detach())
        self.assertIsNone(b.grad)

    def test_refuses_second_derivatives(self):
        strength = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
        out = bilevel.implicit(self.solve, self.loss)(strength).sum()
        (slope,) = torch.autograd.grad(out, strength, create_graph=True)
        with self.assertRaisesRegex(RuntimeError, "second derivatives of an implicit"):
            (slope + strength).backward()

    def test_has_no_silent_zero(self):
        x = torch.ones(3, dtype=torch.float64, requires_grad=True)
        flat = bilevel.implicit(lambda x: x.clone(), lambda x, y: (x * y).sum())
        with self.assertRaisesRegex(bilevel.Error, "linear system was not solved"):
            flat(x).sum().backward()
        short = bilevel.implicit(self.solve, self.loss, linear_steps=1)
        with self.assertWarnsRegex(UserWarning, "not exact: conjugate gradients stopped at"):
            short(torch.zeros((), dtype=torch.float64, requires_grad=True)).sin().sum().backward()
        scales = torch.tensor([1.0, 10.0, 1000.0], dtype=torch.float64)
        terms = bilevel.implicit(lambda x: x.clone(), lambda x, y: 0.5 * (scales * (y - x).square()).sum(), linear="neumann")
        with self.assertWarnsRegex(UserWarning, "not exact: its linear system is left with a residual of 0"):
            terms(x).sum().backward()
        other = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        hidden = bilevel.implicit(lambda x: x * 2, lambda x, y: (y - other * x).square().sum())
        with self.assertRaisesRegex(bilevel.InputError, "is no argument"):
            hidden(x).sum().backward()

    def test_tells_mistakes_at_once(self):
        with self.assertRaisesRegex(bilevel.InputError, "linear_solver = newton: must be one of"):
            bilevel.implicit(self.solve, self.loss, linear="newton")
        with self.assertRaisesRegex(bilevel.InputError, "steps.*linear_steps"):
            bilevel.implicit(self.solve, self.loss, steps=3)


class Program(unittest.TestCase):
    def test_is_run_by_the_package(self):
        direct = subprocess.run([os.path.join(os.path.dirname(bilevel.__file__), "bilevel"), "--version"], capture_output=True)
        module = subprocess.run([sys.executable, "-m", "bilevel", "--version"], capture_output=True)
        self.assertEqual((module.returncode, module.stdout), (0, direct.stdout))
        self.assertIn(bilevel.__version__.encode(), module.stdout)

    def test_another_torch_is_refused(self):
        code = (
            "import torch; torch.__version__ = '2.7.1'\n"
            "try: import bilevel\nexcept ImportError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.assertRegex(done.stdout, "built against torch .*, but torch 2.7.1 is installed")


if __name__ == "__main__":
    unittest.main()
