// The kinds of contests.
#include <fmt/format.h>

#include "bilevel/core/error.h"
#include "bilevel/task/compare/auc_contest.h"
#include "bilevel/task/compare/known_contest.h"

namespace bilevel {

std::unique_ptr<Contest> make_contest(const nlohmann::ordered_json& saved,
                                      const std::function<void(const std::string&)>& message) {
  const std::string kind = saved.at("kind");
  if (kind == "known") return KnownContest::from_json(saved);
  if (kind == "auc") return AucContest::from_json(saved, message);
  throw FileError(fmt::format("there is no kind of comparison '{}'", kind));
}

}  // namespace bilevel
