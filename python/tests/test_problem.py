"""Levels and their data; solvers and their options; a solver in Python."""

import copy
import os
import pickle
import unittest

import torch
from torch import nn
from torch.nn import functional as F

import bilevel
from support import P1, SOBA, Ridge, equal, rows


class Parameters(unittest.TestCase):
    def test_come_as_modules_tensors_and_names(self):
        x, y = P1().x, torch.zeros(3, requires_grad=True)
        self.assertEqual(bilevel.Level(nn.Linear(2, 1)).names, ["weight", "bias"])
        self.assertEqual((bilevel.Level(x).names, bilevel.Level([x, y]).tensors[1] is y), ([], True))
        self.assertEqual(bilevel.Level({"a": x, "b": y}).names, ["a", "b"])
        self.assertEqual(bilevel.Level(nn.Linear(2, 1).named_parameters()).names, ["weight", "bias"])
        frozen = nn.Linear(2, 1)
        frozen.bias.requires_grad_(False)
        self.assertEqual(bilevel.Level(frozen).names, ["weight"])
        with self.assertRaisesRegex(bilevel.InputError, "parameters hold str"):
            bilevel.Level(["x"])

    def test_without_influence_are_named(self):
        p1 = P1()
        level = bilevel.Level({"x": p1.x, "idle": torch.zeros(1, dtype=torch.float64, requires_grad=True)}, p1.problem.upper.loss)
        problem = bilevel.Problem(level, p1.problem.lower)
        with self.assertRaisesRegex(bilevel.InputError, "'idle' influences neither"):
            bilevel.run(problem, bilevel.SOBA(), max_steps=1)
        result = bilevel.run(problem, bilevel.SOBA(), max_steps=1, warn_unused_parameters=True)
        self.assertIn("'idle' influences neither", result.warnings[0])

    def test_squared_norm(self):
        head = nn.Linear(3, 2)
        expected = head.weight.square().sum() + head.bias.square().sum()
        for given in (head, list(head.parameters()), dict(head.named_parameters())):
            torch.testing.assert_close(bilevel.squared_norm(given), expected)


def trace_of(data, **options):
    """Losses of a run on `data` for the upper level."""
    ridge = Ridge()
    level = bilevel.Level(ridge.problem.upper.tensors, ridge.problem.upper.loss, data=data, batch_size=8, **options)
    problem = bilevel.Problem(level, ridge.problem.lower)
    return bilevel.run(problem, bilevel.SOBA(), max_steps=12, seed=2).columns["upper_loss"]


class Rows:
    """An own object with rows."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 60

    def gather(self, numbers):
        self.asked.append(numbers)
        return tuple(t[numbers] for t in rows(seed=1))


class Data(unittest.TestCase):
    def test_of_every_kind_give_the_same_run(self):
        inputs, targets = rows(seed=1)
        expected = trace_of((inputs, targets))
        self.assertEqual(trace_of(torch.utils.data.TensorDataset(inputs, targets)), expected)
        self.assertEqual(trace_of(list(zip(inputs, targets))), expected)
        self.assertEqual(trace_of([(x, int(t)) for x, t in zip(inputs, targets)]), expected)
        self.assertEqual(
            trace_of(list(range(60)), collate=lambda numbers: (inputs[numbers], targets[numbers])), expected
        )
        own = Rows()
        self.assertEqual(trace_of(own), expected)
        self.assertEqual(own.asked[-1].dtype, torch.int64)
        self.assertEqual(len(expected), 12)

    def test_mistakes_are_told(self):
        inputs, targets = rows()
        for data, message in (
            ((inputs, targets[:-1]), "must share their first dimension"),
            ((inputs, [1, 2]), "data gave tuple: must be a tensor"),
            (3, "data is int: must be tensors"),
            ([{"a": 1}], "collate gave dict: must be"),
            ([], "data without rows"),
        ):
            with self.subTest(message), self.assertRaisesRegex(bilevel.InputError, message):
                bilevel.Level(P1().x, data=data)
        short = Rows()
        short.gather = lambda numbers: (inputs[:1], targets[:1])
        with self.assertRaisesRegex(bilevel.InputError, "gather gave inputs with first dimension 1 for 8 rows"):
            trace_of(short)
        with self.assertRaisesRegex(bilevel.InputError, "its data set has none"):
            trace_of(inputs)

    def test_of_iterators_come_once(self):
        inputs, targets = rows(seed=1)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, targets), batch_size=20)
        ridge, read = Ridge(), []
        plain = ridge.problem.lower.loss
        loss = lambda b: read.append(b.inputs) or plain(b)  # noqa: E731
        level = bilevel.Level(ridge.head, loss, data=loader)
        problem = bilevel.Problem(ridge.problem.upper, level)
        result = bilevel.run(problem, bilevel.SOBA(lower_step_size=0.1), max_steps=5)
        self.assertTrue(result.usable)
        self.assertEqual({len(one) for one in read}, {20})
        self.assertTrue(torch.equal(read[-1], read[1]), "the objective at the end is on the batch of that at the start")
        self.assertTrue(torch.equal(read[2], inputs[40:]))
        for refused in (
            lambda: bilevel.run(problem, bilevel.SABA(), max_steps=1),
            lambda: bilevel.check(problem),
            lambda: bilevel.hypergradient(problem),
            lambda: bilevel.run(problem, bilevel.SOBA(), max_steps=1, checkpoint=os.devnull),
        ):
            with self.assertRaisesRegex(bilevel.InputError, "come from an iterator, which cannot go back"):
                refused()

        class Endless(torch.utils.data.IterableDataset):
            def __iter__(self):
                return iter([(inputs, targets)])

        bilevel.run(bilevel.Problem(ridge.problem.upper, bilevel.Level(ridge.head, loss, data=Endless())), bilevel.SOBA(), max_steps=2)
        self.assertEqual(len(read[-1]), 60)
        level = bilevel.Level(ridge.head, loss, data=iter([(inputs, targets)] * 4))
        with self.assertRaisesRegex(bilevel.InputError, "has ended"):
            bilevel.run(bilevel.Problem(ridge.problem.upper, level), bilevel.SOBA(lower_step_size=0.1), max_steps=5)

    def test_several_inputs_are_a_tuple(self):
        inputs, targets = rows()
        seen = []

        def loss(batch):
            seen.append((type(batch.inputs), len(batch.inputs), len(batch), batch.numbers.dtype))
            return (head(batch.inputs[0] + batch.inputs[1]).square().sum() + targets.sum()) * strength

        head, strength = nn.Linear(5, 1, dtype=torch.float64), torch.ones((), dtype=torch.float64, requires_grad=True)
        problem = bilevel.Problem(
            bilevel.Level(strength, loss, data=((inputs, inputs), targets), batch_size=None), bilevel.Level(head, loss, data=((inputs, inputs), None), batch_size=7)
        )  # fmt: skip
        bilevel.run(problem, bilevel.SOBA(), max_steps=1)
        self.assertEqual(set(seen), {(tuple, 2, 60, torch.int64), (tuple, 2, 7, torch.int64)})

    def test_strata_have_weights(self):
        inputs, _ = rows()
        strata, seen = [0] * 57 + [1] * 3, []

        def loss(batch):
            seen.append(batch)
            return bilevel.weighted_mean((head(batch.inputs) ** 2).squeeze(1), batch.weights) * strength

        head, strength = nn.Linear(5, 1, dtype=torch.float64), torch.ones((), dtype=torch.float64, requires_grad=True)
        level = bilevel.Level(strength, loss, data=inputs, batch_size=4, strata=strata)
        bilevel.run(bilevel.Problem(level, bilevel.Level(head, loss, data=inputs)), bilevel.SOBA(), max_steps=1)
        batch = next(b for b in seen if len(b) == 4)
        self.assertEqual((batch.numbers >= 57).sum(), 1)
        torch.testing.assert_close(batch.weights, torch.where(batch.numbers >= 57, 0.2, 57 / 45).double())

    def test_one_encoder_pass_serves_both(self):
        torch.manual_seed(0)
        inputs, targets = rows()
        encoder, head = nn.Linear(5, 4, dtype=torch.float64), nn.Linear(4, 2, dtype=torch.float64)
        start = copy.deepcopy((encoder.state_dict(), head.state_dict()))

        def entropy(features, batch):
            return F.cross_entropy(head(features), batch.targets)

        def penalized(features, batch):
            return entropy(features, batch) + 0.1 * bilevel.squared_norm(head)

        def apart(loss):
            return {"loss": lambda b: loss(encoder(b.inputs), b), "data": (inputs, targets)}

        def together(loss):
            return {"feature_loss": loss, "data": (inputs, targets)}

        found = []
        for form, encode in ((apart, None), (together, lambda b: encoder(b.inputs))):
            encoder.load_state_dict(start[0])
            head.load_state_dict(start[1])
            problem = bilevel.Problem(
                bilevel.Level(encoder, **form(entropy)), bilevel.Level(head, **form(penalized)), encode=encode
            )
            bilevel.run(problem, bilevel.AdamBO(upper_step_size=0.01), max_steps=5)
            found.append(encoder.weight.detach().clone())
        torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)
        self.assertFalse(torch.equal(found[0], start[0]["weight"]))

    def test_dropout_is_replayed(self):
        inputs, _ = rows()
        drop, seen = nn.Dropout(0.5), []

        def loss(batch):
            dropped = drop(batch.inputs)
            seen.append(dropped.detach())
            return head(dropped).square().mean() * strength

        head, strength = nn.Linear(5, 1, dtype=torch.float64), torch.ones((), dtype=torch.float64, requires_grad=True)
        level = bilevel.Level(strength, loss, data=inputs, batch_size=None)

        class TwoPoints:
            def step(self, oracles):
                sample = oracles.upper.draw("twice")
                seen.clear()
                for _ in range(2):
                    value, in_x, _ = oracles.upper.gradient(sample)
                    oracles.upper.move(in_x, -0.1)
                return bilevel.StepReport(value, in_x)

        state = torch.get_rng_state()
        bilevel.run(
            bilevel.Problem(level, bilevel.Level(head, loss, data=inputs)), TwoPoints(), max_steps=1,
            callback=lambda r: seen.append(None),
        )  # fmt: skip
        self.assertTrue(torch.equal(seen[0], seen[1]))
        self.assertTrue((seen[0] == 0).any())
        self.assertTrue(torch.equal(state, torch.get_rng_state()))


class Sets(unittest.TestCase):
    def test_hold_at_every_step(self):
        for project, holds in (
            (bilevel.box(2.4, 2.45), lambda x: bool(((x >= 2.4) & (x <= 2.45)).all())),
            (bilevel.ball(1.0), lambda x: bool(x.norm() <= 1 + 1e-12)),
            (bilevel.simplex(3), lambda x: abs(float(x.sum()) - 3) < 1e-12),
            ({"x": bilevel.box(0, 1)}, lambda x: bool((x <= 1).all())),
            (lambda flat: flat.clamp(max=2), lambda x: bool((x <= 2).all())),
        ):
            with self.subTest(project):
                p1 = P1()
                level = bilevel.Level({"x": p1.x}, p1.problem.upper.loss, project=project)
                bilevel.run(bilevel.Problem(level, p1.problem.lower), bilevel.SOBA(), max_steps=2)
                self.assertTrue(holds(p1.x.detach()), p1.x)
        with self.assertRaisesRegex(bilevel.InputError, "low"):
            bilevel.box(1, 0)
        p1 = P1()
        level = bilevel.Level({"x": p1.x}, p1.problem.upper.loss, project=lambda flat: flat[:2])
        with self.assertRaisesRegex(bilevel.InputError, r"what project gave has shape \[2\] of double on cpu: must have \[4\]"):
            bilevel.run(bilevel.Problem(level, p1.problem.lower), bilevel.SOBA(), max_steps=1)


class Solvers(unittest.TestCase):
    def test_have_the_options_of_the_library(self):
        import inspect

        for name in bilevel.solvers.__all__:
            cls = getattr(bilevel, name)
            parameters = inspect.signature(cls).parameters
            self.assertEqual({p.name: p.default for p in parameters.values()}, cls().options)
            for option in parameters:
                self.assertIn(f"\n    {option} (", cls.__doc__)
        self.assertEqual(bilevel.AdamBO(lower_step_size=0.2).lower_step_size, 0.2)
        self.assertEqual(bilevel.AdamBO().lower_step_size, "auto")
        self.assertEqual(pickle.loads(pickle.dumps(bilevel.SOBA(order="gauss_seidel"))), bilevel.SOBA(order="gauss_seidel"))

    def test_written_in_python_equal_those_of_the_library(self):
        sizes = {"upper_step_size": 0.05, "lower_step_size": 0.1, "linear_step_size": 0.2}
        for dtype in (torch.float32, torch.float64):
            a, b = Ridge(dropout=0.2, dtype=dtype), Ridge(dropout=0.2, dtype=dtype)
            expected = bilevel.run(a.problem, bilevel.SOBA(**sizes), max_steps=40, seed=1)
            found = bilevel.run(b.problem, SOBA(**sizes), max_steps=40, seed=1)
            self.assertTrue(equal(a.values(), b.values()))
            for column in ("upper_loss", "hypergradient_norm", "hvp", "cross_vjp", "upper_samples", "lower_samples"):
                self.assertEqual(found.columns[column], expected.columns[column])

    def test_written_in_python_use_nothing_that_has_ended(self):
        kept = []

        class Keeps:
            def step(self, oracles):
                point = oracles.upper.point(oracles.upper.draw("upper_batches"))
                if kept:
                    with self_.assertRaisesRegex(RuntimeError, "after x or y had moved"):
                        kept[-1][1].grad_x()
                kept.append((oracles, point))
                gradient = point.grad_x()
                oracles.upper.move(gradient, -0.01)
                return bilevel.StepReport(point.value, gradient)

        self_ = self
        bilevel.run(Ridge().problem, Keeps(), max_steps=2)
        for use in (lambda o, p: p.grad_x(), lambda o, p: o.upper.all(), lambda o, p: o.x.flat()):
            with self.assertRaisesRegex(RuntimeError, "had ended"):
                use(*kept[-1])

    def test_written_in_python_are_told_wrong_vectors(self):
        class Wrong:
            def step(self, oracles):
                upper, lower = oracles.points(oracles.upper.draw("upper_batches"), oracles.lower.draw("lower_batches"))
                short, single = oracles.y.flat()[:3], oracles.y.flat().float()
                for use, name in (
                    (lambda: lower.hvp(short), "v"),
                    (lambda: lower.cross_vjp(single), "v"),
                    (lambda: oracles.hypergradient(upper, lower, short), "z"),
                    (lambda: oracles.y.add(short), "direction"),
                    (lambda: oracles.y.assign(single), "values"),
                    (lambda: oracles.upper.move(short), "direction"),
                ):
                    with self_.assertRaisesRegex(bilevel.InputError, rf"^{name} has shape \[\d+\] of .*: must have \[\d+\]"):
                        use()
                told.append(True)
                return bilevel.StepReport(upper.value, oracles.x.flat())

        self_, told = self, []
        bilevel.run(Ridge().problem, Wrong(), max_steps=1)
        self.assertTrue(told)

    def test_written_in_python_are_told_their_mistakes(self):
        class Forgets:
            def step(self, oracles):
                return None

        with self.assertRaisesRegex(bilevel.InputError, "step of the solver Forgets returned NoneType: must be a StepReport"):
            bilevel.run(Ridge().problem, Forgets(), max_steps=1)


if __name__ == "__main__":
    unittest.main()
