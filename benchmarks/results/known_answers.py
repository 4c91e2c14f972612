"""Claims that a test checks against a known answer, each with its bound; the tests are run (build them: `make test`)."""
import pathlib

TITLE = "Known answers"
DEPENDS = ["bilevel/core", "bilevel/oracle", "bilevel/linear", "bilevel/hypergrad", "bilevel/solver", "bilevel/check",
           "bilevel/task/auc/auc_model.cpp", "bilevel/*_test.cpp"]
CLAIMS = [  # claim, bound, the test sources that check it
    ("CG and dense hypergradients on quadratics against the closed form", "1e-8 relative", ["bilevel/hypergrad/implicit_test.cpp"]),
    ("Neumann and SGD on z against the bias identity `J (I - eta H)^Q H^-1 b`", "1e-8 relative",
     ["bilevel/hypergrad/implicit_test.cpp"]),
    ("Neumann sum: error `(I - eta H)^Q H^-1 b`, first term, one scaling", "1e-12", ["bilevel/linear/neumann/neumann_test.cpp"]),
    ("AdamBO on P1 (coordinates that differ, lambda = 2, every variant, 200 steps) against scalar arithmetic", "1e-12",
     ["bilevel/solver/adambo/adambo_test.cpp"]),
    ("P1 from x = 2.5, upper step 0.1: gradient descent overflows; AdamBO reaches a true gradient norm below 1e-6",
     "2,000 steps", ["bilevel/solver/adambo/adambo_test.cpp"]),
    ("the AUC hypergradient is the gradient of `A(x, alpha*(x))` at any alpha", "1e-5 (float32)",
     ["bilevel/task/auc/auc_model_test.cpp"]),
    ("every solver on P1, coordinates that differ, every variant, against scalar arithmetic written apart",
     "1e-10 (most 1e-12)", ["bilevel/solver/*/*_test.cpp"]),
    ("SOBA = MA-SOBA (weight 1, `average=new`) = SABA (one slot, zero memory), full batches", "equal; 1e-12",
     ["bilevel/solver/ma-soba/ma-soba_test.cpp", "bilevel/solver/saba/saba_test.cpp"]),
    ("SUSTAIN with both weights 1 = SGD on both levels; VR-AdamBO without y = VRAdam", "1e-12",
     ["bilevel/solver/sustain/sustain_test.cpp", "bilevel/solver/vr-adambo/vr-adambo_test.cpp"]),
    ("BO-REP (no refinement, no ball, period 1, one step) = SLIP with y first, from k = 1 on", "1e-12",
     ["bilevel/solver/bo-rep/bo-rep_test.cpp"]),
    ("AdamBO with exact y* and many Neumann terms = Adam on Phi", "2e-12, reasoned in the test",
     ["bilevel/solver/adambo/adambo_test.cpp"]),
    ("AccBO's momentum differs from the present hypergradient; normalized steps have length eta", "1e-6",
     ["bilevel/solver/accbo/accbo_test.cpp", "bilevel/solver/slip/slip_test.cpp", "bilevel/solver/bo-rep/bo-rep_test.cpp"]),
    ("every estimator against finite differences of the solved problem, and planted mistakes found", "by estimator",
     ["bilevel/check/check_test.cpp", "bilevel/hypergrad/*/*_test.cpp"]),
]
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def passed(run, sources, known={}):
    for pattern in sources:
        found = sorted(ROOT.glob(pattern))
        if not found:
            raise RuntimeError(f"there is no test {pattern}")
        for name in (source.stem for source in found):
            if name not in known:
                known[name] = run.test(name)
            if not known[name]:
                return False
    return True


def table(run):
    lines = ["| claim | bound | test | today |", "|---|---|---|---|"]
    for claim, bound, sources in CLAIMS:
        names = ", ".join(f"`{source}`" for source in sources)
        lines.append(f"| {claim} | {bound} | {names} | {'passes' if passed(run, sources) else '**FAILS**'} |")
    return "\n".join(lines)
