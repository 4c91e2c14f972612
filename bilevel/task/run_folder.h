// The output folder of a command: taken by one run, recognised when it is continued.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/core/files.h"
#include "bilevel/report/page.h"

namespace bilevel {

/// In the folder of a cross-validation: the folders of its runs.
inline constexpr const char* kFoldsFolder = "folds";

/// Absolute path, size and checksum of every file (two for IDX images), to notice that one changed. Throws as `read_file` does.
nlohmann::ordered_json fingerprints(const std::vector<std::string>& paths);

/// Makes and locks `out` and writes options.json there: the command, the line it was called by (empty: by a library), the program's
/// version, the date in UTC and the members of `content`. Throws InputError when `out` holds anything already (what a process left
/// that was killed before it wrote options.json does not count). With `force` the run of this program that `out` holds is removed
/// first; InputError where it holds anything that is no run, where it is the current directory or above it, is a link, or holds
/// one of the `content`'s "files", and where another process works there: then nothing is removed.
FolderLock new_run_folder(const std::string& out, const std::string& command, const std::string& command_line,
                          const nlohmann::ordered_json& content, bool force = false);

/// The options.json of a run. Throws InputError when there is none or it is that of another command,
/// FileError when it is broken.
nlohmann::ordered_json read_run_options(const std::string& out, const std::string& command);

/// How the run in `out` came about, from its options.json: the same whenever its page is made; with the resolved options of
/// what has them under "options". Throws as `read_file` does.
Provenance provenance_of(const std::string& out);

/// Locks the folder of a run that is to be continued. Throws InputError when `files` are not what they were,
/// or another process works there.
FolderLock continue_run_folder(const std::string& out, const nlohmann::ordered_json& files);

}  // namespace bilevel
