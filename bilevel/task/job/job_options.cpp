#include "bilevel/task/job/job_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"

namespace bilevel {

void refuse_option(const std::string& field, const std::string& value, const std::string& rule) {
  throw InputError(fmt::format("{} = {}: {}", field, value, rule));
}

void check_one_of(const std::string& field, const std::string& value, const std::set<std::string>& known) {
  if (known.count(value) == 0)
    refuse_option(field, value, fmt::format("must be one of {}", fmt::join(known, ", ")));
}

void check_not_negative(const std::string& field, double value) {
  if (!(value >= 0) || !std::isfinite(value)) refuse_option(field, fmt::format("{:g}", value), "must be > 0");
}

void check_job_options(const JobOptions& o) {
  if (!o.text.empty() && !o.features.empty()) throw InputError("give --text or --features, not both");
  check_one_of("device", o.device, {"cpu", "cuda"});
  check_not_negative("epochs", o.epochs);
  check_not_negative("steps", static_cast<double>(o.steps));
  check_not_negative("batch_size", static_cast<double>(o.batch_size));
  check_not_negative("max_seconds", o.max_seconds);
  check_not_negative("hidden", static_cast<double>(o.hidden));
  check_not_negative("layers", static_cast<double>(o.layers));
  check_not_negative("threads", static_cast<double>(o.threads));
  if (!std::isfinite(o.l2)) refuse_option("l2", fmt::format("{:g}", o.l2), "must be a finite number");
  if (o.epochs > 0 && o.steps > 0) throw InputError("give --epochs or --steps, not both");
  header_named(o.header);
  format_named(o.format);
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  std::string part;
  for (const char c : text) {
    if (c == ',') {
      parts.push_back(std::exchange(part, {}));
    } else {
      part += c;
    }
  }
  if (!text.empty()) parts.push_back(part);
  return parts;
}

std::optional<bool> header_named(const std::string& name) {
  if (name == "automatic") return std::nullopt;
  if (name == "yes") return true;
  if (name == "no") return false;
  refuse_option("header", name, "must be automatic, yes or no");
}

TableOptions table_options(const JobOptions& options) {
  return {.format = format_named(options.format), .header = header_named(options.header)};
}

std::vector<double> part_shares(const std::string& split, const JobOptions& o) {
  constexpr double kValid = 0.15, kTest = 0.2;
  if (split.empty()) {
    const double test = o.test.empty() ? kTest : 0;
    const double valid = o.valid.empty() ? (1 - test) * kValid : 0;
    return {1 - valid - test, valid, test};
  }
  std::vector<double> given;
  for (const std::string& part : split_list(split)) {
    const Number share = read_number(part);
    given.push_back(share.value);
    if (share.kind != CellKind::number || share.value < 0)
      refuse_option("split", split, "must be three shares, such as 0.7,0.1,0.2");
  }
  const double sum = std::accumulate(given.begin(), given.end(), 0.0);
  if (given.size() != 3 || !(sum > 0) || !std::isfinite(sum))
    refuse_option("split", split, "must be three shares, such as 0.7,0.1,0.2");
  for (double& share : given) share /= sum;
  const auto agree = [&](double share, const std::string& file, const char* name) {
    if (share > 0 && !file.empty())
      refuse_option("split", split, fmt::format("cuts {} rows, but --{} gives a file", name, name));
    if (share == 0 && file.empty())
      refuse_option("split", split, fmt::format("leaves no {} rows, and --{} gives no file", name, name));
  };
  if (given[0] == 0) refuse_option("split", split, "leaves no training rows");
  agree(given[1], o.valid, "valid");
  agree(given[2], o.test, "test");
  return given;
}

}  // namespace bilevel
