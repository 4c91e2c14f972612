#include "bilevel/check/session.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bilevel {
namespace {

using torch::Tensor;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<Block> blocks_of(const Parameters& parameters) {
  std::vector<Block> blocks;
  int64_t offset = 0;
  for (size_t i = 0; i < parameters.tensors().size(); ++i) {
    const int64_t size = parameters.tensors()[i].numel();
    blocks.push_back({parameters.name(i), offset, size});
    offset += size;
  }
  return blocks;
}

/// All items of a level as one batch, or `most` of them chosen at random.
Batch some_rows(const BatchSource& source, int64_t most, at::Generator& generator) {
  if (most == 0 || source.size() <= most) return source.all();
  Rows numbers;
  for (const std::vector<int64_t>& slot : source.slots(generator))
    numbers.insert(numbers.end(), slot.begin(), slot.end());
  const Tensor chosen =
      std::get<0>(torch::randperm(source.size(), generator, torch::kInt64).slice(0, 0, most).sort());
  std::sort(numbers.begin(), numbers.end());
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < most; ++i) rows.push_back(numbers[static_cast<size_t>(chosen[i].item<int64_t>())]);
  return source.gather(rows);
}

}  // namespace

double norm_of(const Tensor& t) { return t.norm().item<double>(); }
double dot_of(const Tensor& a, const Tensor& b) { return a.dot(b).item<double>(); }
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

Ruling judge(const Sides& c, double tolerance) {
  // Below what the reference resolves, or a hundredth of the tolerance of the whole, a side is as good as zero.
  const bool absolute = c.scale <= std::max(5 * c.noise, 1e-2 * tolerance * c.overall);
  Ruling found{.error = c.gap == 0 || absolute ? c.gap : c.gap / c.scale, .absolute = absolute};
  const double whole = std::max(c.scale, c.overall);
  const auto relative = [&](double error) { return whole > 0 ? error / whole : error; };
  if (!std::isfinite(c.gap)) {
    found.verdict = Verdict::wrong;
    found.message = "not finite";
  } else if (c.gap <= tolerance * c.scale && c.noise <= 10 * tolerance * whole) {
    found.verdict = Verdict::ok;
  } else if (c.gap > tolerance * c.scale && c.gap > 5 * (c.noise + c.own)) {
    found.verdict = Verdict::wrong;
  } else if (c.gap <= 5 * c.noise && c.noise <= tolerance * whole) {
    found.verdict = Verdict::ok;
  } else {
    found.verdict = Verdict::unsure;
    found.message = !std::isfinite(c.noise) ? "there is no reference: differences are not finite"
                    : c.noise <= tolerance * whole
                        ? fmt::format("the method itself is good to {:.0e} only here", relative(c.own))
                        : fmt::format("the reference is good to {:.0e} only: rounding, or a kink nearby",
                                      relative(c.noise));
  }
  return found;
}

Session::Session(const Problem& problem, const CheckOptions& wishes)
    : options(wishes),
      oracles(problem, wishes.seed),
      x_blocks(blocks_of(oracles.x())),
      y_blocks(blocks_of(oracles.y())),
      x(oracles.x().flat().clone()),
      y(oracles.y().flat().clone()),
      unit(unit_round_off(x.scalar_type())),
      tolerance(wishes.tolerance > 0                 ? wishes.tolerance
                : x.scalar_type() == torch::kFloat64 ? 1e-5
                                                     : 2e-2) {
  at::Generator& generator = oracles.streams().stream("check.rows");
  const auto sample = [&](LevelOracle& level, const char* name) {
    return Sample{some_rows(level.batches(), options.rows, generator).to(x.device()),
                  oracles.streams().draw(std::string("check.") + name)};
  };
  upper = sample(oracles.upper(), "upper");
  lower = sample(oracles.lower(), "lower");
  report.upper_size = x.numel();
  report.lower_size = y.numel();
  report.upper_rows = upper.batch.size();
  report.lower_rows = lower.batch.size();
  report.all_upper_rows = oracles.upper().batches().size();
  report.all_lower_rows = oracles.lower().batches().size();
  report.dtype = x.scalar_type() == torch::kFloat64 ? "float64" : "float32";
  report.tolerance = tolerance;
}

CheckItem& Session::note(const std::string& group, const std::string& name, Verdict verdict, double error,
                         const std::string& message) {
  report.items.push_back({group, name, verdict, error, false, message});
  return report.items.back();
}

void Session::collect(const std::string& group, const std::string& name, const Ruling& judgement,
                      const TestPoint& point) {
  auto found = std::find_if(collected_.begin(), collected_.end(),
                            [&](const Collected& c) { return c.group == group && c.name == name; });
  if (found == collected_.end()) found = collected_.insert(found, Collected{group, name, {}, {}});
  found->judgements.push_back(judgement);
  found->at_start.push_back(point.at_start);
}

void Session::note_collected() {
  for (const Collected& c : collected_) {
    const auto count = [&](Verdict v) {
      return std::count_if(c.judgements.begin(), c.judgements.end(),
                           [v](const Ruling& j) { return j.verdict == v; });
    };
    const auto all = static_cast<int64_t>(c.judgements.size());
    const Verdict verdict = count(Verdict::wrong) > 0       ? Verdict::wrong
                            : 2 * count(Verdict::ok) >= all ? Verdict::ok
                                                            : Verdict::unsure;
    // The largest relative error of that verdict, or absolute where there is none.
    size_t chosen = c.judgements.size();
    bool away = verdict == Verdict::wrong;
    for (size_t i = 0; i < c.judgements.size(); ++i) {
      const Ruling& j = c.judgements[i];
      if (j.verdict != verdict) continue;
      if (c.at_start[i]) away = false;
      if (chosen == c.judgements.size()) {
        chosen = i;
        continue;
      }
      const Ruling& best = c.judgements[chosen];
      if (best.absolute != j.absolute ? best.absolute : !(j.error <= best.error)) chosen = i;
    }
    const Ruling& shown = c.judgements[chosen];
    CheckItem& item =
        note(c.group, c.name, verdict, shown.error,
             away ? "not at the start, but away from it" + (shown.message.empty() ? "" : ": " + shown.message)
                  : shown.message);
    item.absolute = shown.absolute;
  }
  collected_.clear();
}

double Session::length_of(Parameters& variable) {
  const Tensor at = variable.flat().clone();
  Tensor d = torch::randn(at.sizes(), oracles.streams().stream("check.lengths"), torch::kFloat64);
  d = (d / norm_of(d)).to(at.options());
  const double f = upper_value(), g = lower_value();
  const auto change = [&](double length) {
    double largest = 0;
    for (const double t : {length, -length}) {
      variable.assign(at + t * d);
      for (const auto& [before, after] : {std::pair{f, upper_value()}, std::pair{g, lower_value()}}) {
        const double part = std::abs(after - before) / std::abs(before);
        if (before != 0) largest = std::max(largest, std::isfinite(part) ? part : kInfinity);
      }
    }
    variable.assign(at);
    return largest;
  };
  constexpr double kFar = 1e18;
  double length = 1;
  while (length > 1 / kFar && change(length) > 10) length /= 8;
  while (length < kFar && change(length) < 1e-2) length *= 8;
  return length > 1 / kFar && length < kFar ? length : 1;
}

void Session::find_lengths() {
  y_length = length_of(oracles.y());
  const PointScope off(oracles, x, displaced(false, y, 1));  // where losses do not vanish by symmetry
  x_length = length_of(oracles.x());
}

double Session::difference_step(double step) {
  const double norm = norm_of(oracles.y().flat());
  return step * (y_length + norm) / (1 + norm);
}

Tensor Session::random(const Tensor& like) {
  return torch::randn(like.sizes(), oracles.streams().stream("check.directions"), torch::kFloat64)
      .to(like.options());
}

Tensor Session::direction_in(const Block& block, const Tensor& gradient) {
  Tensor d = torch::zeros_like(gradient);
  Tensor part = random(block.of(gradient));
  part = part / norm_of(part);
  const double length = norm_of(block.of(gradient));
  if (length > 0 && std::isfinite(length)) {
    const Tensor along = block.of(gradient) / length;
    part = along + (dot_of(along, part) < 0 ? -part : part);  // the two halves must not cancel
  }
  const double sum = norm_of(part);
  block.of(d).copy_(part / sum);
  return d;
}

double Session::step_along(bool of_x, const Tensor& flat, const Tensor& d) const {
  // The coordinates that move set the scale.
  return std::pow(unit, 0.25) * std::max(of_x ? x_length : y_length, norm_of(flat * (d != 0)));
}

Tensor Session::displaced(bool of_x, const Tensor& flat, double size) {
  Tensor moved = flat.clone();
  const double length = of_x ? x_length : y_length;
  for (const Block& block : of_x ? x_blocks : y_blocks) {
    const double count = std::sqrt(static_cast<double>(block.size));
    const double scale = std::max(norm_of(block.of(flat)) / count, length * std::min(1.0, 8 / count));
    block.of(moved).add_(random(block.of(flat)), size * scale);
  }
  return moved;
}

}  // namespace bilevel
