"""Runs: the program's trajectories, exceptions, interrupts, checkpoints, threads, memory, what is left afterwards."""

import contextlib
import copy
import gc
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest
import weakref
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import bilevel
from support import P1, SOBA, Ridge, equal, rows

PROGRAM = os.path.join(os.path.dirname(bilevel.__file__), "bilevel")
ALL = [getattr(bilevel, name) for name in bilevel.solvers.__all__]


class Trajectories(unittest.TestCase):
    def test_are_those_of_the_program(self):
        for solver in ALL:
            with self.subTest(solver.__name__), tempfile.TemporaryDirectory() as folder:
                name = solver.registered_name
                subprocess.run(
                    [PROGRAM, "solve", "p1", "--solver", name, "--steps", "12", "--seed", "3", "--set", "upper_step_size=0.001",
                     "--out", folder + "/run"],
                    check=True, capture_output=True,
                )  # fmt: skip
                expected = json.loads(Path(folder, "run", "summary.json").read_text())
                p1 = P1()
                result = bilevel.run(p1.problem, solver(upper_step_size=0.001), max_steps=12, seed=3)
                self.assertEqual(result.steps, 12)
                for found, key in ((p1.x, "x"), (p1.y, "y")):
                    torch.testing.assert_close(found.detach(), torch.tensor(expected[key], dtype=torch.float64), rtol=1e-12, atol=1e-12)
                self.assertNotEqual(p1.x.tolist(), P1().x.tolist())

    def test_end_at_the_solution(self):
        known = bilevel.problems.p1()
        result = bilevel.run(known, bilevel.AdamBO(upper_step_size=0.05), max_steps=600)
        self.assertTrue(result.usable)
        torch.testing.assert_close(known.x.detach(), known.solution(), rtol=0, atol=0.02)


class Loops(unittest.TestCase):
    def test_steps_of_ones_own_are_the_same(self):
        whole, stepped = Ridge(), Ridge()
        expected = bilevel.run(whole.problem, bilevel.AdamBO(), max_steps=9, seed=4)
        steps = bilevel.iterate(stepped.problem, bilevel.AdamBO(), max_steps=9, seed=4)
        losses = [report.upper_loss for report in steps]
        self.assertEqual(losses, expected.columns["upper_loss"])
        self.assertEqual(steps.result.stop_reason, "max_steps")
        self.assertTrue(equal(stepped.values(), whole.values()))

    def test_a_loop_left_early_ends_the_run(self):
        ridge = Ridge()
        with bilevel.iterate(ridge.problem, bilevel.SOBA(), max_steps=9) as steps:
            for report in steps:
                if report.step == 3:
                    break
        self.assertEqual((steps.result.steps, steps.result.stop_reason), (3, "stopped_by_callback"))
        self.assertEqual(ridge.head.bias.untyped_storage().nbytes(), 2 * 8)

    def test_a_loop_that_failed_came_to_nothing(self):
        with self.assertRaises(KeyError), bilevel.iterate(Ridge().problem, bilevel.SOBA(), max_steps=9) as steps:
            raise KeyError
        with self.assertRaisesRegex(RuntimeError, "the run was given up"):
            _ = steps.result

    def test_a_loop_does_not_end_by_a_function_that_stops(self):
        ridge, batches = Ridge(), iter(range(5))
        problem = bilevel.Problem(bilevel.Level(ridge.head, lambda b: next(batches) * ridge.head.weight.sum()), P1().problem.lower)
        with self.assertRaisesRegex(RuntimeError, "raised StopIteration"):
            for _ in bilevel.iterate(problem, bilevel.SOBA(), max_steps=9, warn_unused_parameters=True):
                pass

    def test_a_loop_given_up_gives_tensors_back(self):
        ridge = Ridge()
        for _ in bilevel.iterate(ridge.problem, bilevel.SOBA(), max_steps=9):
            break
        self.assertEqual(ridge.head.bias.untyped_storage().nbytes(), 2 * 8)

    def test_a_callback_sees_steps_and_stops(self):
        seen = []
        result = bilevel.run(Ridge().problem, bilevel.SOBA(), callback=lambda r: seen.append(r.step) or r.step < 4)
        self.assertEqual((seen, result.stop_reason), ([1, 2, 3, 4], "stopped_by_callback"))

    def test_a_trace_is_a_table(self):
        result = bilevel.run(Ridge().problem, bilevel.SOBA(), max_steps=6, trace_every=2)
        self.assertEqual(list(result.trace["step"]), [2, 4, 6])
        self.assertEqual(list(result.trace["hvp"]), [2, 4, 6])
        self.assertIn("soba: 6 steps", repr(result))


    @unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
    def test_a_run_has_a_picture(self):
        import matplotlib

        matplotlib.use("agg")
        figure = bilevel.run(Ridge().problem, bilevel.SOBA(), max_steps=6).plot()
        self.assertEqual([list(a.lines[0].get_xdata()) for a in figure.axes], [[1, 2, 3, 4, 5, 6]] * 2)

    @unittest.skipUnless(importlib.util.find_spec("tqdm"), "tqdm is not installed")
    def test_a_run_has_a_bar(self):
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown):
            bilevel.run(Ridge().problem, bilevel.SOBA(), max_steps=6, progress=True)
        self.assertIn("6/6", shown.getvalue())
        self.assertIn("upper_loss=", shown.getvalue())

    def test_a_run_records_graphs_where_its_caller_does_not(self):
        a, b = Ridge(), Ridge()
        bilevel.run(a.problem, bilevel.AdamBO(), max_steps=3)
        with torch.no_grad():
            bilevel.run(b.problem, bilevel.AdamBO(), max_steps=3)
        self.assertTrue(equal(a.values(), b.values()))


class Exceptions(unittest.TestCase):
    def test_come_out_as_they_are_and_leave_modules_usable(self):
        class Mine(Exception):
            pass

        for what in ("upper", "lower", "callback", "gather", "backward"):
            with self.subTest(what):
                ridge, calls = Ridge(), [0]

                def fail(*_, calls=calls, after=12):
                    calls[0] += 1
                    if calls[0] > after:
                        raise Mine("of the callable")

                class Fails(torch.autograd.Function):
                    @staticmethod
                    def forward(ctx, value):
                        return value.clone()

                    @staticmethod
                    def backward(ctx, slope):
                        fail(after=20)
                        return slope

                class Rows:
                    def __len__(self):
                        return 60

                    def gather(self, numbers):
                        fail(after=5)
                        return tuple(t[numbers] for t in rows(seed=1))

                problem, callback = ridge.problem, None
                if what == "callback":
                    callback = lambda report: fail(after=3)  # noqa: E731
                elif what == "gather":
                    old = problem.upper
                    problem = bilevel.Problem(bilevel.Level(old.tensors, old.loss, data=Rows(), batch_size=8), problem.lower)
                else:
                    level = problem.upper if what == "backward" else getattr(problem, what)
                    loss = level.loss
                    level.loss = (lambda b: Fails.apply(loss(b))) if what == "backward" else lambda b: fail() or loss(b)
                with self.assertRaisesRegex(Mine, "of the callable"):
                    bilevel.run(problem, bilevel.AdamBO(), max_steps=50, callback=callback)
                self.assertEqual(ridge.head.bias.untyped_storage().nbytes(), 2 * 8)
                ridge.head(rows()[0]).sum().backward()
                copy.deepcopy(ridge.head)

    def test_of_the_library_name_field_and_value(self):
        with self.assertRaisesRegex(ValueError, "upper_step_size = -1"):
            bilevel.AdamBO(upper_step_size=-1)
        with self.assertRaisesRegex(bilevel.InputError, "step_size.*upper_step_size"):
            bilevel.AdamBO(step_size=1)
        with self.assertRaisesRegex(bilevel.InputError, "max_steps = -1: must be >= 0"):
            bilevel.run(Ridge().problem, bilevel.AdamBO(), max_steps=-1)
        with self.assertRaisesRegex(bilevel.InputError, "max_steps = 2.5: must be a whole number"):
            bilevel.run(Ridge().problem, bilevel.AdamBO(), max_steps=2.5)
        with self.assertRaisesRegex(bilevel.InputError, "seed = -1: must be >= 0"):
            bilevel.run(Ridge().problem, bilevel.AdamBO(), seed=-1)
        with self.assertRaisesRegex(bilevel.InputError, "upper loss returned float: must be a tensor"):
            bilevel.run(bilevel.Problem(bilevel.Level(P1().x, lambda b: 1.0), P1().problem.lower), bilevel.AdamBO())
        with self.assertRaisesRegex(bilevel.InputError, "must be a solver"):
            bilevel.run(P1().problem, bilevel.AdamBO)

    def test_ctrl_c_ends_after_the_step(self):
        code = (
            "import os, signal, sys, bilevel; sys.path.insert(0, sys.argv[1]); from support import Ridge\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs start with it ignored
            "press = lambda r: os.kill(os.getpid(), signal.SIGINT) if r.step == 5 else None\n"
            "result = bilevel.run(Ridge().problem, bilevel.SOBA(), callback=press)\n"
            "print(result.stop_reason, result.steps, signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
        )
        done = subprocess.run([sys.executable, "-c", code, os.path.dirname(__file__)], capture_output=True, text=True)
        self.assertEqual(done.stdout, "interrupted 5 True\n", done.stderr)


class Checkpoints(unittest.TestCase):
    def test_continue_bit_for_bit(self):
        for make in [*(lambda s=s: s() for s in ALL), lambda: SOBA(0.01, 0.1, 0.1)]:
            with self.subTest(type(make()).__name__), tempfile.TemporaryDirectory() as folder:
                file, whole, parts = Path(folder, "run"), Ridge(dropout=0.2), Ridge(dropout=0.2)
                expected = bilevel.run(whole.problem, make(), max_steps=7, seed=4)
                first = bilevel.run(parts.problem, make(), max_steps=7, seed=4, checkpoint=file, callback=lambda r: r.step < 3)
                fresh = Ridge(dropout=0.2)
                second = bilevel.run(fresh.problem, make(), max_steps=7, checkpoint=file, resume=True)
                self.assertTrue(equal(fresh.values(), whole.values()))
                self.assertEqual(first.columns["upper_loss"] + second.columns["upper_loss"], expected.columns["upper_loss"])

    def test_of_another_solver_are_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "run")
            bilevel.run(Ridge().problem, bilevel.SOBA(), max_steps=1, checkpoint=file)
            with self.assertRaisesRegex(OSError, "its solver is soba, this run's is slip"):
                bilevel.run(Ridge().problem, bilevel.SLIP(), max_steps=1, checkpoint=file, resume=True)

    def test_replace_nothing_else(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "diary")
            file.write_text("Dear diary, I keep this here, behind more than a line.")
            with self.assertRaisesRegex(bilevel.InputError, "diary: holds something else, which a checkpoint would replace"):
                bilevel.run(Ridge().problem, bilevel.SOBA(), max_steps=1, checkpoint=file)
            self.assertTrue(file.read_text().startswith("Dear diary"))
            for _ in range(2):  # an earlier checkpoint is replaced
                file = Path(folder, "run")
                self.assertEqual(bilevel.run(Ridge().problem, bilevel.SOBA(), max_steps=1, checkpoint=file).steps, 1)


class Afterwards(unittest.TestCase):
    def test_modules_are_ordinary(self):
        ridge = Ridge()
        bilevel.run(ridge.problem, bilevel.AdamBO(), max_steps=3)
        file = io.BytesIO()
        torch.save(ridge.head.bias, file)
        expected = io.BytesIO()
        torch.save(nn.Parameter(ridge.head.bias.detach().clone()), expected)
        self.assertLess(file.tell(), expected.tell() + 64)
        file.seek(0)
        self.assertTrue(torch.equal(torch.load(file, weights_only=True), ridge.head.bias))
        again = copy.deepcopy(ridge.head).to(torch.float32)
        self.assertEqual(again.weight.dtype, torch.float32)
        optimizer = torch.optim.SGD(ridge.head.parameters(), 0.1)
        before = ridge.values()
        ridge.head(rows()[0]).square().sum().backward()
        optimizer.step()
        self.assertFalse(equal(before, ridge.values()))
        self.assertGreater(bilevel.run(ridge.problem, bilevel.AdamBO(), max_steps=3).steps, 0)

    def test_nothing_keeps_a_module_alive(self):
        class Rows:
            def __len__(self):
                return 60

            def gather(self, numbers):
                return rows()[0][numbers]

        def use():
            head, strength = nn.Linear(5, 1, dtype=torch.float64), torch.ones((), dtype=torch.float64, requires_grad=True)
            loss = lambda b: head(b.inputs).square().mean() + strength.square()  # noqa: E731
            penalized = lambda b: loss(b) + strength.exp() * bilevel.squared_norm(head)  # noqa: E731
            data = Rows()
            problem = bilevel.Problem(bilevel.Level(strength, loss, data=data), bilevel.Level(head, penalized, data=rows()[0]))
            bilevel.run(problem, bilevel.AdamBO(), max_steps=3)
            bilevel.run(problem, SOBA(0.01, 0.1, 0.1), max_steps=3)
            for _ in bilevel.iterate(problem, bilevel.SOBA(), max_steps=2):
                pass
            bilevel.hypergradient(problem)
            bilevel.check(problem, points=0, starts=0)
            head.problem = data.problem = problem if cyclic else None
            return weakref.ref(head)

        for cyclic in (False, True):
            with self.subTest(cyclic=cyclic):
                gc.collect()
                gc.disable()
                try:
                    reference = use()
                    if cyclic:
                        self.assertIsNotNone(reference())
                        gc.collect()
                    self.assertIsNone(reference())
                finally:
                    gc.enable()

    def test_memory_stays_flat(self):
        code = (
            "import sys, torch; torch.set_num_threads(1); sys.path.insert(0, sys.argv[1])\n"
            "import bilevel; from support import Ridge\n"
            "import os; page, sizes = os.sysconf('SC_PAGE_SIZE'), {}\n"
            "def look(r):\n"
            "    if r.step in (2000, 10000): sizes[r.step] = int(open('/proc/self/statm').read().split()[1]) * page\n"
            "bilevel.run(Ridge().problem, bilevel.SOBA(), max_steps=10000, callback=look, trace_every=100)\n"
            "print(sizes[2000], sizes[10000])"
        )
        done = subprocess.run([sys.executable, "-c", code, os.path.dirname(__file__)], capture_output=True, text=True, check=True)
        early, late = map(int, done.stdout.split())
        self.assertLess(late, 1.01 * early)


class Threads(unittest.TestCase):
    def test_give_what_they_give_alone(self):
        alone = [Ridge(dropout=0.3), Ridge(dropout=0.3)]
        for seed, ridge in enumerate(alone):
            bilevel.run(ridge.problem, bilevel.AdamBO(), max_steps=30, seed=seed)
        together = [Ridge(dropout=0.3), Ridge(dropout=0.3)]
        threads = [
            threading.Thread(target=bilevel.run, args=(r.problem, bilevel.AdamBO()), kwargs={"max_steps": 30, "seed": s})
            for s, r in enumerate(together)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for a, b in zip(alone, together):
            self.assertTrue(equal(a.values(), b.values()))


class Networks(unittest.TestCase):
    def test_tied_parameters_are_one(self):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.read = nn.Linear(5, 5, dtype=torch.float64)
                self.write = nn.Linear(5, 5, dtype=torch.float64)
                self.write.weight = self.read.weight

            def forward(self, x):
                return self.write(torch.tanh(self.read(x)))

        torch.manual_seed(0)
        net, strength = Tied(), torch.zeros((), dtype=torch.float64, requires_grad=True)
        loss = lambda b: (net(b.inputs) - b.inputs).square().mean()  # noqa: E731
        problem = bilevel.Problem(
            bilevel.Level([strength], loss, data=rows(seed=1)[0]),
            bilevel.Level(net, lambda b: loss(b) + strength.exp() * bilevel.squared_norm(net), data=rows(seed=2)[0]),
        )
        self.assertEqual(problem.lower.names, ["read.weight", "read.bias", "write.bias"])
        self.assertTrue(bilevel.run(problem, bilevel.AdamBO(), max_steps=5).usable)
        self.assertIs(net.write.weight, net.read.weight)

    def test_a_transformer_with_dropout_is_checked(self):
        torch.manual_seed(0)
        body = nn.Transformer(8, 2, 1, 1, 8, dropout=0.1, batch_first=True, dtype=torch.float64)
        head = nn.Linear(8, 2, dtype=torch.float64)
        inputs = torch.randn(12, 3, 8, dtype=torch.float64)
        data = (inputs, (inputs.mean((1, 2)) > 0).long())

        def loss(batch):
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                features = body(batch.inputs, batch.inputs).mean(1)
            return F.cross_entropy(head(features), batch.targets)

        problem = bilevel.Problem(
            bilevel.Level(body, loss, data=data),
            bilevel.Level(head, lambda b: loss(b) + 0.1 * bilevel.squared_norm(head), data=data),
        )
        before = head.weight.detach().clone()
        report = bilevel.check(problem, points=0, starts=0, directions=1, estimators=["cg", "exact"])
        self.assertTrue(report.ok, str(report))
        self.assertTrue(torch.equal(before, head.weight))
        self.assertTrue(bilevel.run(problem, bilevel.AdamBO(), max_steps=3).usable)


if __name__ == "__main__":
    unittest.main()
