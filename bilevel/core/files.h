// Files that are either whole or absent: a reader, and a later run, never sees half of one.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace bilevel {

/// Replaces the file at `path` by `bytes`, or leaves it untouched. The bytes go to a temporary file in the
/// same folder, which is synced and then renamed over `path`, and the folder is synced too: after a crash or
/// a kill at any moment the old or the new content is there, never a mixture. A symbolic link is followed,
/// not replaced; what is no regular file (a device, a pipe) is written directly. Costs one write and two
/// syncs. Throws FileError with the system's reason; the temporary file is then gone.
void write_file_atomically(const std::string& path, std::string_view bytes);

/// The same for the concatenation of `parts`, without joining them in memory.
void write_file_atomically(const std::string& path, const std::vector<std::string_view>& parts);

/// Where text goes piece by piece.
using TextSink = std::function<void(std::string_view)>;
/// The same for what `produce` hands over.
void write_file_atomically(const std::string& path, const std::function<void(const TextSink&)>& produce);

/// The whole content of a file. Throws InputError when there is no such file or it is a folder, FileError
/// when it cannot be read.
std::string read_file(const std::string& path);

/// Hands the file's content over piece by piece. Throws as `read_file` does.
void for_each_chunk(const std::string& path, const std::function<void(std::string_view)>& take);

/// Throws InputError when writing `output` would overwrite one of `inputs`: when both exist and are one file, by whatever names
/// and links. What is no regular file is never overwritten.
void refuse_to_overwrite(const std::string& output, const std::vector<std::string>& inputs);

/// Makes the folder and its missing parents; an existing folder is fine. Throws FileError with the system's
/// reason, also when something that is no folder has that name.
void create_folder(const std::string& path);

/// Makes this process the only user of a folder for as long as the object lives. The lock is the kernel's
/// (flock on the file
/// `.lock`, which stays there), so it ends with its process, however that ends; a copy of the object's
/// process made by fork and exec does not inherit it. Taking it also removes the temporary files of writers
/// that were killed, in folders below too.
class FolderLock {
 public:
  /// Locks an existing folder. Throws InputError, naming the process where it is known, when another one (or
  /// another object of this process) holds the lock; FileError when the folder or the lock file cannot be
  /// opened or the file system has no locks.
  explicit FolderLock(const std::string& folder);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;

 private:
  int descriptor_ = -1;
};

}  // namespace bilevel
