// JSON in files.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"

namespace bilevel {

/// What a JSON file holds; `Json`: nlohmann::json, or ordered_json to keep the order of names. Throws FileError, naming the file, where
/// it cannot be read or is no JSON.
template <typename Json = nlohmann::json>
Json parse_json_file(const std::string& path) {
  try {
    return Json::parse(read_file(path));
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace bilevel
