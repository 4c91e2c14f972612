"""A step of a deep problem over the bare encoder passes that it needs."""

TITLE = "Speed: a step against the passes it needs"
DEPENDS = ["bilevel/bench/step.cpp", "bilevel/task/auc", "bilevel/task/clean/clean_model.cpp", "bilevel/problem", "bilevel/oracle",
           "bilevel/solver/adambo", "bilevel/solver/soba", "bilevel/linear", "bilevel/model"]


def table(run):
    lines = ["| problem | encoder | samples | hidden, batch | bare passes, ms | step / bare passes: median (95 %) |",
             "|---|---|---|---|---|---|"]
    for problem, encoder, hidden, batch in (("auc", None, 256, 32), ("auc", None, 512, 128), ("clean", None, 256, 32),
                                            ("clean", "mlp", 256, 32)):
        words = ["bench", "step", "--problem", problem, "--hidden", hidden, "--batch-size", batch]
        for one in run.bilevel(words + (["--encoder", encoder] if encoder else []))["steps"]:
            lines.append(f"| {problem} | {one['encoder']} | {one['samples']} | {hidden}, {batch} | {one['bare_ms']:.1f} | "
                         f"{one['ratio']:.3f} ({one['low']:.3f} to {one['high']:.3f}) |")
    return "\n".join(lines)
