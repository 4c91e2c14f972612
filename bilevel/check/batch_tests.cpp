#include "bilevel/check/batch_tests.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>

namespace bilevel {
namespace {

using torch::Tensor;

constexpr int64_t kMostSlots = 32;  // minibatches of one partition
constexpr int kRepetitions = 20;    // partitions, or orders, where one does not tell
constexpr double kErrors = 6;       // standard errors that are no chance

/// The loss of one batch and its gradient in x and y.
struct Evaluation {
  double value = 0;
  Tensor gradient;
};

/// Differences of values and gradients, relative to their sizes.
struct Apart {
  double value = 0, value_scale = 0;
  Tensor gradient;
  double gradient_scale = 0;

  double largest() const {
    const double of_value = value_scale > 0 ? std::abs(value) / value_scale : std::abs(value);
    const double length = norm_of(gradient);
    return std::max(of_value, gradient_scale > 0 ? length / gradient_scale : length);
  }
};

/// Mean of numbers with its standard error, both relative to `scale`.
struct Mean {
  double value = 0, error = 0;

  Mean(const std::vector<double>& numbers, double scale) {
    const auto n = static_cast<double>(numbers.size());
    for (const double a : numbers) value += a / n;
    double square = 0;
    for (const double a : numbers) square += (a - value) * (a - value);
    error = std::sqrt(square / (n - 1) / n);
    if (scale > 0) {
      value /= scale;
      error /= scale;
    }
  }
};

class LevelBatches {
 public:
  LevelBatches(Session& session, bool upper)
      : s_(session),
        level_(upper ? session.oracles.upper() : session.oracles.lower()),
        source_(level_.batches()),
        name_(upper ? "the upper loss" : "the lower loss"),
        generator_(session.oracles.streams().stream(upper ? "check.batches.upper" : "check.batches.lower")),
        exact_(session.unit < 1e-12 ? 1e-9 : 1e-4) {}

  void run() {
    if (source_.size() < 2) return;
    harmless_ = source_.full_batch();
    attempt("does not depend on the order of its rows", [&](const std::string& name) { order(name); });
    attempt("is a mean over its rows", [&](const std::string& name) { partition(name); });
    attempt("counts its rows by the batch's weights", [&](const std::string& name) { weights(name); });
  }

 private:
  void attempt(const std::string& what, const std::function<void(const std::string&)>& test) {
    const std::string name = fmt::format("{} {}", name_, what);
    try {
      test(name);
    } catch (const std::exception& error) {
      s_.note("batches", name, harmless_ ? Verdict::skipped : Verdict::unsure, kNoNumber,
              "could not be tried on fewer or other rows: " + first_line(error.what()));
    }
  }

  Evaluation evaluate(const Batch& batch, uint64_t seed) {
    const Sample sample{batch.to(s_.x.device()), seed};
    const JointGradient g = level_.gradient(sample);
    return {g.value.item<double>(), torch::cat({g.x, g.y}).to(torch::kFloat64)};
  }
  uint64_t seed() { return s_.oracles.streams().draw("check.batches.model"); }

  static Apart apart(const Evaluation& a, const Evaluation& b) {
    return {a.value - b.value, 0.5 * (std::abs(a.value) + std::abs(b.value)), a.gradient - b.gradient,
            0.5 * (norm_of(a.gradient) + norm_of(b.gradient))};
  }

  /// Minibatches of one random partition of (some of) the rows: at most `rows` of them, in at most kMostSlots.
  std::vector<std::vector<int64_t>> minibatches() {
    std::vector<std::vector<int64_t>> slots = source_.slots(generator_);
    if (slots.size() == 1) {  // all rows fit into a batch; a quarter at a time shows the same
      std::vector<int64_t> all = shuffled_rows(slots[0]);
      const size_t parts = std::min<size_t>(4, all.size());
      slots.assign(parts, {});
      for (size_t i = 0; i < all.size(); ++i) slots[i % parts].push_back(all[i]);
    }
    const auto most = static_cast<size_t>(s_.options.rows > 0 ? s_.options.rows : source_.size());
    const size_t count = std::clamp<size_t>(most / std::max<size_t>(1, slots[0].size()), 2, kMostSlots);
    if (slots.size() > count) slots.resize(count);
    for (auto& slot : slots) {
      if (slot.size() > std::max<size_t>(1, most / 2)) slot.resize(std::max<size_t>(1, most / 2));
    }
    return slots;
  }

  std::vector<int64_t> shuffled_rows(const std::vector<int64_t>& rows) {
    const Tensor order = torch::randperm(static_cast<int64_t>(rows.size()), generator_, torch::kInt64);
    std::vector<int64_t> mixed;
    for (size_t i = 0; i < rows.size(); ++i)
      mixed.push_back(rows[static_cast<size_t>(order[static_cast<int64_t>(i)].item<int64_t>())]);
    return mixed;
  }

  /// Notes what `difference` of two ways to the same loss says: `once` is the first, more are drawn where it is not
  /// zero.
  void settle(const std::string& name, const Apart& once, bool same_seed, const std::function<Apart()>& again,
              const std::string& fault) {
    const double error = once.largest();
    if (error <= exact_) {
      s_.note("batches", name, Verdict::ok, error);
      return;
    }
    const Verdict bad = harmless_ ? Verdict::warning : Verdict::wrong;
    const std::string aside = harmless_ ? ". Harmless as long as every batch is all rows" : "";
    if (!std::isfinite(error)) {
      s_.note("batches", name, bad, error, "not finite" + aside);
      return;
    }
    if (same_seed) {
      s_.note("batches", name, bad, error, fault + aside);
      return;
    }
    // Values, and gradients along the difference seen first, which takes no part in the mean itself.
    const double length = norm_of(once.gradient);
    std::vector<double> values, along;
    double value_scale = 0, gradient_scale = 0;
    for (int k = 0; k < kRepetitions; ++k) {
      const Apart next = again();
      values.push_back(next.value);
      along.push_back(length > 0 ? dot_of(next.gradient, once.gradient) / length : 0);
      value_scale += next.value_scale / kRepetitions;
      gradient_scale += next.gradient_scale / kRepetitions;
    }
    const Mean of_values(values, value_scale), of_gradients(along, gradient_scale);
    const Mean& worse = std::abs(of_values.value) / (of_values.error + exact_ / kErrors) >
                                std::abs(of_gradients.value) / (of_gradients.error + exact_ / kErrors)
                            ? of_values
                            : of_gradients;
    const double size = std::abs(worse.value);
    if (size > kErrors * worse.error && size > exact_) {
      s_.note("batches", name, bad, size, fault + aside);
      return;
    }
    const double resolution = kErrors * std::max(of_values.error, of_gradients.error);
    if (random_ && resolution <= 0.2) {
      s_.note("batches", name, Verdict::ok, size,
              fmt::format("on average, as far as {} random draws tell: to {:.0e}", kRepetitions, resolution));
    } else if (random_) {
      s_.note("batches", name, Verdict::unsure, size,
              fmt::format("the loss is random: {} draws tell it to {:.1g} only", kRepetitions, resolution));
    } else {
      s_.note("batches", name, harmless_ ? Verdict::warning : Verdict::unsure, error,
              fmt::format(
                  "no: but over {} partitions the mean of its minibatches is the loss of all rows to {:.1g}",
                  kRepetitions, resolution) +
                  aside);
    }
  }

  void order(const std::string& name) {
    const std::vector<int64_t> rows = minibatches()[0];
    if (rows.size() < 2) return;
    const Batch batch = source_.gather(rows);
    const auto other_order = [&] {
      std::vector<int64_t> mixed = shuffled_rows(rows);
      if (mixed == rows) std::reverse(mixed.begin(), mixed.end());
      return source_.gather(mixed);
    };
    const uint64_t one = seed();
    const Evaluation given = evaluate(batch, one);
    random_ = apart(given, evaluate(batch, seed())).largest() > exact_;
    Apart first = apart(given, evaluate(other_order(), one));
    for (int k = 0; k < 2 && first.largest() <= exact_; ++k)
      first = apart(given, evaluate(other_order(), one));
    settle(
        name, first, !random_,
        [&] { return apart(evaluate(batch, seed()), evaluate(other_order(), seed())); },
        "the same rows in another order have another loss: what a row counts depends on its place in the "
        "batch");
  }

  void partition(const std::string& name) {
    const auto difference = [&] {
      const std::vector<std::vector<int64_t>> slots = minibatches();
      std::vector<int64_t> all;
      for (const auto& slot : slots) all.insert(all.end(), slot.begin(), slot.end());
      Evaluation mean;
      double values = 0, lengths = 0;
      for (const auto& slot : slots) {
        const Evaluation part = evaluate(source_.gather(slot), seed());
        const double share = static_cast<double>(slot.size()) / static_cast<double>(all.size());
        mean.value += share * part.value;
        mean.gradient =
            mean.gradient.defined() ? mean.gradient + share * part.gradient : share * part.gradient;
        values += share * std::abs(part.value);
        lengths += share * norm_of(part.gradient);
      }
      const Evaluation whole = evaluate(source_.gather(all), seed());
      Apart found = apart(mean, whole);
      ratio_ = whole.value != 0 ? mean.value / whole.value : 1;
      found.value_scale = std::max(values, std::abs(whole.value));
      found.gradient_scale = std::max(lengths, norm_of(whole.gradient));
      return found;
    };
    const Apart first = difference();
    const std::string fault = fmt::format(
        "minibatches give {:.3g} times the loss of the same rows in one batch: a sum instead of a mean, or "
        "rows that influence each other, as in batch normalization",
        ratio_);
    settle(name, first, false, difference, fault);
  }

  /// Half of the rows twice, each counting half: with `weighted_mean` the loss of all of them once.
  void weights(const std::string& name) {
    if (!Sampler(source_, generator_).next().weights().defined()) return;
    const auto difference = [&] {
      std::vector<int64_t> rows;
      for (const auto& slot : minibatches()) rows.insert(rows.end(), slot.begin(), slot.end());
      const Evaluation once = evaluate(source_.gather(rows), seed());
      const size_t all = rows.size(), twice = (all + 1) / 2;
      rows.insert(rows.end(), rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(twice));
      const auto count = static_cast<int64_t>(rows.size()), half = static_cast<int64_t>(twice);
      const Tensor weights =
          torch::full({count}, static_cast<double>(count) / static_cast<double>(all), torch::kFloat64);
      weights.narrow(0, 0, half).mul_(0.5);
      weights.narrow(0, count - half, half).mul_(0.5);
      return apart(evaluate(source_.gather(rows, weights), seed()), once);
    };
    settle(name, difference(), !random_, difference,
           "its batches hold the classes in other shares than the data and carry weights for it "
           "(Batch::weights), but rows that stand in a batch twice and count half are not what they are "
           "once: use weighted_mean");
  }

  Session& s_;
  LevelOracle& level_;
  const BatchSource& source_;
  std::string name_;
  at::Generator& generator_;
  double exact_;
  bool harmless_ = false, random_ = false;
  double ratio_ = 1;
};

}  // namespace

void test_batches(Session& session, const TestPoint& point) {
  const PointScope moved(session.oracles, point.x, point.y);
  for (const bool upper : {true, false}) LevelBatches(session, upper).run();
}

}  // namespace bilevel
