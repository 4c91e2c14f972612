#include "bilevel/task/job/row_units.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/class_key.h"

namespace bilevel {
namespace {

/// What two rows have in common where they are the same.
class RowContent {
 public:
  RowContent(const JobFiles& files, const std::vector<ReadColumn>& columns) : columns_(columns) {
    for (const JobFile& file : files.files()) {
      Source source{&file, {}};
      if (const auto* table = std::get_if<Table>(&file.file)) {
        for (const ReadColumn& column : columns) source.columns.push_back(table->column(column.name));
      }
      sources_.push_back(std::move(source));
    }
  }
  /// Its parts, one after the other.
  template <typename F>
  void each(size_t file, int64_t row, const F& f) const {
    const Source& source = sources_[file];
    if (const auto* table = std::get_if<Table>(&source.file->file)) {
      for (size_t i = 0; i < columns_.size(); ++i)
        each_cell(*table, static_cast<size_t>(row), source.columns[i], columns_[i].reading, f);
      return;
    }
    const SparseRows& rows = std::get<SparseTable>(source.file->file).features;
    const auto* offsets = rows.offsets.const_data_ptr<int64_t>();
    const int64_t begin = offsets[row], count = offsets[row + 1] - begin;
    const auto part = [&](const void* data, int64_t bytes) {
      f(std::string_view(static_cast<const char*>(data), static_cast<size_t>(bytes)));
    };
    part(rows.indices.const_data_ptr<int64_t>() + begin, count * static_cast<int64_t>(sizeof(int64_t)));
    part(rows.values.const_data_ptr<float>() + begin, count * static_cast<int64_t>(sizeof(float)));
  }
  uint64_t hash(size_t file, int64_t row) const {
    uint64_t sum = 0x9E3779B97F4A7C15U;
    each(file, row, [&](std::string_view part) {
      sum = (sum ^ std::hash<std::string_view>()(part)) * 0xFF51AFD7ED558CCDU;
      sum ^= sum >> 32U;
    });
    return sum;
  }
  bool same(std::pair<size_t, int64_t> a, std::pair<size_t, int64_t> b) const {
    std::vector<std::string> parts;
    each(a.first, a.second, [&](std::string_view part) { parts.emplace_back(part); });
    size_t at = 0;
    bool all = true;
    each(b.first, b.second, [&](std::string_view part) { all = all && parts[at++] == part; });
    return all;
  }

 private:
  /// A number or a date as such, a category by its key, anything else as it stands.
  template <typename F>
  static void each_cell(const Table& table, size_t row, size_t column, const ColumnReading& reading,
                        const F& f) {
    const std::string_view cell = table.cell(row, column);
    std::optional<double> value;
    if (reading.as == CellReading::number) {
      if (const Number number = table.number(row, column, reading.notation); number.kind == CellKind::number)
        value = number.value + 0.0;  // -0 is 0
    } else if (reading.as == CellReading::date) {
      if (const auto moment = read_moment(cell, reading.order)) value = moment->days;
    } else {
      return f(std::string_view(class_key(cell)));
    }
    f(value ? std::string_view(reinterpret_cast<const char*>(&*value), sizeof(double)) : cell);
  }

  const std::vector<ReadColumn>& columns_;
  struct Source {
    const JobFile* file;
    std::vector<size_t> columns;
  };
  std::vector<Source> sources_;
};

/// Numbers that are joined, each with the smallest that it is joined with.
class Joined {
 public:
  explicit Joined(int64_t count) : of_(all_rows(count)) {}
  int64_t first(int64_t i) {
    while (at(i) != i) i = at(i) = at(at(i));
    return i;
  }
  void join(int64_t a, int64_t b) {
    a = first(a);
    b = first(b);
    at(std::max(a, b)) = std::min(a, b);
    any_ = any_ || a != b;
  }
  /// What `other` joins.
  void join(Joined& other) {
    for (size_t i = 0; other.any_ && i < of_.size(); ++i)
      join(other.first(static_cast<int64_t>(i)), static_cast<int64_t>(i));
  }
  std::vector<int64_t> all() {
    if (!any_) return {};
    for (size_t i = 0; i < of_.size(); ++i) of_[i] = first(static_cast<int64_t>(i));
    return of_;
  }

 private:
  int64_t& at(int64_t i) { return of_[static_cast<size_t>(i)]; }
  std::vector<int64_t> of_;
  bool any_ = false;
};

/// Returns how many rows of the first file belong to no group.
int64_t join_groups(const JobFiles& files, const std::string& group, Joined& joined) {
  int64_t ungrouped = 0;
  std::unordered_map<std::string, int64_t> first_of;
  for (const JobFile& file : files.files()) {
    const auto* table = std::get_if<Table>(&file.file);
    if (table == nullptr)
      throw InputError(
          fmt::format("group = {}: {} is a libsvm file, which has no columns", group, file.path));
    const size_t column = table->column(group);
    for (size_t row = 0; row < table->rows(); ++row) {
      const std::string value(table->cell(row, column));
      if (value.empty()) {
        if (file.offset == 0) ++ungrouped;
        continue;
      }
      const int64_t number = file.offset + static_cast<int64_t>(row);
      joined.join(first_of.emplace(value, number).first->second, number);
    }
  }
  return ungrouped;
}

constexpr size_t kFewValues = 10;  // of a number: such as a score from 1 to 5, a flag

/// Of the pairs of rows of a table those that would coincide in the columns, were these independent; or some number below `least`. None
/// where there are numbers with more than a few values: they hardly return.
double coincidences(const Table& table, const std::vector<ReadColumn>& columns, double least) {
  const auto rows = static_cast<double>(table.rows());
  double share = 1;
  for (const ReadColumn& read : columns) {
    const size_t column = table.column(read.name);
    std::unordered_map<std::string, double> counts;
    for (size_t row = 0; row < table.rows(); ++row) ++counts[class_key(table.cell(row, column))];
    if (read.reading.as != CellReading::category && counts.size() > kFewValues) return 0;
    double equal = 0;
    for (const auto& [value, count] : counts) equal += count * (count - 1);
    share *= equal / (rows * std::max(1.0, rows - 1));
    if (share * rows * (rows - 1) / 2 < least) break;
  }
  return share * rows * (rows - 1) / 2;
}

/// Calls `visit` with the rows that are the same, two at least, ascending: all of them, in one order for the same files.
template <typename Visit>
void for_each_copied(const JobFiles& files, const std::vector<ReadColumn>& columns, const Visit& visit) {
  const RowContent content(files, columns);
  std::vector<std::pair<uint64_t, int64_t>> keyed;  // 16 bytes a row
  keyed.reserve(static_cast<size_t>(files.rows()));
  for (size_t f = 0; f < files.files().size(); ++f) {
    const JobFile& file = files.files()[f];
    for (int64_t row = 0; row < rows_of(file.file); ++row)
      keyed.emplace_back(content.hash(f, row), file.offset + row);
  }
  std::sort(keyed.begin(), keyed.end());
  const auto place = [&](int64_t row) {
    const auto [file, local] = files.source_of(row);
    return std::pair{static_cast<size_t>(file - files.files().data()), local};
  };
  for (size_t begin = 0, end = 0; begin < keyed.size(); begin = end) {
    while (end < keyed.size() && keyed[end].first == keyed[begin].first) ++end;
    if (end == begin + 1) continue;
    std::vector<std::vector<int64_t>> found;  // several where contents of one hash differ
    for (size_t i = begin; i < end; ++i) {
      const int64_t row = keyed[i].second;
      const auto as = std::ranges::find_if(
          found, [&](const auto& same) { return content.same(place(same.front()), place(row)); });
      if (as == found.end())
        found.push_back({row});
      else
        as->push_back(row);
    }
    for (const std::vector<int64_t>& same : found) {
      if (same.size() > 1) visit(same);
    }
  }
}

}  // namespace

RowUnits row_units(const JobFiles& files, const std::vector<ReadColumn>& columns, const std::string& group,
                   bool no_text) {
  constexpr double kMoreThanChance = 3;
  RowUnits units;
  Joined contents(files.rows()), joined(files.rows());
  double pairs = 0;  // of the first file's rows that are the same
  for_each_copied(files, columns, [&](const std::vector<int64_t>& same) {
    std::map<const JobFile*, int64_t> of_file;
    for (const int64_t row : same) {
      contents.join(same.front(), row);
      ++of_file[files.source_of(row).first];
    }
    const JobFile* first = nullptr;  // that has them
    for (const JobFile& file : files.files()) {
      if (!of_file.contains(&file)) continue;
      if (first == nullptr)
        first = &file;
      else if (file.role != first->role)
        units.repeated[{file.role, first->role}] += of_file[&file];
    }
    if (first != &files.files().front()) return;
    const int64_t in_first = of_file[first];
    pairs += static_cast<double>(in_first) * static_cast<double>(in_first - 1) / 2;
    units.copies += in_first - 1;
  });
  const auto* table = std::get_if<Table>(&files.files().at(0).file);
  units.content_of = contents.all();
  units.chance = no_text && table != nullptr && pairs > 0 &&
                 pairs <= kMoreThanChance * coincidences(*table, columns, pairs / kMoreThanChance);
  if (units.chance) {
    units.copies = 0;
    units.repeated.clear();
  } else {
    joined.join(contents);
  }
  if (!group.empty()) {
    Joined groups(files.rows());
    units.ungrouped = join_groups(files, group, groups);
    units.group_of = groups.all();
    joined.join(groups);
  }
  units.unit_of = joined.all();
  return units;
}

}  // namespace bilevel
