#include "bilevel/task/meta/episodes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <random>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/core/streams.h"

namespace bilevel {
namespace {

void check_at_least_one(const char* field, int64_t value, int64_t least) {
  if (value < least) throw InputError(fmt::format("{} = {}: must be at least {}", field, value, least));
}

/// A whole number below `count`, uniformly (std::uniform_int_distribution differs between standard libraries).
int64_t below(std::mt19937_64& random, int64_t count) {
  const auto range = static_cast<uint64_t>(count);
  const uint64_t limit = std::numeric_limits<uint64_t>::max() - std::numeric_limits<uint64_t>::max() % range;
  uint64_t draw = random();
  while (draw >= limit) draw = random();
  return static_cast<int64_t>(draw % range);
}

/// `count` different numbers below `size`, in random order (Floyd keeps the cost at `count` whatever the size; then a
/// shuffle).
std::vector<int64_t> different(std::mt19937_64& random, int64_t size, int64_t count) {
  std::vector<int64_t> chosen;
  for (int64_t top = size - count; top < size; ++top) {
    const int64_t candidate = below(random, top + 1);
    const bool taken = std::find(chosen.begin(), chosen.end(), candidate) != chosen.end();
    chosen.push_back(taken ? top : candidate);
  }
  for (int64_t i = count - 1; i > 0; --i) {
    std::swap(chosen[static_cast<size_t>(i)], chosen[static_cast<size_t>(below(random, i + 1))]);
  }
  return chosen;
}

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string of_domain(const TaskGroup& group) {
  return group.name.empty() ? "" : fmt::format(" of domain '{}'", group.name);
}

}  // namespace

void check_rows(const std::vector<TaskGroup>& groups, const EpisodeOptions& options,
                const std::string& where) {
  check_at_least_one("shots", options.shots, 1);
  check_at_least_one("queries", options.queries, 1);
  const int64_t needed = options.shots + options.queries;
  int64_t few = 0, all = 0, fewest = needed;
  std::string smallest;
  for (const TaskGroup& group : groups) {
    for (const TaskClass& one : group.classes) {
      const auto rows = static_cast<int64_t>(one.rows.size());
      ++all;
      few += rows < needed ? 1 : 0;
      if (rows >= fewest) continue;
      fewest = rows;
      smallest = fmt::format("'{}'{} has {} row{}", one.name, of_domain(group), rows, rows == 1 ? "" : "s");
    }
  }
  if (few == 0) return;
  const bool by_shots = options.shots >= options.queries;
  throw InputError(fmt::format(
      "{} = {}: a task takes shots + queries = {} + {} = {} rows of each class, but {} of {} classes in {} "
      "{} fewer; the smallest class {}. Both are counted in each class, not over all: give smaller ones, or "
      "leave small classes "
      "out of the lists of classes",
      by_shots ? "shots" : "queries", by_shots ? options.shots : options.queries, options.shots,
      options.queries, needed, few, all, where, few == 1 ? "has" : "have", smallest));
}

EpisodeSource::EpisodeSource(std::vector<TaskGroup> groups, const EpisodeOptions& options,
                             const std::string& what, uint64_t seed)
    : groups_(std::move(groups)), options_(options), seed_(derive_seed(seed, "episodes." + what)) {
  check_at_least_one("ways", options.ways, 2);
  if (groups_.empty()) throw InputError(fmt::format("there is nothing to draw {} tasks from", what));
  for (const TaskGroup& group : groups_) {
    const auto classes = static_cast<int64_t>(group.classes.size());
    if (classes < options.ways) {
      throw InputError(fmt::format("ways = {}: the {} part{} has {} class{}, fewer than a task needs",
                                   options.ways, what, of_domain(group), classes, classes == 1 ? "" : "es"));
    }
  }
  check_rows(groups_, options, "the " + what + " part");
}

void EpisodeSource::append(int64_t number, Episodes& episodes) const {
  std::mt19937_64 random(derive_seed(seed_, std::to_string(number)));
  const int64_t drawn = below(random, static_cast<int64_t>(groups_.size()));
  const TaskGroup& group = groups_[static_cast<size_t>(drawn)];
  const std::vector<int64_t> classes =
      different(random, static_cast<int64_t>(group.classes.size()), options_.ways);
  for (const int64_t c : classes) {
    episodes.units.push_back(group.name.empty() ? c : drawn);
    const std::vector<int64_t>& rows = group.classes[static_cast<size_t>(c)].rows;
    const std::vector<int64_t> picked =
        different(random, static_cast<int64_t>(rows.size()), options_.shots + options_.queries);
    for (size_t i = 0; i < picked.size(); ++i) {
      auto& part = static_cast<int64_t>(i) < options_.shots ? episodes.support : episodes.query;
      part.push_back(rows[static_cast<size_t>(picked[i])]);
    }
  }
  ++episodes.tasks;
}

Episodes EpisodeSource::draw(const std::vector<int64_t>& numbers) const {
  Episodes episodes;
  for (const int64_t number : numbers) append(number, episodes);
  return episodes;
}

Episodes EpisodeSource::draw(int64_t begin, int64_t count) const {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), begin);
  return draw(numbers);
}

int64_t EpisodeSource::rows() const {
  int64_t sum = 0;
  for (const TaskGroup& group : groups_) {
    for (const TaskClass& one : group.classes) sum += static_cast<int64_t>(one.rows.size());
  }
  return sum;
}

int64_t EpisodeSource::classes() const {
  std::set<std::string> names;
  for (const TaskGroup& group : groups_) {
    for (const TaskClass& one : group.classes) names.insert(one.name);
  }
  return static_cast<int64_t>(names.size());
}

torch::Tensor episode_labels(int64_t ways, int64_t count) {
  return torch::arange(ways).repeat_interleave(count);
}

std::vector<std::string> names_in_list(const std::string& list, const std::vector<std::string>& known,
                                       const std::string& field) {
  std::vector<std::string> found;
  const auto add = [&](const std::string& name) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw InputError(
          fmt::format("{}: the data have no '{}'; there are {}", field, name, fmt::join(known, ", ")));
    }
    if (std::find(found.begin(), found.end(), name) != found.end()) {
      throw InputError(fmt::format("{}: '{}' is given twice", field, name));
    }
    found.push_back(name);
  };
  size_t begin = 0;
  while (begin <= list.size()) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string item(trimmed(std::string_view(list).substr(begin, end - begin)));
    begin = end + 1;
    if (item.empty()) throw InputError(fmt::format("{} = '{}': an item of the list is empty", field, list));
    const size_t dash = item.find('-', 1);  // a leading minus belongs to a name such as -1
    const bool is_name = std::find(known.begin(), known.end(), item) != known.end();
    const auto low = dash == std::string::npos ? std::nullopt : whole_number(item.substr(0, dash));
    const auto high = dash == std::string::npos ? std::nullopt : whole_number(item.substr(dash + 1));
    if (is_name || !low || !high) {
      add(item);
      continue;
    }
    if (*low > *high) throw InputError(fmt::format("{}: the range '{}' runs backward", field, item));
    if (*high - *low > 1'000'000) add(item);  // names the item instead of a million numbers
    for (int64_t number = *low; number <= *high; ++number) add(std::to_string(number));
  }
  return found;
}

}  // namespace bilevel
