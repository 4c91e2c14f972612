#include "bilevel/core/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& path, const std::string& what, int error) {
  throw FileError(fmt::format("{}: {}: {}.", path, what, std::generic_category().message(error)));
}

/// Closes a file descriptor at scope end.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }
  int close() { return value_ < 0 ? 0 : ::close(release()); }

 private:
  int value_;
};

int open_file(const std::string& path, int flags) {
  int descriptor;
  do descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

void write_all(int descriptor, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) fail(path, "cannot write", errno);
    if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
  }
}

// ".NAME.PID.NUMBER.tmp": hidden, and telling whose it is, so that FolderLock can remove those of dead
// processes.
constexpr std::string_view kTemporarySuffix = ".tmp";

std::string temporary_name(const fs::path& target) {
  static std::atomic<uint64_t> number{0};
  return (target.parent_path() /
          fmt::format(".{}.{}.{}{}", target.filename().string(), ::getpid(), number++, kTemporarySuffix))
      .string();
}

/// The process in a temporary file's name, or 0 when the name is not one of ours.
pid_t owner_of_temporary(std::string_view name) {
  if (!name.starts_with('.') || !name.ends_with(kTemporarySuffix)) return 0;
  name.remove_suffix(kTemporarySuffix.size());
  const size_t number_dot = name.rfind('.');
  if (number_dot == 0 || number_dot == std::string_view::npos) return 0;
  const size_t pid_dot = name.rfind('.', number_dot - 1);
  if (pid_dot == 0 || pid_dot == std::string_view::npos) return 0;
  uint64_t number = 0;
  pid_t pid = 0;
  const auto number_text = name.substr(number_dot + 1);
  const auto pid_text = name.substr(pid_dot + 1, number_dot - pid_dot - 1);
  const auto parses = [](std::string_view text, auto& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  };
  return parses(number_text, number) && parses(pid_text, pid) && pid > 0 ? pid : 0;
}

void remove_temporaries_of_the_dead(const std::string& folder) {
  std::error_code ignored;  // Cleaning up is a courtesy: what cannot be removed stays.
  for (fs::recursive_directory_iterator entry(folder, ignored), end; entry != end; entry.increment(ignored)) {
    const pid_t owner = owner_of_temporary(entry->path().filename().string());
    if (owner > 0 && owner != ::getpid() && ::kill(owner, 0) != 0 && errno == ESRCH) {
      fs::remove(entry->path(), ignored);
    }
  }
}

void sync_folder(const fs::path& folder) {
  const std::string name = folder.empty() ? "." : folder.string();
  const Descriptor descriptor(open_file(name, O_RDONLY | O_DIRECTORY));
  if (descriptor.get() < 0) fail(name, "cannot open the folder", errno);
  // Some file systems cannot sync a folder and say so with EINVAL.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL) fail(name, "cannot sync the folder", errno);
}

}  // namespace

void write_file_atomically(const std::string& path, std::string_view bytes) {
  write_file_atomically(path, std::vector<std::string_view>{bytes});
}

void write_file_atomically(const std::string& path, const std::vector<std::string_view>& parts) {
  write_file_atomically(path, [&](const TextSink& take) {
    for (const std::string_view part : parts) take(part);
  });
}

void write_file_atomically(const std::string& path, const std::function<void(const TextSink&)>& produce) {
  if (path.empty()) throw FileError("Cannot write a file without a name.");
  std::error_code error;
  fs::path target = path;
  const fs::file_status status = fs::status(target, error);
  if (fs::is_directory(status)) fail(path, "cannot write", EISDIR);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    Descriptor descriptor(open_file(path, O_WRONLY));
    if (descriptor.get() < 0) fail(path, "cannot open for writing", errno);
    produce([&](std::string_view part) { write_all(descriptor.get(), part, path); });
    if (descriptor.close() != 0) fail(path, "cannot write", errno);
    return;
  }
  if (fs::exists(status)) target = fs::canonical(target, error);
  if (error && fs::exists(status)) fail(path, "cannot resolve", error.value());

  std::string temporary;
  int created = -1;
  do {
    temporary = temporary_name(target);
    created = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL);
  } while (created < 0 && errno == EEXIST);  // left by a killed process with the same number
  if (created < 0) fail(path, "cannot create", errno);
  Descriptor descriptor(created);
  try {
    struct stat old {};
    if (::stat(target.c_str(), &old) == 0 && ::fchmod(created, old.st_mode & 07777) != 0) {
      fail(path, "cannot keep the file's mode", errno);
    }
    produce([&](std::string_view part) { write_all(created, part, path); });
    if (::fsync(created) != 0) fail(path, "cannot sync", errno);
    if (descriptor.close() != 0) fail(path, "cannot write", errno);
    if (::rename(temporary.c_str(), target.c_str()) != 0) fail(path, "cannot rename to it", errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(target.parent_path());
}

void for_each_chunk(const std::string& path, const std::function<void(std::string_view)>& take) {
  const Descriptor descriptor(open_file(path, O_RDONLY));
  if (descriptor.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR) throw InputError(path + ": there is no such file.");
    fail(path, "cannot open", errno);
  }
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) fail(path, "cannot read", errno);
  if (S_ISDIR(status.st_mode)) throw InputError(path + ": is a folder, not a file.");
  std::string chunk(size_t{1} << 18, '\0');
  for (;;) {
    const ssize_t count = ::read(descriptor.get(), chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, "cannot read", errno);
    if (count == 0) return;
    take(std::string_view(chunk).substr(0, static_cast<size_t>(count)));
  }
}

std::string read_file(const std::string& path) {
  std::string bytes;
  for_each_chunk(path, [&](std::string_view chunk) { bytes += chunk; });
  return bytes;
}

void refuse_to_overwrite(const std::string& output, const std::vector<std::string>& inputs) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::is_regular_file(output, ignored)) return;
  for (const std::string& input : inputs) {
    if (fs::exists(input, ignored) && fs::equivalent(output, input, ignored))
      throw InputError(fmt::format("{} would be overwritten: it is the same file as {}; give another --out",
                                   output, input));
  }
}

void create_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error && !fs::is_directory(path, error) && !error)
    error = std::make_error_code(std::errc::not_a_directory);
  if (error) fail(path, "cannot make the folder", error.value());
}

FolderLock::FolderLock(const std::string& folder) {
  const std::string path = (fs::path(folder) / ".lock").string();
  Descriptor descriptor(open_file(path, O_RDWR | O_CREAT));
  if (descriptor.get() < 0) fail(path, "cannot open the lock file", errno);
  int result;
  do result = ::flock(descriptor.get(), LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result != 0 && errno == EWOULDBLOCK) {
    char holder[32];
    const ssize_t length = ::pread(descriptor.get(), holder, sizeof holder, 0);
    std::string_view pid(holder, length > 0 ? static_cast<size_t>(length) : 0);
    pid = pid.substr(0, pid.find('\n'));
    throw InputError(fmt::format(
        "{}: another process{} is using this folder. Wait until it has ended, or choose another folder.",
        folder, pid.empty() ? "" : fmt::format(" ({})", pid)));
  }
  if (result != 0) fail(path, "cannot lock", errno);
  if (::ftruncate(descriptor.get(), 0) != 0) fail(path, "cannot write", errno);
  write_all(descriptor.get(), fmt::format("{}\n", ::getpid()), path);
  remove_temporaries_of_the_dead(folder);
  descriptor_ = descriptor.release();
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FolderLock::FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

}  // namespace bilevel
