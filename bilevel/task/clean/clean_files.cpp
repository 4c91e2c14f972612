#include "bilevel/task/clean/clean_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bilevel/core/files.h"
#include "bilevel/task/clean/edited_file.h"

namespace bilevel {
namespace {

/// The cells of some rows of a file, but its labels.
std::vector<Column> own_cells(const DataFile& file, const std::vector<int64_t>& rows,
                              const std::string& label_column) {
  std::vector<Column> columns;
  if (const auto* table = std::get_if<Table>(&file)) {
    const size_t label = table->column(label_column);
    for (size_t c = 0; c < table->columns(); ++c) {
      if (c == label) continue;
      columns.push_back({table->names()[c]});
      for (const int64_t row : rows) columns.back().cells.push_back(table->cell(static_cast<size_t>(row), c));
    }
    return columns;
  }
  const auto& sparse = std::get<SparseTable>(file);
  if (sparse.pixels) return columns;
  columns.push_back({"features"});
  const auto* offsets = sparse.features.offsets.const_data_ptr<int64_t>();
  const auto* indices = sparse.features.indices.const_data_ptr<int64_t>();
  const auto* values = sparse.features.values.const_data_ptr<float>();
  for (const int64_t row : rows) {
    std::vector<std::string> entries;
    for (int64_t i = offsets[row]; i < offsets[row + 1]; ++i)
      entries.push_back(fmt::format("{}:{}", indices[i] + 1, values[i]));
    columns.back().cells.push_back(fmt::format("{}", fmt::join(entries, " ")));
  }
  return columns;
}

}  // namespace

void write_suspicious(const CleanSetup& setup, const Cleaned& cleaned) {
  const torch::Tensor order = cleaned.judgement.right.argsort(/*stable=*/true, 0, /*descending=*/false)
                                  .narrow(0, 0, cleaned.suspicious().sum().item<int64_t>());
  std::vector<int64_t> rows;  // of the training file, which comes first
  for (int64_t i = 0; i < order.numel(); ++i) rows.push_back(order[i].item<int64_t>());
  std::vector<Column> columns = setup.data_files().places(rows);
  Column given = label_column(setup.class_names(), setup.classes_of(rows)),
         suggested = label_column(setup.class_names(), cleaned.judgement.suggested.index_select(0, order));
  suggested.name = "suggested_label";
  std::vector<Column> judged{given, suggested,
                             number_column("probability", cleaned.judgement.right.index_select(0, order))};
  std::vector<Column> cells = own_cells(setup.data_files().files().front().file, rows, setup.options().label);
  std::vector<Column> ours = columns;
  ours.insert(ours.end(), judged.begin(), judged.end());
  name_apart(cells, ours);
  for (std::vector<Column>* part : {&cells, &judged}) {
    for (Column& column : *part) columns.push_back(std::move(column));
  }
  write_tsv(setup.path("suspicious.tsv"), columns);
}

nlohmann::ordered_json write_cleaned(const CleanSetup& setup, const Cleaned& cleaned) {
  const CleanOptions& o = setup.options();
  const JobFile& file = setup.data_files().files().front();
  const Format format = format_of(file.path, o.read.table().format);
  if (format == Format::idx) return nullptr;
  const torch::Tensor given = setup.classes_of(setup.train()), suspicious = cleaned.suspicious();
  int64_t changed = 0, left_out = 0;
  const auto edit = [&](size_t row) -> RowEdit {
    const auto at = static_cast<int64_t>(row);
    const bool suspect = suspicious.const_data_ptr<bool>()[at];
    if (suspect && o.cleaned == CleanedRows::drop) {
      ++left_out;
      return {.left_out = true};
    }
    const auto own = (suspect ? cleaned.judgement.suggested : given).const_data_ptr<int64_t>()[at];
    if (own == setup.read_classes()[row]) return {};
    ++changed;
    return {.label = setup.name_of(own)};
  };
  const std::string name = fmt::format("cleaned.{}", name_of(format));
  write_file_atomically(setup.path(name), [&](const TextSink& take) {
    edit_file(file.file, o.label, o.read.table(), edit, take);
  });
  return {{"file", name}, {"labels_changed", changed}, {"rows_left_out", left_out}};
}

}  // namespace bilevel
