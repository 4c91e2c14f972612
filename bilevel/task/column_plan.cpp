#include "bilevel/task/column_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/task/telling_column.h"

namespace bilevel {
namespace {

constexpr size_t kNamesShown = 12;

std::string some_names(const std::vector<std::string>& names) {
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + std::min(names.size(), kNamesShown), ", "));
  if (names.size() > kNamesShown) text += fmt::format(" and {} others", names.size() - kNamesShown);
  return text;
}

/// "3 missing: 'NA' 2, empty 1".
std::string missing_text(const RecognizedColumn& column) {
  std::string marks;
  for (const auto& [mark, count] : column.marks)
    marks +=
        fmt::format("{}{} {}", marks.empty() ? "" : ", ", mark.empty() ? "empty" : "'" + mark + "'", count);
  const bool empty_alone = column.marks.size() == 1 && column.marks[0].first.empty();
  return fmt::format("{} missing{}", column.missing, empty_alone ? "" : ": " + marks);
}

class ColumnPlanner {
 public:
  ColumnPlanner(const Table& table, const ColumnChoice& choice)
      : table_(table), choice_(choice), wishes_(table.columns(), ColumnWish::none), uses_(table.columns()) {}

  ColumnPlan plan() {
    read_choice();
    std::vector<RecognizedColumn> recognized = recognize_columns(table_, wishes_);
    for (size_t i = 0; i < recognized.size(); ++i)
      plan_.columns.push_back({.column = std::move(recognized[i])});
    for (size_t i = 0; i < uses_.size(); ++i) decide(i);
    if (choice_.texts.empty() && choice_.features.empty()) settle_texts();
    look_for_label();
    return std::move(plan_);
  }

 private:
  std::vector<size_t> mark(const std::vector<std::string>& names, ColumnUse use) {
    std::vector<size_t> marked;
    for (const std::string& name : names) {
      marked.push_back(table_.column(name));
      if (marked.back() == label_) refuse_label(use == ColumnUse::text ? "text" : "a feature", name);
      uses_[marked.back()] = use;
    }
    return marked;
  }

  [[noreturn]] void refuse_label(const std::string& as, const std::string& name) const {
    throw InputError(as == "text" ? fmt::format("the label column '{}' is also named as the text", name)
                                  : fmt::format("the label column '{}' is also listed as {}", name, as));
  }

  /// What the caller says of each column.
  void read_choice() {
    if (!choice_.label.empty()) label_ = table_.column(choice_.label);
    mark(choice_.texts, ColumnUse::text);
    for (const size_t i : mark(choice_.features, ColumnUse::feature)) listed_.push_back(i);
    for (const std::string& name : choice_.excluded) exclude(table_.column(name), name);
    for (const std::string& name : choice_.excluded_if_there) {
      if (const auto i = table_.find_column(name)) exclude(*i, name);
    }
    if (label_) uses_[*label_] = ColumnUse::label;
    for (const std::string& name : choice_.drop) drop(name);
    wish(choice_.categorical, ColumnWish::category, "categorical");
    wish(choice_.numeric, ColumnWish::number, "numeric");
    const bool reads_texts = !choice_.texts.empty();
    for (size_t i = 0; i < uses_.size(); ++i) {
      const bool read = uses_[i] ? *uses_[i] == ColumnUse::feature : !reads_texts && choice_.features.empty();
      if (!read) wishes_[i] = ColumnWish::unread;
    }
  }

  void exclude(size_t column, const std::string& name) {
    if (column == label_) refuse_label("groups or domains", name);
    uses_[column] = ColumnUse::other;
  }

  void drop(const std::string& name) {
    const size_t i = table_.column(name);
    if (uses_[i] && *uses_[i] != ColumnUse::left_out)
      throw InputError(
          fmt::format("drop = {}: the column is also named as the {}", name, name_of(*uses_[i])));
    uses_[i] = ColumnUse::left_out;
  }

  void wish(const std::vector<std::string>& names, ColumnWish wanted, const std::string& as) {
    for (const std::string& name : names) {
      const size_t i = table_.column(name);
      const bool feature =
          uses_[i] ? *uses_[i] == ColumnUse::feature : choice_.texts.empty() && choice_.features.empty();
      if (!feature)
        fail_at({table_.path()},
                fmt::format("column '{}' is named {}, but is not one of the features", name, as));
      if (wishes_[i] != ColumnWish::none)
        throw InputError(fmt::format("column '{}' is named categorical and numeric", name));
      wishes_[i] = wanted;
    }
  }

  void decide(size_t i) {
    PlannedColumn& planned = plan_.columns[i];
    if (uses_[i]) {
      planned.use = *uses_[i];
      if (planned.use == ColumnUse::left_out) planned.why = "dropped";
      if (planned.use == ColumnUse::feature) table_.check_cells(i);
      return;
    }
    if (wishes_[i] == ColumnWish::unread) {
      planned.why = choice_.texts.empty() ? "not among --features" : "the text alone is read";
      return;
    }
    const ColumnKind kind = planned.column.kind;
    if (kind == ColumnKind::number || kind == ColumnKind::date || kind == ColumnKind::category) {
      planned.use = ColumnUse::feature;
    } else if (kind == ColumnKind::text) {
      planned.use = ColumnUse::text;
    } else {
      planned.why = (kind == ColumnKind::identifier ? "identifier: " : "") + planned.column.why;
    }
  }

  /// What becomes of columns that look like texts, where nobody has named one.
  void settle_texts() {
    const std::vector<size_t> texts = plan_.indices(ColumnUse::text);
    const bool others = !plan_.indices(ColumnUse::feature).empty();
    if (texts.empty()) {
      if (!others) refuse_nothing();
      return;
    }
    if (texts.size() == 1 && !others) return;
    std::vector<std::string> long_ones;
    for (const size_t i : texts) {
      PlannedColumn& planned = plan_.columns[i];
      if (!others || planned.column.words >= kLongText) long_ones.push_back(planned.column.name);
      planned.use = ColumnUse::left_out;
      planned.why = fmt::format("text (--text '{}' reads it instead of the columns)", planned.column.name);
    }
    if (long_ones.empty()) return;
    throw InputError(fmt::format(
        "{}: {} {} text{}; did you mean --text '{}'?{}", table_.path(), quoted(long_ones),
        long_ones.size() == 1 ? "looks like a" : "look like", long_ones.size() == 1 ? "" : "s", long_ones[0],
        others ? fmt::format(" A job reads a text or columns: --drop '{}' leaves it out",
                             fmt::join(long_ones, ","))
               : std::string()));
  }

  static std::string quoted(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
    return (names.size() == 1 ? "column " : "columns ") + text;
  }

  [[noreturn]] void refuse_nothing() const {
    std::string reasons;
    for (const PlannedColumn& planned : plan_.columns) {
      if (planned.use == ColumnUse::left_out)
        reasons += fmt::format("{}{} ({})", reasons.empty() ? "" : ", ", planned.column.name, planned.why);
    }
    fail_at({table_.path()},
            fmt::format("there is no feature column{}; --features or --text names one that is to be read",
                        reasons.empty() ? "" : "; left out: " + reasons));
  }

  /// Refuses a feature that is the label in other words, and notes one that tells it.
  void look_for_label() {
    if (!label_) return;
    for (const size_t i : plan_.indices(ColumnUse::feature)) {
      if (std::ranges::count(listed_, i) > 0) continue;
      RecognizedColumn& column = plan_.columns[i].column;
      const Telling told = telling(table_, i, column, *label_, choice_.positive);
      if (told.is_label) {
        throw InputError(fmt::format(
            "{}: column '{}' is the label in other words: {}; leave it out (--drop '{}'), or name "
            "all columns that are features (--features)",
            table_.path(), column.name, told.how, column.name));
      }
      if (told.how.empty()) continue;
      column.doubt += fmt::format("{}{}; if it is known only when the label is, leave it out (--drop '{}')",
                                  column.doubt.empty() ? "" : "; ", told.how, column.name);
    }
  }

  const Table& table_;
  const ColumnChoice& choice_;
  std::optional<size_t> label_;
  std::vector<ColumnWish> wishes_;
  std::vector<std::optional<ColumnUse>> uses_;  // what the caller says
  std::vector<size_t> listed_;
  ColumnPlan plan_;
};

std::string plural(ColumnKind kind, size_t count) {
  const std::string name = name_of(kind);
  if (count == 1) return name;
  return kind == ColumnKind::category ? "categories" : name + "s";
}

}  // namespace

std::vector<size_t> ColumnPlan::indices(ColumnUse use) const {
  std::vector<size_t> found;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].use == use) found.push_back(i);
  }
  return found;
}

std::vector<RecognizedColumn> ColumnPlan::recognized() const {
  std::vector<RecognizedColumn> all;
  for (const PlannedColumn& planned : columns) all.push_back(planned.column);
  return all;
}

std::vector<std::string> ColumnPlan::lines() const {
  std::vector<std::string> lines;
  for (const ColumnKind kind :
       {ColumnKind::number, ColumnKind::date, ColumnKind::category, ColumnKind::text}) {
    std::vector<std::string> names;
    for (const auto& [column, use, why] : columns) {
      const bool is_text = use == ColumnUse::text;
      if (use != ColumnUse::feature && !is_text) continue;
      const ColumnKind read_as = is_text                                    ? ColumnKind::text
                                 : column.reading.as == CellReading::number ? ColumnKind::number
                                 : column.reading.as == CellReading::date   ? ColumnKind::date
                                                                            : ColumnKind::category;
      if (read_as != kind) continue;
      std::vector<std::string> facts;
      if (const std::string notation = column.notation(); !notation.empty()) facts.push_back(notation);
      if (kind == ColumnKind::category) facts.push_back(fmt::format("{} values", column.distinct));
      if (column.missing > 0) facts.push_back(missing_text(column));
      names.push_back(column.name + (facts.empty() ? "" : fmt::format(" ({})", fmt::join(facts, "; "))));
    }
    if (!names.empty())
      lines.push_back(
          fmt::format("  {} {}: {}", names.size(), plural(kind, names.size()), some_names(names)));
  }
  std::map<std::string, std::vector<std::string>> reasons;
  for (const auto& [column, use, why] : columns) {
    if (use == ColumnUse::left_out) reasons[why].push_back(column.name);
  }
  if (!reasons.empty()) {
    std::string left;
    for (const auto& [why, names] : reasons)
      left += fmt::format("{}{} ({})", left.empty() ? "" : "; ", some_names(names), why);
    lines.push_back("  left out: " + left);
  }
  for (const auto& [column, use, why] : columns) {
    if (use == ColumnUse::feature && !column.doubt.empty())
      lines.push_back(fmt::format("  look at {}: {}", column.name, column.doubt));
  }
  return lines;
}

nlohmann::ordered_json ColumnPlan::to_json() const {
  using Json = nlohmann::ordered_json;
  Json all = Json::array();
  for (const auto& [column, use, why] : columns) {
    const bool is_read = use == ColumnUse::feature || (use == ColumnUse::left_out && column.distinct > 0);
    Json entry{{"name", column.name},
               {"use", name_of(use)},
               {"kind", is_read ? Json(name_of(column.kind)) : Json(nullptr)},
               {"why", why.empty() ? Json(nullptr) : Json(why)}};
    if (use == ColumnUse::feature) {
      entry["notation"] = column.notation();
      entry["missing"] = column.missing;
      for (const auto& [mark, count] : column.marks) entry["marks"][mark] = count;
      entry["distinct"] = column.distinct;
      entry["doubt"] = column.doubt.empty() ? Json(nullptr) : Json(column.doubt);
    }
    all.push_back(std::move(entry));
  }
  return all;
}

ColumnPlan plan_columns(const Table& table, const ColumnChoice& choice) {
  return ColumnPlanner(table, choice).plan();
}

}  // namespace bilevel
