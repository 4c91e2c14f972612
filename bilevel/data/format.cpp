#include "bilevel/data/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

constexpr std::pair<std::string_view, Format> kSuffixes[] = {
    {".csv", Format::csv},      {".tsv", Format::tsv},        {".jsonl", Format::jsonl},
    {".ndjson", Format::jsonl}, {".libsvm", Format::libsvm},  {".svm", Format::libsvm},
    {".idx", Format::idx},      {"-idx3-ubyte", Format::idx}, {".idx3-ubyte", Format::idx}};

constexpr std::string_view kForeign[] = {".xlsx",  ".xls", ".ods", ".parquet", ".feather",
                                         ".arrow", ".pkl", ".h5",  ".sqlite",  ".zip",
                                         ".7z",    ".rar", ".tar", ".bz2",     ".xz"};

/// The format that an ending in lower case tells.
std::optional<Format> format_by_ending(std::string_view name) {
  for (const std::string_view packed : {".gz", ".zst"}) {
    if (name.ends_with(packed)) name.remove_suffix(packed.size());
  }
  for (const auto& [suffix, known] : kSuffixes) {
    if (name.ends_with(suffix)) return known;
  }
  return std::nullopt;
}

}  // namespace

Format format_of(const std::string& path, Format format) {
  if (format != Format::automatic) return format;
  std::string name = path;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (const auto told = format_by_ending(name)) return *told;
  const std::string images = name.substr(0, name.rfind(','));  // IMAGES,LABELS
  if (format_by_ending(images) == Format::idx) return Format::idx;
  for (const std::string_view foreign : kForeign) {
    if (name.ends_with(foreign))
      fail_at({path},
              fmt::format("{} files are not read; save or convert it as csv (UTF-8), as by {}", foreign,
                          foreign.starts_with(".xls") ? "the program that made it" : "pandas and to_csv"));
  }
  fail_at({path},
          "the format does not show in the file's name; give it (--format csv, tsv, jsonl, libsvm or idx)");
}

}  // namespace bilevel
