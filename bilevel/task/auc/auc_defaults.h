// What `bilevel auc` uses where nobody says otherwise, by encoder; docs/auc.md says how these were found.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/model/network.h"

namespace bilevel {

struct AucDefaults {
  NetworkOptions network;
  double l2 = 0;  ///< kappa, see AucModel
  int64_t batch_size = 512;
  int64_t steps = 0;  ///< 0: `epochs` decide
  double epochs = 0;
  int64_t threads = 0;  ///< 0: as many as the numerical library takes
  /// Fields of the solver; those that it does not have are left out.
  std::map<std::string, nlohmann::json> solver;
};

/// Throws InputError for an unknown encoder.
AucDefaults auc_defaults(const std::string& encoder);

}  // namespace bilevel
