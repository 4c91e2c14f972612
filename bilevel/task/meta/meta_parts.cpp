#include "bilevel/task/meta/meta_parts.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <map>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"

namespace bilevel {
namespace {

torch::Tensor permutation(uint64_t seed, const std::string& name, size_t count) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed, name));
  return torch::randperm(static_cast<int64_t>(count), generator);
}

/// Cells of a column for all rows of all files.
std::vector<std::string> cells_of(const JobFiles& files, const std::string& column, const char* what) {
  std::vector<std::string> cells;
  for (const JobFile& file : files.files()) {
    const auto* table = std::get_if<Table>(&file.file);
    if (table == nullptr)
      throw InputError(fmt::format("{}: has no named columns, so no {}", file.path, what));
    const size_t index = table->column(column);
    for (size_t row = 0; row < table->rows(); ++row) {
      cells.emplace_back(table->cell(row, index));
      if (cells.back().empty()) fail_at(table->position(row, index), fmt::format("the {} is missing", what));
    }
  }
  return cells;
}

class Division {
 public:
  Division(const MetaJobOptions& options, const JobFiles& files) : o_(options), files_(files) {
    const ClassLabels labels = files.classes(options.label);
    parts_.classes = labels.names;
    parts_.labels = labels.classes;
    if (!options.domain.empty()) domains_ = cells_of(files, options.domain, "domain");
  }

  MetaParts divide() {
    if (o_.tests_file()) {
      by_rows();
    } else if (o_.valid.empty()) {
      // Before classes are counted: what no division can mend. Lists may leave small classes out.
      if (o_.train_classes.empty()) {
        check_rows(groups(files_.rows_of_role("train")),
                   {.ways = *o_.ways, .shots = o_.shots, .queries = o_.queries}, "the file");
      }
      by_lists();
    } else {
      throw InputError("--valid gives a file, but --test does not; give both, or neither");
    }
    return std::move(parts_);
  }

 private:
  /// Rows by domain (one group without domains) and class.
  std::vector<TaskGroup> groups(const std::vector<int64_t>& rows) const {
    std::map<std::string, std::map<int64_t, std::vector<int64_t>>> sorted;
    for (const int64_t row : rows) {
      const auto at = static_cast<size_t>(row);
      sorted[domains_.empty() ? "" : domains_[at]][parts_.labels[at]].push_back(row);
    }
    std::vector<TaskGroup> groups;
    for (auto& [domain, classes] : sorted) {
      TaskGroup group{.name = domain, .classes = {}};
      for (auto& [c, members] : classes) {
        group.classes.push_back({parts_.classes[static_cast<size_t>(c)], std::move(members)});
      }
      groups.push_back(std::move(group));
    }
    return groups;
  }

  void by_rows() {
    parts_.units = "rows";
    for (const auto& [list, name] : {std::pair{&o_.train_classes, "train_classes"},
                                     {&o_.valid_classes, "valid_classes"},
                                     {&o_.test_classes, "test_classes"}}) {
      if (!list->empty())
        throw InputError(fmt::format("{} divides one file, but --test gives a file of its own", name));
    }
    std::vector<int64_t> train = files_.rows_of_role("train"), valid = files_.rows_of_role("valid");
    if (o_.valid.empty()) {
      std::map<std::string, std::vector<int64_t>> by_text;
      for (const int64_t row : train) by_text[files_.row_text(row, o_.text)].push_back(row);
      std::vector<const std::vector<int64_t>*> texts;
      for (const auto& [text, rows] : by_text) texts.push_back(&rows);
      const torch::Tensor order = permutation(o_.seed, "meta.valid_rows", texts.size());
      train.clear();
      for (size_t i = 0; i < texts.size(); ++i) {
        const auto& rows = *texts[static_cast<size_t>(order[static_cast<int64_t>(i)].item<int64_t>())];
        auto& part = i < (texts.size() + 9) / 10 ? valid : train;
        part.insert(part.end(), rows.begin(), rows.end());
      }
      std::sort(train.begin(), train.end());
      std::sort(valid.begin(), valid.end());
    }
    parts_.train = groups(train);
    parts_.valid = groups(valid);
    parts_.test = groups(files_.rows_of_role("test"));
  }

  void by_lists() {
    const bool by_domain = !domains_.empty();
    parts_.units = by_domain ? "domains" : "classes";
    const auto unit_of = [&](int64_t row) {
      const auto at = static_cast<size_t>(row);
      return by_domain ? domains_[at] : parts_.classes[static_cast<size_t>(parts_.labels[at])];
    };
    const std::vector<int64_t> divided = files_.rows_of_role("train");  // all, or those that no fold holds
    std::set<std::string> of_rows;
    for (const int64_t row : divided) of_rows.insert(unit_of(row));
    std::vector<std::string> units(of_rows.begin(), of_rows.end());
    if (!by_domain && !o_.fold) units = parts_.classes;
    std::map<std::string, std::string> owner;  // unit -> part
    const auto take = [&](const std::string& list, const std::string& field) {
      if (list.empty()) return;
      for (const std::string& name : names_in_list(list, units, field)) {
        const auto [found, added] = owner.emplace(name, field);
        if (!added) throw InputError(fmt::format("'{}' stands in {} and in {}", name, found->second, field));
      }
    };
    take(o_.train_classes, "train_classes");
    take(o_.valid_classes, "valid_classes");
    take(o_.test_classes, "test_classes");
    const size_t least = by_domain ? 1 : static_cast<size_t>(*o_.ways);
    const auto fill = [&](const std::string& list, const std::string& field) {
      if (!list.empty()) return;
      std::vector<std::string> open;
      for (const std::string& unit : units) {
        if (owner.count(unit) == 0) open.push_back(unit);
      }
      const torch::Tensor order = permutation(o_.seed, "meta." + field, open.size());
      const size_t count = field == "train_classes" ? open.size() : std::max(least, units.size() / 5);
      if (count == 0 || count > open.size()) {
        throw InputError(fmt::format("{}: needs at least {} of the {}, but {} are left of {}", field,
                                     std::max(count, least), parts_.units, open.size(), units.size()));
      }
      for (size_t i = 0; i < count; ++i) {
        owner[open[static_cast<size_t>(order[static_cast<int64_t>(i)].item<int64_t>())]] = field;
      }
    };
    if (!o_.fold) fill(o_.test_classes, "test_classes");
    fill(o_.valid_classes, "valid_classes");
    fill(o_.train_classes, "train_classes");

    std::map<std::string, std::vector<int64_t>> rows;
    for (const int64_t row : divided) {
      if (const auto part = owner.find(unit_of(row)); part != owner.end()) rows[part->second].push_back(row);
    }
    parts_.train = groups(rows["train_classes"]);
    parts_.valid = groups(rows["valid_classes"]);
    parts_.test = groups(o_.fold ? files_.rows_of_role("test") : rows["test_classes"]);
  }

  const MetaJobOptions& o_;
  const JobFiles& files_;
  std::vector<std::string> domains_;
  MetaParts parts_;
};

}  // namespace

std::vector<int64_t> MetaParts::train_rows() const {
  std::vector<int64_t> rows;
  for (const TaskGroup& group : train) {
    for (const TaskClass& one : group.classes) rows.insert(rows.end(), one.rows.begin(), one.rows.end());
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

MetaParts meta_parts(const MetaJobOptions& options, const JobFiles& files) {
  return Division(options, files).divide();
}

}  // namespace bilevel
