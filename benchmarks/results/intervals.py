"""How often every kind of interval that the program prints holds the truth, in 1,000 draws where it is known."""

TITLE = "Intervals"
DEPENDS = ["benchmarks/interval_benchmark.cpp", "bilevel/report/intervals.cpp", "bilevel/report/metrics.cpp",
           "bilevel/task/compare/statistics.cpp", "bilevel/task/meta/meta_model.cpp"]
DRAWS, SEED = 1000, 100


def table(run):
    lines = ["| interval | draws of | given | holds the truth | median width |", "|---|---|---|---|---|"]
    before, low, high = "", [], []
    for line in run.benchmark("interval_benchmark", [DRAWS, SEED]).splitlines():
        kind, setting, given, holds, width = line.split("\t")
        share = float(holds)
        inside = 0.93 <= share <= 0.97
        (low if share < 0.93 else high if share > 0.97 else []).append(setting)
        lines.append(f"| {'' if kind == before else kind} | {setting} | {100 * float(given):.0f} % | "
                     f"{'' if inside else '**'}{100 * share:.1f} %{'' if inside else '**'} | {width} |")
        before = kind
    lines.append(f"\nBold: outside of 93 to 97 % ({len(low)} below, {len(high)} above). "
                 f"Of {DRAWS} draws a share of 95 % has a standard error of 0.7 %.")
    return "\n".join(lines)
