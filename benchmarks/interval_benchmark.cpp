// How often the intervals that the program prints hold the truth, in draws where it is known.
//
//   interval_benchmark [DRAWS [SEED]]    default: 1000 1
//
// A line for each kind and setting: the kind, the setting, the shares of draws with an interval and of those whose
// interval holds the truth, and the median width, separated by tabs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "bilevel/report/intervals.h"
#include "bilevel/report/metrics.h"
#include "bilevel/task/compare/statistics.h"
#include "bilevel/task/meta/meta_model.h"

namespace bilevel {
namespace {

int draws = 1000;
std::mt19937_64 engine(1);
std::normal_distribution<double> normal;

struct Interval {
  double low, high;
  bool holds(double truth) const { return low <= truth && truth <= high; }
};

/// Measures one setting: `draw` gives an interval, or none, and whether it holds the truth.
struct Drawn {
  std::optional<Interval> interval;
  bool holds = false;
};

void measure(const std::string& kind, const std::string& setting, const std::function<Drawn()>& draw) {
  std::vector<double> widths;
  int hold = 0;
  for (int i = 0; i < draws; ++i) {
    const Drawn drawn = draw();
    if (!drawn.interval) continue;
    widths.push_back(drawn.interval->high - drawn.interval->low);
    hold += drawn.holds ? 1 : 0;
  }
  std::sort(widths.begin(), widths.end());
  const auto shown = static_cast<double>(widths.size());
  fmt::print("{}\t{}\t{:.3f}\t{:.3f}\t{:.4f}\n", kind, setting, shown / draws, hold / shown,
             widths.empty() ? std::nan("") : widths[widths.size() / 2]);
  std::fflush(stdout);
}

/// The z with P(Z <= z) = p, by bisection.
double normal_quantile(double p) {
  double low = -10, high = 10;
  for (int i = 0; i < 80; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return low;
}

/// Draws of scores with a known AUC.
struct Scores {
  const char* name;
  std::function<double(double auc)> negative, positive;
};

Scores normal_scores(const char* name, double spread) {
  return {name, [](double) { return normal(engine); },
          [spread](double auc) {
            return normal_quantile(auc) * std::sqrt(1 + spread * spread) + spread * normal(engine);
          }};
}

/// Exponential ones: the AUC is 1 - rate / (rate + 1), for positive rows of mean 1 / rate.
Scores exponential_scores() {
  std::exponential_distribution<double> exponential;
  return {"exponential", [=](double) mutable { return exponential(engine); },
          [=](double auc) mutable { return exponential(engine) * auc / (1 - auc); }};
}

void measure_auc(const Scores& scores, double truth, int64_t positives, int64_t negatives) {
  measure("AUC",
          fmt::format("{} scores, AUC {}, {} positive of {} rows", scores.name, truth, positives,
                      positives + negatives),
          [&]() -> Drawn {
            std::vector<double> values;
            std::vector<int64_t> labels;
            for (int64_t i = 0; i < positives + negatives; ++i) {
              labels.push_back(i < positives ? 1 : 0);
              values.push_back(i < positives ? scores.positive(truth) : scores.negative(truth));
            }
            const AucEstimate e = auc_estimate({values, labels});
            const Interval interval{e.low, e.high};
            return {interval, interval.holds(truth)};
          });
}

void measure_difference(double first, double second, double correlation, int64_t positives,
                        int64_t negatives) {
  measure("difference of two AUCs",
          fmt::format("AUC {} and {}, scores correlated by {}, {} positive of {} rows", first, second,
                      correlation, positives, positives + negatives),
          [&]() -> Drawn {
            std::vector<double> a, b;
            std::vector<int64_t> labels;
            for (int64_t i = 0; i < positives + negatives; ++i) {
              const double common = normal(engine), own = normal(engine);
              labels.push_back(i < positives ? 1 : 0);
              const double shift = i < positives ? std::sqrt(2.0) : 0;
              a.push_back(common + shift * normal_quantile(first));
              b.push_back(correlation * common + std::sqrt(1 - correlation * correlation) * own +
                          shift * normal_quantile(second));
            }
            const AucDifference d = auc_difference({a, labels}, {b, labels});
            if (!d.has_interval()) return {};
            const Interval interval{d.low, d.high};
            return {interval, interval.holds(first - second)};
          });
}

/// Accuracies of tasks: each task has its own probability, uniform about the mean, and `rows` judged rows.
void measure_tasks(double mean, double spread, int rows, int tasks) {
  measure("meta: accuracy over tasks",
          fmt::format("accuracy {} -+ {} by task, {} rows a task, {} tasks", mean, spread, rows, tasks),
          [&]() -> Drawn {
            std::uniform_real_distribution<double> probability(mean - spread, mean + spread);
            std::vector<double> accuracies;
            for (int task = 0; task < tasks; ++task) {
              std::binomial_distribution<int> right(rows, probability(engine));
              accuracies.push_back(right(engine) / static_cast<double>(rows));
            }
            const TaskAccuracy accuracy(accuracies);
            if (!accuracy.has_interval()) return {};
            const Interval interval{accuracy.low, accuracy.high};
            return {interval, interval.holds(mean)};
          });
}

void measure_mean(const std::string& name, const std::function<double()>& draw, double truth, int seeds) {
  measure("compare: mean over seeds", fmt::format("{} results, {} seeds", name, seeds), [&]() -> Drawn {
    std::vector<double> values;
    for (int seed = 0; seed < seeds; ++seed) values.push_back(draw());
    const MeanInterval mean = mean_interval(values);
    const Interval interval{mean.low, mean.high};
    return {interval, interval.holds(truth)};
  });
}

/// The differences of `competitors`, whose means are `apart` standard deviations apart, to the best of them by these
/// runs; every seed has an effect on all. Whether all hold at once, and the widest.
void measure_best(int competitors, int seeds, double apart) {
  measure("compare: all differences to the best at once",
          fmt::format("{} solvers, means {} standard deviations apart, {} seeds", competitors, apart, seeds),
          [&]() -> Drawn {
            std::vector<std::vector<double>> runs(static_cast<size_t>(competitors));
            for (int seed = 0; seed < seeds; ++seed) {
              const double common = normal(engine);
              for (size_t c = 0; c < runs.size(); ++c)
                runs[c].push_back(common + normal(engine) + apart * static_cast<double>(c));
            }
            size_t best = 0;
            for (size_t c = 1; c < runs.size(); ++c) {
              if (mean_interval(runs[c]).mean > mean_interval(runs[best]).mean) best = c;
            }
            Drawn drawn{.interval = Interval{0, 0}, .holds = true};
            for (size_t c = 0; c < runs.size(); ++c) {
              if (c == best) continue;
              std::vector<double> differences;
              for (size_t i = 0; i < runs[c].size(); ++i) differences.push_back(runs[c][i] - runs[best][i]);
              const MeanInterval d = mean_interval(differences, joint_confidence(competitors));
              const Interval interval{d.low, d.high};
              drawn.holds =
                  drawn.holds && interval.holds(apart * (static_cast<double>(c) - static_cast<double>(best)));
              if (d.high - d.low > drawn.interval->high - drawn.interval->low) drawn.interval = interval;
            }
            return drawn;
          });
}

void run() {
  const Scores equal = normal_scores("normal", 1),
               wide = normal_scores("normal (positive ones spread 1.5 fold)", 1.5);
  for (const Scores& scores : {equal, wide, exponential_scores()}) {
    for (const double auc : {0.6, 0.9, 0.99}) {
      for (const int64_t positives : {20, 200}) measure_auc(scores, auc, positives, 10 * positives);
    }
  }
  for (const double auc : {0.6, 0.9, 0.99}) measure_auc(equal, auc, 20, 20);
  for (const auto& [first, second] :
       {std::pair(0.6, 0.6), {0.75, 0.7}, {0.9, 0.9}, {0.9, 0.85}, {0.99, 0.97}}) {
    for (const double correlation : {0.5, 0.9}) {
      for (const int64_t positives : {20, 200})
        measure_difference(first, second, correlation, positives, 10 * positives);
    }
  }
  measure_tasks(0.4, 0.2, 25, 600);
  measure_tasks(0.7, 0.1, 25, 100);
  measure_tasks(0.95, 0.05, 25, 20);
  for (const int seeds : {3, 5, 10}) {
    measure_mean(
        "normal", [] { return normal(engine); }, 0, seeds);
    std::uniform_real_distribution<double> uniform;
    measure_mean(
        "uniform", [=]() mutable { return uniform(engine); }, 0.5, seeds);
    for (const int competitors : {2, 5, 16}) {
      measure_best(competitors, seeds, 0);
      if (competitors > 2) measure_best(competitors, seeds, 0.3);
    }
  }
}

}  // namespace
}  // namespace bilevel

int main(int argc, char** argv) {
  if (argc > 1) bilevel::draws = std::atoi(argv[1]);
  if (argc > 2) bilevel::engine.seed(static_cast<uint64_t>(std::atoll(argv[2])));
  bilevel::run();
  return 0;
}
