"""What every solver must do, whatever its algorithm: for one of your own, a class with `make` and the calls that it declares.

    class MySolver(Conformance, unittest.TestCase):
        calls = {"lower_gradient": 1, "upper_gradient": 1, "hvp": 1, "cross_vjp": 1}

        def make(self, upper_step_size=0.01):
            return my_module.MySolver(upper_step_size)

The checks are those of bilevel/solver/conformance_test.cpp, but for options and schedules, which a solver in Python has as it likes."""

import json
import math
import tempfile
from pathlib import Path

import torch
from torch.autograd import Function

import bilevel
from support import P1, Ridge, equal, rows

KINDS = ("lower_gradient", "lower_joint_gradient", "upper_gradient", "hvp", "cross_vjp", "upper_hvp", "upper_cross_vjp")


def checkpoint_tensors(file):
    """Name -> values of a checkpoint, which is a safetensors file."""
    content = Path(file).read_bytes()
    size = int.from_bytes(content[:8], "little")
    dtypes = {"F64": torch.float64, "F32": torch.float32, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}
    found = {}
    for name, told in json.loads(content[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in told["data_offsets"])
            flat = torch.frombuffer(bytearray(content[begin:end] or b"\0" * 8), dtype=dtypes[told["dtype"]])
            found[name] = flat[: math.prod(told["shape"])].view(told["shape"])
    return found


class Counted:
    """1/2 x'Px + 1/2 y'Ay + x'Cy + a'y, whose derivatives count themselves where they are computed."""

    def __init__(self, x, y):
        P, A, C = ([[2, 0], [0, 1]], [[1, 0.2], [0.2, 1]], [[0.1, 0], [0.2, 0.1]])
        self.P, self.A, self.C = (torch.tensor(m, dtype=torch.float64) for m in (P, A, C))
        self.x, self.y = x, y
        self.forget()

    def forget(self):
        self.values = self.gradients_in_y = self.gradients_in_both = self.graphs = self.hvp = self.cross_vjp = 0

    def loss(self, batch):
        return Value.apply(self.x, self.y, self)


class Value(Function):
    @staticmethod
    def forward(ctx, x, y, counted):
        ctx.counted = counted
        ctx.save_for_backward(x, y)
        counted.values += 1
        return 0.5 * x @ counted.P @ x + 0.5 * y @ counted.A @ y + x @ counted.C @ y + y.sum()

    @staticmethod
    def backward(ctx, v):
        if torch.is_grad_enabled():
            ctx.counted.graphs += 1
        elif ctx.needs_input_grad[0]:
            ctx.counted.gradients_in_both += 1
        else:
            ctx.counted.gradients_in_y += 1
        in_x, in_y = Gradient.apply(*ctx.saved_tensors, ctx.counted)
        return v * in_x, v * in_y, None


class Gradient(Function):
    @staticmethod
    def forward(ctx, x, y, counted):
        ctx.counted = counted
        return counted.P @ x + counted.C @ y, counted.A @ y + counted.C.T @ x + 1

    @staticmethod
    def backward(ctx, v, w):
        q = ctx.counted
        q.cross_vjp += ctx.needs_input_grad[0]
        q.hvp += ctx.needs_input_grad[1]
        return q.P @ v + q.C @ w, q.C.T @ v + q.A @ w, None


class Encoded:
    """An encoder that both levels share, and a linear head whose Hessian is constant."""

    def __init__(self, split, hessian):
        generator = torch.Generator().manual_seed(92)
        random = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
        A = torch.tensor([[1.5, 0.4], [0.4, 0.8]], dtype=torch.float64)
        train, valid = (random(12, 3), random(12)), (random(9, 3), random(9))
        self.w, self.y = random(2, 3).requires_grad_(), random(2).requires_grad_()

        def encode(batch):
            return torch.tanh(batch.inputs @ self.w.T)

        def upper(features, batch):
            return (features @ self.y - batch.targets).square().mean() + 0.05 * self.w.square().sum()

        def lower(features, batch):
            return 0.5 * self.y @ A @ self.y - (features @ self.y * batch.targets).mean()

        def form(loss):
            return {"feature_loss": loss} if split else {"loss": lambda b: loss(encode(b), b)}

        self.problem = bilevel.Problem(
            bilevel.Level(self.w, **form(upper), data=valid, batch_size=4),
            bilevel.Level(self.y, **form(lower), data=train, batch_size=4),
            encode=encode if split else None,
            lower_hessian=(lambda v: A @ v) if hessian else None,
        )


class Conformance:
    """Mix it into a unittest.TestCase.

    calls: of oracles in a step, by kind; what is left out is 0. movement: of x for a gradient three times as long: "plain" three times
    as far, "normalized" or "adaptive" as far."""

    calls = {}
    movement = "plain"

    def make(self, upper_step_size=0.01):
        """A fresh solver, whose steps on the other variables suit curvatures of .5 to 2.5."""
        raise NotImplementedError

    def run_ridge(self, *, seed=4, steps=7, solver=None, **options):
        """A run over batches with dropout, and where it ended."""
        ridge = Ridge(dropout=0.2)
        result = bilevel.run(ridge.problem, solver or self.make(), max_steps=steps, seed=seed, **options)
        self.assertEqual(result.stop_reason, "max_steps", result.message)
        return result, ridge.values()

    def same(self, found, expected):
        """Two runs are the same to the last bit."""
        for column, values in expected[0].columns.items():
            if column != "seconds":
                self.assertEqual(found[0].columns[column], values, column)
        self.assertEqual(found[0].oracle_calls["steps"], expected[0].oracle_calls["steps"])
        self.assertTrue(equal(found[1], expected[1]))

    def test_same_seed_same_run(self):
        self.same(self.run_ridge(), self.run_ridge())

    def test_another_seed_is_another_run(self):
        self.assertNotEqual(self.run_ridge()[0].columns["upper_loss"], self.run_ridge(seed=5)[0].columns["upper_loss"])

    def test_all_randomness_is_the_runs(self):
        found = []
        for seed in (1, 2):
            ridge = Ridge(dropout=0.2)
            torch.manual_seed(seed)
            before = torch.random.get_rng_state()
            found.append((bilevel.run(ridge.problem, self.make(), max_steps=7, seed=4), ridge.values()))
            self.assertTrue(torch.equal(torch.random.get_rng_state(), before), "the process's generator has moved")
        self.same(*found)

    def test_levels_draw_apart(self):
        def lower_rows(upper_size):
            seen, ridge = [], Ridge()
            lower, upper = ridge.problem.lower, ridge.problem.upper
            loss = lower.loss
            lower.loss = lambda b: seen.append(b.numbers.tolist()) or loss(b)
            upper = bilevel.Level(upper.tensors, upper.loss, data=rows(seed=1), batch_size=upper_size)
            bilevel.run(bilevel.Problem(upper, lower), self.make(), max_steps=7, seed=4)
            return seen

        self.assertEqual(lower_rows(8), lower_rows(6))

    def test_a_solver_serves_again(self):
        solver = self.make()
        self.run_ridge(solver=solver)
        self.same(self.run_ridge(solver=solver), self.run_ridge())

    def test_a_checkpoint_continues_bit_for_bit(self):
        expected = self.run_ridge()
        for k in (0, 1, 2, 5, 7):
            with self.subTest(after=k), tempfile.TemporaryDirectory() as folder:
                file, first, second = Path(folder, "run"), Ridge(dropout=0.2), Ridge(dropout=0.2)
                with bilevel.iterate(first.problem, self.make(), max_steps=7, seed=4, checkpoint=file) as steps:
                    for _ in range(k):
                        next(steps)
                with torch.no_grad():
                    second.strength.add_(0.4)
                after = bilevel.run(second.problem, self.make(), max_steps=7, checkpoint=file, resume=True)
                for column, values in after.columns.items():
                    after.columns[column] = steps.result.columns[column] + values
                self.same((after, second.values()), expected)

    def test_a_checkpoint_keeps_what_attributes_hold(self):
        solver = self.make()
        if isinstance(solver, bilevel.Solver) and hasattr(solver, "registered_name"):
            self.skipTest("its variables are not Python's")
        with tempfile.TemporaryDirectory() as folder:
            self.run_ridge(solver=solver, checkpoint=Path(folder, "run"))
            kept = checkpoint_tensors(Path(folder, "run"))
        for name, value in vars(solver).items():
            if isinstance(value, (torch.Tensor, int, float)):
                found = kept[f"solver/{name}"]
                self.assertTrue(torch.equal(found, torch.as_tensor(value, dtype=found.dtype)), name)

    def test_stops_at_numbers_that_are_not_finite(self):
        ridge, calls = Ridge(), [0]
        loss = ridge.problem.upper.loss

        def spoiled(batch):
            calls[0] += 1
            return loss(batch) * (math.nan if calls[0] >= 12 else 1)

        ridge.problem.upper.loss = spoiled
        with tempfile.TemporaryDirectory() as folder:
            options = {"max_steps": 50, "checkpoint": Path(folder, "run"), "checkpoint_seconds": 0}
            result = bilevel.run(ridge.problem, self.make(), **options)
            kept = checkpoint_tensors(Path(folder, "run"))
        self.assertEqual(result.stop_reason, "nonfinite")
        self.assertLess(result.steps, 50)
        for name, tensor in kept.items():
            self.assertTrue(not tensor.is_floating_point() or bool(tensor.isfinite().all()), name)

    def test_counts_equal_the_declared_calls(self):
        counted = self.run_ridge(steps=5)[0].oracle_calls["steps"]
        self.assertEqual(counted, {kind: 5 * self.calls.get(kind, 0) for kind in KINDS})

    def test_the_declared_calls_are_those_that_losses_see(self):
        x, y = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
        upper, lower = Counted(x, y), Counted(x, y)

        def count_from_the_second_step(report):
            if report.step == 1:
                upper.forget()
                lower.forget()

        problem = bilevel.Problem(bilevel.Level(x, upper.loss), bilevel.Level(y, lower.loss))
        bilevel.run(problem, self.make(), max_steps=26, callback=count_from_the_second_step)
        declared = {kind: 25 * self.calls.get(kind, 0) for kind in KINDS}
        self.assertGreaterEqual(declared["lower_gradient"], lower.gradients_in_y)
        self.assertLessEqual(declared["lower_gradient"], lower.gradients_in_y + lower.graphs)
        self.assertEqual(declared["lower_joint_gradient"], lower.gradients_in_both)
        self.assertEqual((declared["hvp"], declared["cross_vjp"]), (lower.hvp, lower.cross_vjp))
        self.assertEqual((declared["upper_hvp"], declared["upper_cross_vjp"]), (upper.hvp, upper.cross_vjp))
        values = upper.values - 1  # but for the objective at the end; grad_x F and grad_y F count as one, of one sample or of two
        self.assertTrue(declared["upper_gradient"] <= values <= 2 * declared["upper_gradient"], values)

    def test_encoders_and_lower_hessians_change_nothing(self):
        found = []
        for split in (False, True):
            for hessian in (False, True):
                encoded = Encoded(split, hessian)
                start = encoded.w.detach().clone()
                bilevel.run(encoded.problem, self.make(), max_steps=12, seed=4)
                self.assertFalse(torch.equal(encoded.w, start))
                found.append(torch.cat([encoded.w.detach().flatten(), encoded.y.detach()]))
                torch.testing.assert_close(found[-1], found[0], rtol=0, atol=1e-10)

    def test_every_step_ends_in_the_feasible_set(self):
        p1 = P1(c=1.0, start=1.0)  # whose solution is negative
        upper = bilevel.Level(p1.x, p1.problem.upper.loss, project=bilevel.box(0.1, 1.2))
        for report in bilevel.iterate(bilevel.Problem(upper, p1.problem.lower), self.make(0.05), max_steps=150):
            self.assertTrue(bool(((p1.x >= 0.1) & (p1.x <= 1.2)).all()), f"after step {report.step}")
        torch.testing.assert_close(p1.x.detach(), torch.full_like(p1.x, 0.1), rtol=0, atol=1e-12)

    def test_moves_x_as_declared(self):
        def length(scale):
            x, y = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
            problem = bilevel.Problem(
                bilevel.Level(x, lambda b: scale * (x.sum() + 0.1 * y.sum())), bilevel.Level(y, lambda b: 0.5 * (y - x).square().sum())
            )
            path = [x.detach().clone() for _ in bilevel.iterate(problem, self.make(0.01), max_steps=60)]
            return float((path[-1] - path[-2]).norm())

        expected = {"plain": 3, "normalized": 1, "adaptive": 1}[self.movement]
        self.assertAlmostEqual(length(3) / length(1), expected, delta=0.1)

    def test_converges_on_quadratics(self):
        for seed in (20301, 20302):
            known = bilevel.problems.quadratic(seed=seed, lower_curvature_min=0.5)
            start = known.gradient(known.x).norm()
            bilevel.run(known, self.make(0.1), max_steps=400, seed=seed)
            x = known.x.detach()
            self.assertLess(known.gradient(x).norm(), 0.02 * start)
            torch.testing.assert_close(known.y.detach(), known.best_lower(x), rtol=0.05, atol=0.05)

    def test_converges_where_the_upper_hessian_is_unbounded(self):
        known = bilevel.problems.p1()
        start, steepest = known.gradient(known.x).norm(), 4 * math.cosh(2 * float(known.x.detach().abs().max()))
        bilevel.run(known, self.make(0.05 if self.movement == "normalized" else 0.5 / steepest), max_steps=400)
        self.assertLess(known.gradient(known.x).norm(), 0.01 * start)
