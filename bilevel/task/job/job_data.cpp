#include "bilevel/task/job/job_data.h"

#include <fmt/format.h>

#include <numeric>
#include <stdexcept>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/core/streams.h"

namespace bilevel {

std::vector<int64_t> all_rows(int64_t count) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

std::vector<int64_t> evenly(const std::vector<int64_t>& rows, int64_t most) {
  std::vector<int64_t> sample;
  const auto all = static_cast<int64_t>(rows.size()), count = std::min(all, most);
  for (int64_t i = 0; i < count; ++i) sample.push_back(rows[static_cast<size_t>(i * all / count)]);
  return sample;
}

torch::Tensor at_rows(const torch::Tensor& values, const std::vector<int64_t>& rows) {
  return values.index_select(0, torch::tensor(rows, torch::kInt64));
}

FeatureOptions feature_options(const JobOptions& o, const std::string& encoder, int64_t max_length) {
  FeatureOptions features{
      .encoder = encoder, .text = o.text, .embedding = o.embedding, .max_length = max_length};
  if (o.features != "all") features.columns = split_list(o.features);
  features.label = o.label;
  features.categorical = split_list(o.categorical);
  return features;
}

namespace {

/// Leaves out the rows whose label is empty; their number.
int64_t drop_unlabelled(Table& table, const std::string& label) {
  const size_t column = table.column(label);
  std::vector<size_t> labelled;
  for (size_t row = 0; row < table.rows(); ++row) {
    if (!trimmed(table.cell(row, column)).empty()) labelled.push_back(row);
  }
  const size_t all = table.rows();
  if (labelled.empty()) fail_at({table.path()}, fmt::format("no row has a label (column '{}')", label));
  table.keep_rows(labelled);
  return static_cast<int64_t>(all - labelled.size());
}

}  // namespace

void JobFiles::add(const std::vector<std::pair<std::string, std::string>>& files, const JobOptions& options) {
  for (const auto& [role, path] : files) {
    if (path.empty()) continue;
    add(role, path, options.read.table());
    auto* table = std::get_if<Table>(&files_.back().file);
    if (options.drop_unlabelled && table != nullptr && !options.label.empty())
      files_.back().unlabelled = drop_unlabelled(*table, options.label);
  }
  settle_spellings(options);
  if (options.min_rows) leave_out_rare(options.label, *options.min_rows);
}

void JobFiles::plan(JobOptions& o, ColumnChoice own) {
  const auto* table = std::get_if<Table>(&files_.at(0).file);
  if (table == nullptr) return;
  if (!o.text.empty()) own.texts.push_back(o.text);
  if (!o.features.empty() && o.features != "all") own.features = split_list(o.features);
  own.label = o.label;
  own.drop = split_list(o.drop);
  own.categorical = split_list(o.categorical);
  own.numeric = split_list(o.numeric);
  plan_ = plan_columns(*table, own);
  if (!own.texts.empty()) return;
  if (const std::vector<size_t> texts = plan_->indices(ColumnUse::text); !texts.empty()) {
    o.text = table->names()[texts[0]];
    o.features.clear();
  }
}

const JobFile& JobFiles::add(const std::string& role, const std::string& path, const TableOptions& options) {
  const int64_t offset = rows();
  files_.push_back({.role = role, .path = path, .file = read_data_file(path, options), .offset = offset});
  return files_.back();
}

int64_t JobFiles::rows() const {
  return files_.empty() ? 0 : files_.back().offset + rows_of(files_.back().file);
}

std::vector<int64_t> JobFiles::rows_of_role(const std::string& role) const {
  std::vector<int64_t> rows;
  for (const JobFile& file : files_) {
    if (file.role != role) continue;
    const size_t begin = rows.size();
    rows.resize(begin + static_cast<size_t>(bilevel::rows_of(file.file)));
    std::iota(rows.begin() + static_cast<std::ptrdiff_t>(begin), rows.end(), file.offset);
  }
  return rows;
}

std::pair<const JobFile*, int64_t> JobFiles::source_of(int64_t row) const {
  for (const JobFile& file : files_) {
    if (row >= file.offset && row < file.offset + rows_of(file.file)) return {&file, row - file.offset};
  }
  throw std::logic_error("a row belongs to no file");
}

std::vector<Column> JobFiles::places(const std::vector<int64_t>& rows) const {
  Column path{"file"}, line{"line"};
  for (const int64_t row : rows) {
    const auto [file, local] = source_of(row);
    path.cells.push_back(file->path);
    line.cells.push_back(std::to_string(position_of(file->file, local).line));
  }
  return {path, line};
}

std::string JobFiles::row_text(int64_t row, const std::string& text_column) const {
  const auto [file, local] = source_of(row);
  const auto* table = std::get_if<Table>(&file->file);
  if (table == nullptr) return fmt::format("{}, line {}", file->path, position_of(file->file, local).line);
  const auto at = static_cast<size_t>(local);
  if (!text_column.empty()) return std::string(table->cell(at, table->column(text_column)));
  std::string text;
  for (size_t column = 0; column < table->columns(); ++column)
    text += fmt::format("{}{}", column > 0 ? ", " : "", table->cell(at, column));
  return text;
}

std::vector<std::string> JobFiles::paths(const JobOptions& options) const {
  std::vector<std::string> paths;
  for (const JobFile& file : files_) paths.push_back(file.path);
  if (!options.embedding.empty()) paths.push_back(options.embedding);
  if (!options.sentence_encoder.empty()) {
    for (std::string& path : sentence_encoder_files(sentence_encoder_folder(options.sentence_encoder)))
      paths.push_back(std::move(path));
  }
  return paths;
}

std::vector<FileRows> JobFiles::by_file(const std::vector<int64_t>& rows) const {
  std::vector<FileRows> parts;
  for (const JobFile& file : files_) {
    FileRows part{&file.file, {}};
    const int64_t end = file.offset + rows_of(file.file);
    for (const int64_t row : rows) {
      if (row >= file.offset && row < end) part.rows.push_back(row - file.offset);
    }
    if (!part.rows.empty()) parts.push_back(std::move(part));
  }
  return parts;
}

std::pair<std::shared_ptr<const Features>, FittedInputs> JobFiles::fit(const FeatureOptions& options,
                                                                       const std::vector<int64_t>& rows,
                                                                       uint64_t seed) const {
  Streams streams(seed);
  FeatureOptions planned = options;
  if (plan_) planned.plan = &*plan_;
  planned.sentences = sentences_;
  const auto features =
      std::make_shared<const Features>(Features::fit(planned, by_file(rows), streams.stream("embedding")));
  std::vector<Inputs> parts;
  for (const JobFile& file : files_) parts.push_back(features->apply(file.file));
  return {features, {parts.size() == 1 ? parts[0] : Inputs::concatenate(parts), features->shape()}};
}

std::vector<std::string> JobFiles::unseen_categories(const Features& features) const {
  std::vector<std::string> notes;
  for (size_t i = 1; i < files_.size(); ++i) {
    const auto* table = std::get_if<Table>(&files_[i].file);
    if (table == nullptr) continue;
    for (const UnseenCategories& unseen : features.unseen(*table)) {
      notes.push_back(
          fmt::format("{}: {} of {} cells of column '{}' hold categories that no training row has",
                      files_[i].path, unseen.cells, unseen.of, unseen.column));
    }
  }
  return notes;
}

}  // namespace bilevel
