// The labels of a job's files.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/class_key.h"
#include "bilevel/task/job/job_data.h"

namespace bilevel {

/// Labels of the first file that differ in spelling alone are refused or become the most frequent of them, in all files.
void JobFiles::settle_spellings(const JobOptions& options) {
  if (options.label_spelling == LabelSpelling::keep || options.label.empty()) return;
  struct Spelling {
    int64_t rows = 0;
    size_t first = 0;  // row
  };
  std::map<std::string, std::string> usual;  // spelling key -> what the first file has most
  for (JobFile& file : files_) {
    auto* table = std::get_if<Table>(&file.file);
    const std::optional<size_t> column = table == nullptr ? std::nullopt : table->find_column(options.label);
    if (!column) continue;
    std::map<std::string, std::map<std::string, Spelling>> found;  // key -> spellings
    for (size_t row = 0; row < table->rows(); ++row) {
      const std::string text(trimmed(table->cell(row, *column)));
      Spelling& spelling = found[spelling_key(text)][text];
      if (spelling.rows++ == 0) spelling.first = row;
    }
    for (const auto& [key, spellings] : found) {
      if (&file == &files_.front()) {
        const auto most =
            std::ranges::max_element(spellings, {}, [](const auto& one) { return one.second.rows; });
        usual.emplace(key, most->first);
      }
      const auto known = usual.find(key);
      for (const auto& [text, spelling] : spellings) {
        if (known == usual.end() || class_key(text) == class_key(known->second)) continue;
        if (options.label_spelling == LabelSpelling::merge) {
          file.respelled.emplace(text, known->second);
        } else {
          fail_at(
              table->position(spelling.first, *column),
              fmt::format(
                  "the label '{}' ({} row{}) differs from '{}' of {} in case, blanks or Unicode form alone; "
                  "--label-spelling merge takes them as one class, --label-spelling keep as two",
                  text, spelling.rows, spelling.rows == 1 ? "" : "s", known->second, files_[0].path));
        }
      }
    }
    if (!file.respelled.empty()) file.respelled_rows = table->replace(*column, file.respelled);
  }
}

/// Which classes are small, the first file alone says.
void JobFiles::leave_out_rare(const std::string& label, int64_t least) {
  ClassIndex index;  // of the first file's classes
  std::vector<int64_t> counts;
  int64_t offset = 0;
  for (JobFile& file : files_) {
    const ClassLabels labels = std::visit(
        [&]<typename File>(const File& read) {
          if constexpr (std::is_same_v<File, Table>)
            return read_classes(read, read.column(label), /*least=*/1);
          else
            return read_classes(read, /*least=*/1);
        },
        file.file);
    if (&file == &files_.front()) {
      index = ClassIndex(labels.names);
      counts = labels.counts;
    }
    std::map<std::string, int64_t> rare;
    std::vector<size_t> kept;
    for (size_t row = 0; row < labels.classes.size(); ++row) {
      const std::string& name = labels.names[static_cast<size_t>(labels.classes[row])];
      const std::optional<int64_t> known = index.find_loosely(name);
      if (known && counts[static_cast<size_t>(*known)] < least)
        ++rare[name];
      else
        kept.push_back(row);
    }
    if (kept.empty())
      fail_at({file.path},
              fmt::format("min_rows = {}: every class has fewer rows in {}", least, files_[0].path));
    if (!rare.empty()) std::visit([&](auto& read) { read.keep_rows(kept); }, file.file);
    file.rare.assign(rare.begin(), rare.end());
    file.offset = offset;
    offset += rows_of(file.file);
  }
}

namespace {

/// Of a further file; classes of its own come last.
void append(ClassLabels more, ClassLabels& all) {
  std::vector<int64_t> number;  // of its classes
  for (size_t c = 0; c < more.names.size(); ++c) {
    const auto found = std::ranges::find(all.names, more.names[c]) - all.names.begin();
    if (found == std::ssize(all.names)) {
      all.names.push_back(more.names[c]);
      all.counts.push_back(0);
    }
    number.push_back(found);
    all.counts[static_cast<size_t>(found)] += more.counts[c];
  }
  for (const int64_t c : more.classes) all.classes.push_back(number[static_cast<size_t>(c)]);
}

}  // namespace

ClassLabels JobFiles::classes(const std::string& label) const {
  ClassLabels all;
  const size_t least = other_classes_ ? 1 : 2;
  for (const JobFile& file : files_) {
    const bool first = &file == &files_.front(), own = first || other_classes_;
    const std::string origin = files_.front().path;
    ClassLabels labels;
    if (const auto* sparse = std::get_if<SparseTable>(&file.file)) {
      labels = own ? read_classes(*sparse, least) : read_classes(*sparse, all.names, origin);
    } else {
      const Table& table = std::get<Table>(file.file);
      if (label.empty()) throw InputError("--label COL is missing: which column holds the class?");
      const size_t column = table.column(label);
      labels = own ? read_classes(table, column, least) : read_classes(table, column, all.names, origin);
    }
    if (first) {
      all = std::move(labels);
      continue;
    }
    append(std::move(labels), all);
  }
  return all;
}

}  // namespace bilevel
