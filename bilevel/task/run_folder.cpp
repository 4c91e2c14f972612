#include "bilevel/task/run_folder.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <filesystem>
#include <optional>

#include "bilevel/core/error.h"
#include "bilevel/data/idx_rows.h"
#include "bilevel/data/lines.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kRunFolders[] = {"parts", "runs"};  // in the folder of a run
// What runs leave there, beside pictures (.svg) and cleaned.<format>.
constexpr std::string_view kRunFiles[] = {".lock",
                                          "checkpoint.safetensors",
                                          "episodes.tsv",
                                          "encoder_choice.json",
                                          "explain.tsv",
                                          "model.json",
                                          "model.safetensors",
                                          "odd_rows.tsv",
                                          "options.json",
                                          "out_of_fold.tsv",
                                          "predictions.tsv",
                                          "report.html",
                                          "summary.json",
                                          "suspicious.tsv",
                                          "table.tsv",
                                          "trees.ubj",
                                          "trace.jsonl",
                                          "weights.tsv",
                                          "hyperparameters.tsv",
                                          "sources.tsv"};

std::string options_path(const std::string& folder) { return (fs::path(folder) / "options.json").string(); }

/// Whether a folder is empty but for the lock and the half-written options of a process that was killed
/// there.
bool holds_nothing(const std::string& folder) {
  return std::all_of(fs::directory_iterator(folder), fs::directory_iterator(), [](const auto& entry) {
    const std::string name = entry.path().filename().string();
    return name == ".lock" || name.starts_with(".options.json.");
  });
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text.data();
}

bool is_within(const fs::path& file, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), file.begin(), file.end()).first == folder.end();
}

/// What in a folder belongs to no run of this program; nothing where all does.
std::optional<std::string> stranger_in(const fs::path& folder) {
  const Json saved =
      fs::is_regular_file(options_path(folder.string()))
          ? Json::parse(read_file(options_path(folder.string())), nullptr, /*allow_exceptions=*/false)
          : Json();
  if (!saved.is_object() || !saved.contains("command") || !saved.contains("version"))
    return "it holds no run of bilevel (an options.json with command and version)";
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name != kFoldsFolder && std::ranges::count(kRunFolders, name) == 0)
      return fmt::format("the folder {} in it belongs to no run", name);
    if (!entry.is_directory() && std::ranges::count(kRunFiles, name) == 0 && !name.starts_with("cleaned.") &&
        !name.ends_with(".svg") && !name.starts_with(".options.json."))
      return fmt::format("the file {} in it belongs to no run", name);
  }
  for (const std::string_view name : kRunFolders) {
    if (!fs::is_directory(folder / name)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(folder / name)) {
      const std::string kind = entry.path().extension().string();
      if (!entry.is_directory() && kind != ".cbor" && kind != ".safetensors" && kind != ".jsonl" &&
          kind != ".json")
        return fmt::format("the file {} in it belongs to no run",
                           fs::relative(entry.path(), folder).string());
    }
  }
  if (!fs::is_directory(folder / kFoldsFolder)) return std::nullopt;
  for (const auto& entry : fs::directory_iterator(folder / kFoldsFolder)) {
    const std::string name = fmt::format("{}/{}", kFoldsFolder, entry.path().filename().string());
    if (!entry.is_directory()) return fmt::format("the file {} in it belongs to no run", name);
    if (holds_nothing(entry.path().string())) continue;
    if (const auto stranger = stranger_in(entry.path())) return fmt::format("{}: {}", name, *stranger);
  }
  return std::nullopt;
}

/// Throws InputError for a folder that --force must not replace.
void refuse_to_replace(const std::string& out, const Json& content) {
  const auto refuse = [&](const std::string& why) {
    throw InputError(fmt::format("--force does not replace {}: {}; give another --out", out, why));
  };
  if (fs::is_symlink(out)) refuse("it is a symbolic link");
  if (const auto stranger = stranger_in(out)) refuse(*stranger);
  const fs::path folder = fs::canonical(out);
  if (is_within(fs::canonical(fs::current_path()), folder)) refuse("the current directory is in it");
  for (const Json& file : content.value("files", Json::array())) {
    const std::string path = file.at("path");
    if (path != "-" && is_within(fs::weakly_canonical(path), folder)) refuse(path + " is read from it");
  }
}

/// All but the lock, which this process holds.
void remove_run(const std::string& out) {
  for (const auto& entry : fs::directory_iterator(out)) {
    if (entry.path().filename() != ".lock") fs::remove_all(entry.path());
  }
}

}  // namespace

Json fingerprints(const std::vector<std::string>& paths) {
  Json files = Json::array();
  for (const std::string& name : paths) {
    for (const std::string& path : files_behind(name)) {
      uint64_t bytes = 0;
      uLong sum = 0;
      for_each_chunk(real_path(path), [&](std::string_view chunk) {
        bytes += chunk.size();
        sum = crc32_z(sum, reinterpret_cast<const Bytef*>(chunk.data()), chunk.size());
      });
      files.push_back(
          {{"path", path == "-" ? path : fs::absolute(path).string()}, {"bytes", bytes}, {"crc32", sum}});
    }
  }
  return files;
}

FolderLock new_run_folder(const std::string& out, const std::string& command, const std::string& command_line,
                          const Json& content, bool force) {
  const bool taken = fs::exists(out) && !(fs::is_directory(out) && holds_nothing(out));
  if (taken && force) {
    refuse_to_replace(out, content);
  } else if (taken) {
    throw InputError(
        fs::exists(options_path(out))
            ? fmt::format(
                  "{} holds another run; continue it with 'bilevel {} --resume {}', give another --out, or "
                  "replace it with --force",
                  out, command, out)
            : fmt::format("{} exists and is not an empty folder; give another --out", out));
  }
  create_folder(out);
  FolderLock lock(out);
  if (taken) remove_run(out);
  Json saved{{"command", command},
             {"command_line", command_line},
             {"version", BILEVEL_VERSION},
             {"date", utc_now()}};
  saved.update(content);
  write_file_atomically(options_path(out), saved.dump(2) + "\n");
  return lock;
}

Json read_run_options(const std::string& out, const std::string& command) {
  if (!fs::exists(options_path(out)))
    throw InputError(fmt::format("{}: there is no run to resume (no options.json)", out));
  const Json saved = Json::parse(read_file(options_path(out)), nullptr, /*allow_exceptions=*/false);
  if (!saved.is_object() || !saved.contains("command"))
    throw FileError(options_path(out) + ": is not the options of a run");
  if (saved["command"] != command) {
    throw InputError(fmt::format("{} holds a run of 'bilevel {}', not of 'bilevel {}'", out,
                                 saved["command"].is_string() ? saved["command"].get<std::string>() : "?",
                                 command));
  }
  return saved;
}

Provenance provenance_of(const std::string& out) {
  const Json saved = Json::parse(read_file(options_path(out)));
  Provenance made{.command_line = saved.value("command_line", ""),
                  .version = saved.value("version", ""),
                  .date = saved.value("date", "")};
  if (saved.contains("options")) made.options.emplace_back("Options", saved["options"]);
  return made;
}

FolderLock continue_run_folder(const std::string& out, const Json& files) {
  FolderLock lock(out);
  const Json saved = Json::parse(read_file(options_path(out)));
  if (saved.at("files") != files) {
    throw InputError(
        fmt::format("{}: an input file has changed since this run began, so it cannot be continued", out));
  }
  return lock;
}

}  // namespace bilevel
