#include "bilevel/data/idx_rows.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "bilevel/data/idx.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

/// The name of the labels' file that belongs to a file of images; empty when its name does not tell.
std::string labels_beside(const std::string& images) {
  const fs::path path(images);
  std::string name = path.filename().string();
  const std::string mark = "images-idx";
  const size_t at = name.rfind(mark);
  if (at == std::string::npos) return {};
  name.replace(at, mark.size() + 1, "labels-idx1");  // the digit counts dimensions
  return (path.parent_path() / name).string();
}

}  // namespace

IdxFiles idx_files(const std::string& name) {
  const size_t comma = name.rfind(',');
  if (comma != std::string::npos && !fs::exists(name)) return {name.substr(0, comma), name.substr(comma + 1)};
  std::string labels = labels_beside(name);
  const bool packed = labels.ends_with(".gz");
  const std::string other = packed ? labels.substr(0, labels.size() - 3) : labels + ".gz";
  if (labels.empty() || fs::exists(labels)) return {name, labels};
  return {name, fs::exists(other) ? other : std::string()};
}

std::vector<std::string> files_behind(const std::string& name) {
  const auto [images, labels] = idx_files(name);
  return labels.empty() ? std::vector{images} : std::vector{images, labels};
}

SparseTable read_idx_rows(const std::string& name, const LibsvmOptions& options) {
  const auto [images, labels] = idx_files(name);
  SparseTable table{.path = images, .labels = {}, .features = {}, .lines = {}, .pixels = true};
  torch::Tensor array;
  if (!labels.empty()) {
    const auto read = read_labelled_idx(images, labels);
    array = read.examples;
    const auto* number = read.labels.data_ptr<int64_t>();
    table.labels.assign(number, number + read.labels.numel());
  } else {
    array = read_idx(images);
    if (array.dim() < 2)
      throw InputError(images + ": byte 3: an array of 1 dimension; images need 2 or more");
    if (options.labels_required) {
      const std::string beside = labels_beside(images);
      throw InputError(fmt::format("{}: there is no file of labels: give IMAGES,LABELS{}", images,
                                   beside.empty() ? "" : " or put " + beside + " there"));
    }
  }
  const int64_t dimensions = array.dim();
  const auto bytes = static_cast<int64_t>(array.element_size());
  array = array.flatten(1);
  const int64_t rows = array.size(0), width = array.size(1);
  SparseRowsBuilder builder;
  for (int64_t row = 0; row < rows; ++row) {
    const torch::Tensor values = array[row].to(torch::kFloat32);
    const float* value = values.data_ptr<float>();
    for (int64_t i = 0; i < width; ++i) {
      if (value[i] == 0) continue;
      if (!std::isfinite(value[i])) {
        throw InputError(fmt::format("{}: byte {}: a value of row {} is not a finite number of float32",
                                     images, 4 + 4 * dimensions + (row * width + i) * bytes, row + 1));
      }
      builder.add_entry(i, value[i]);
    }
    builder.end_row();
  }
  table.features = builder.finish(width);
  table.lines.resize(static_cast<size_t>(rows));
  std::iota(table.lines.begin(), table.lines.end(), 1);
  return table;
}

}  // namespace bilevel
