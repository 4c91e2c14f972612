// The page of a finished `bilevel clean` run.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/report/page.h"

namespace bilevel {

/// A training row as the page shows it.
struct SuspiciousRow {
  int64_t row = 0;  ///< in the training file, from 1
  double weight = 0, probability = 0;
  std::string given, suggested, text;
  std::string truth;  ///< the label before noise was injected; empty: not known
};

struct CleanReport {
  std::string title;
  nlohmann::ordered_json summary;         ///< the object of `--json`
  std::vector<SuspiciousRow> suspicious;  ///< the least probable labels first
  std::vector<std::pair<std::string, std::string>> data_facts;
  std::vector<Figure> figures;
  std::string noise;  ///< what is known of it, with intervals
  std::vector<std::string> notes;
  bool assumed = false;  ///< the trusted rows were set aside by agreement
};

/// Self-contained HTML5. Texts may hold anything: they are escaped.
std::string clean_report_html(const CleanReport& report);

}  // namespace bilevel
