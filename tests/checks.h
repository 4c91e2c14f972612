// What the tests of checks share.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "bilevel/check/check.h"
#include "tests/support.h"

namespace bilevel {

inline torch::Tensor leaf(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat64).requires_grad_();
}

/// The first item whose name holds `part`; fails when there is none.
inline const CheckItem& item_named(const CheckReport& report, const std::string& part) {
  for (const CheckItem& item : report.items) {
    if (item.name.find(part) != std::string::npos) return item;
  }
  ADD_FAILURE() << "no test is named '" << part << "' in\n" << report.table();
  static const CheckItem none;
  return none;
}

inline const EstimatorCheck& estimator_named(const CheckReport& report, const std::string& name) {
  for (const EstimatorCheck& e : report.estimators) {
    if (e.name == name) return e;
  }
  ADD_FAILURE() << "no estimator '" << name << "' in\n" << report.table();
  static const EstimatorCheck none;
  return none;
}

inline std::vector<std::string> wrong_names(const CheckReport& report) {
  std::vector<std::string> names;
  for (const CheckItem& item : report.items) {
    if (item.verdict == Verdict::wrong) names.push_back(item.name);
  }
  return names;
}

}  // namespace bilevel
