// How a CheckReport is shown.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/check/check.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

std::string number(double value, bool absolute = false) {
  return std::isnan(value) ? "-" : fmt::format("{:.1e}{}", value, absolute ? " abs" : "");
}

std::string line(const std::string& name, const std::string& error, Verdict verdict,
                 const std::string& message) {
  return fmt::format("  {:<58} {:>11}  {}{}\n", name, error, to_string(verdict),
                     message.empty() ? "" : ": " + message);
}

}  // namespace

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok:
      return "ok";
    case Verdict::warning:
      return "warning";
    case Verdict::unsure:
      return "cannot tell";
    case Verdict::wrong:
      return "WRONG";
    default:
      return "skipped";
  }
}

nlohmann::ordered_json CheckReport::to_json() const {
  const auto word = [](Verdict v) { return v == Verdict::wrong ? "wrong" : to_string(v); };
  Json tests = Json::array();
  for (const CheckItem& item : items) {
    tests.push_back({{"group", item.group},
                     {"name", item.name},
                     {"verdict", word(item.verdict)},
                     {"error", item.error},
                     {"absolute", item.absolute},
                     {"message", item.message}});
  }
  Json estimates = Json::array();
  for (const EstimatorCheck& e : estimators) {
    Json blocks = Json::array();
    for (const BlockErrors& block : e.blocks) {
      blocks.push_back({{"parameter", block.parameter},
                        {"against_differences", block.against_differences},
                        {"against_exact", block.against_exact},
                        {"absolute", block.absolute}});
    }
    estimates.push_back({{"name", e.name},
                         {"verdict", word(e.verdict)},
                         {"against_differences", e.against_differences},
                         {"against_exact", e.against_exact},
                         {"absolute", e.absolute},
                         {"residual", e.residual},
                         {"cosine_to_optimistic", e.cosine_to_optimistic},
                         {"oracle_calls", e.cost.to_json()},
                         {"message", e.message},
                         {"parameters", blocks}});
  }
  return {{"ok", ok},
          {"wrong", wrong},
          {"cannot_tell", unsure},
          {"warnings", warnings},
          {"upper_size", upper_size},
          {"lower_size", lower_size},
          {"rows", {{"upper", upper_rows}, {"lower", lower_rows}}},
          {"all_rows", {{"upper", all_upper_rows}, {"lower", all_lower_rows}}},
          {"dtype", dtype},
          {"tolerance", tolerance},
          {"lower_level",
           {{"solved", lower_level.solved},
            {"gradient_norm", lower_level.gradient_norm},
            {"distance", lower_level.distance},
            {"gradients", lower_level.gradients},
            {"starts", lower_level.starts},
            {"value", lower_level.value},
            {"lowest_value", lower_level.lowest_value},
            {"smallest_curvature", lower_level.smallest_curvature},
            {"largest_curvature", lower_level.largest_curvature},
            {"start_smallest_curvature", lower_level.start_smallest_curvature},
            {"start_largest_curvature", lower_level.start_largest_curvature},
            {"strongly_convex", lower_level.strongly_convex}}},
          {"tests", tests},
          {"estimators", estimates},
          {"not_twice_differentiable", not_twice_differentiable},
          {"without_influence", without_influence},
          {"without_gradient", without_gradient},
          {"remarks", remarks}};
}

std::string CheckReport::table() const {
  const auto rows = [](int64_t used, int64_t all) {
    return used == all ? fmt::format("{}", all) : fmt::format("{} of {}", used, all);
  };
  std::string text = fmt::format(
      "x: {} numbers, y: {} numbers, {}; rows: {} upper, {} lower; equal means to {:g}\n", upper_size,
      lower_size, dtype, rows(upper_rows, all_upper_rows), rows(lower_rows, all_lower_rows), tolerance);
  if (lower_level.gradients > 0) {
    text +=
        fmt::format("lower level: |grad_y g| = {:.1e} after {} gradients; curvature from {:.3g} to {:.3g}\n",
                    lower_level.gradient_norm, lower_level.gradients, lower_level.smallest_curvature,
                    lower_level.largest_curvature);
  }

  constexpr size_t kMany = 8;  // passed tests of one group
  text += fmt::format("\n{:<60} {:>11}\n", "the problem", "error");
  std::vector<std::string> groups;
  for (const CheckItem& item : items) {
    if (std::find(groups.begin(), groups.end(), item.group) == groups.end()) groups.push_back(item.group);
  }
  for (const std::string& group : groups) {
    std::vector<const CheckItem*> passed;
    for (const CheckItem& item : items) {
      if (item.group == group && item.verdict == Verdict::ok) passed.push_back(&item);
    }
    const bool many = passed.size() > kMany;
    for (const CheckItem& item : items) {
      if (item.group != group || (many && item.verdict == Verdict::ok)) continue;
      const bool titled = group == "gradients" || group == "second derivatives";
      text += line((titled && item.name.size() < 40 ? group + ": " : "") + item.name,
                   number(item.error, item.absolute), item.verdict, item.message);
    }
    if (many) {
      double largest = 0;
      for (const CheckItem* item : passed) {
        if (!std::isnan(item->error) && !item->absolute) largest = std::max(largest, item->error);
      }
      text += line(fmt::format("{}: {} more tests", group, passed.size()), number(largest), Verdict::ok, "");
    }
  }

  if (!estimators.empty()) {
    text += fmt::format("\n{:<20} {:>12} {:>11} {:>10}\n", "estimator", "differences", "exact", "residual");
    for (const EstimatorCheck& e : estimators) {
      text +=
          fmt::format("  {:<18} {:>12} {:>11} {:>10}  {}{}\n", e.name,
                      number(e.against_differences, e.absolute), number(e.against_exact, e.absolute),
                      number(e.residual), to_string(e.verdict), e.message.empty() ? "" : ": " + e.message);
    }
    const auto most = std::find_if(estimators.begin(), estimators.end(),
                                   [](const EstimatorCheck& e) { return e.blocks.size() > 1; });
    if (most != estimators.end()) {
      text += fmt::format("\n{:<44} {:>12} {:>11}  {}\n", "parameter (largest error of all estimators)",
                          "differences", "exact", "by");
      for (size_t b = 0; b < most->blocks.size(); ++b) {
        double differences = kNoNumber, exact = kNoNumber;
        std::string by;
        for (const EstimatorCheck& e : estimators) {
          if (b >= e.blocks.size()) continue;
          const BlockErrors& block = e.blocks[b];
          if (!(block.against_differences <= differences)) {
            differences = block.against_differences;
            by = e.name;
          }
          if (!(block.against_exact <= exact) && !std::isnan(block.against_exact))
            exact = block.against_exact;
        }
        const bool absolute = most->blocks[b].absolute;
        text += fmt::format("  {:<42} {:>12} {:>11}  {}\n", most->blocks[b].parameter,
                            number(differences, absolute), number(exact, absolute), by);
      }
    }
  }
  for (const std::string& remark : remarks) text += "\nremark: " + remark;
  if (!remarks.empty()) text += "\n";
  std::string doubts;
  if (unsure > 0) doubts = fmt::format("; {} cannot be told", unsure);
  if (warnings > 0) doubts += fmt::format("; {} warning{}", warnings, warnings > 1 ? "s" : "");
  text += (ok ? "\nresult: ok" : fmt::format("\nresult: {} wrong", wrong)) + doubts + "\n";
  return text;
}

}  // namespace bilevel
