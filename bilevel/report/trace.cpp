#include "bilevel/report/trace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"

namespace bilevel {
namespace {

using nlohmann::ordered_json;

constexpr size_t kBufferBytes = size_t{1} << 16;

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw FileError(fmt::format("{}: {}: {}.", path, what, std::generic_category().message(errno)));
}

bool holds_infinity(const ordered_json& value) {
  if (value.is_number_float()) return std::isinf(value.get<double>());
  if (!value.is_structured()) return false;
  for (const ordered_json& item : value) {
    if (holds_infinity(item)) return true;
  }
  return false;
}

void name_infinities(ordered_json& value) {
  if (value.is_number_float() && std::isinf(value.get<double>()))
    value = value.get<double>() > 0 ? "inf" : "-inf";
  if (!value.is_structured()) return;
  for (ordered_json& item : value) name_infinities(item);
}

/// A row as a line of the file.
std::string line_of(const ordered_json& row) {
  if (!row.is_object()) throw InputError("A row of a trace must be a JSON object.");
  constexpr auto kReplace = ordered_json::error_handler_t::replace;
  if (!holds_infinity(row)) return row.dump(-1, ' ', false, kReplace) + '\n';
  ordered_json named = row;
  name_infinities(named);
  return named.dump(-1, ' ', false, kReplace) + '\n';
}

}  // namespace

TraceWriter::TraceWriter(const std::string& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(path, "cannot create");
}

TraceWriter::TraceWriter(const std::string& path, int64_t offset) : path_(path), size_(offset) {
  descriptor_ = ::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC);
  if (descriptor_ < 0) fail(path, "cannot open");
  try {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) fail(path, "cannot read");
    if (offset < 0 || status.st_size < offset) {
      throw FileError(fmt::format("{}: has {} bytes, but the run to continue had written {}.", path,
                                  status.st_size, offset));
    }
    char last = '\n';
    if (offset > 0 && ::pread(descriptor_, &last, 1, offset - 1) != 1) fail(path, "cannot read");
    if (last != '\n')
      throw FileError(
          fmt::format("{}: no row ends at byte {}, where the run should continue.", path, offset));
    if (::ftruncate(descriptor_, offset) != 0) fail(path, "cannot cut");
  } catch (...) {
    ::close(std::exchange(descriptor_, -1));
    throw;
  }
}

TraceWriter::~TraceWriter() {
  if (descriptor_ < 0) return;
  try {
    write_buffer();
  } catch (const FileError&) {  // A destructor cannot report it; `flush` can.
  }
  ::close(descriptor_);
}

TraceWriter::TraceWriter(TraceWriter&& other) noexcept
    : path_(std::move(other.path_)),
      buffer_(std::move(other.buffer_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {}

TraceWriter& TraceWriter::operator=(TraceWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(buffer_, other.buffer_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

void TraceWriter::append(const ordered_json& row) {
  buffer_ += line_of(row);
  if (buffer_.size() >= kBufferBytes) write_buffer();
}

int64_t TraceWriter::flush() {
  write_buffer();
  if (::fdatasync(descriptor_) != 0 && errno != EINVAL) fail(path_, "cannot sync");  // EINVAL: a device
  return size_;
}

void TraceWriter::write_buffer() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      buffer_.erase(0, buffer_.size() - rest.size());  // what was written is not written again
      errno = error;
      fail(path_, "cannot write");
    }
    rest.remove_prefix(static_cast<size_t>(written));
    size_ += written;
  }
  buffer_.clear();
}

void write_trace(const std::string& path, const std::vector<ordered_json>& rows) {
  std::string text;
  for (const ordered_json& row : rows) text += line_of(row);
  write_file_atomically(path, text);
}

Trace read_trace(const std::string& path) {
  const std::string text = read_file(path);
  Trace trace;
  int64_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    ++line_number;
    const size_t end = text.find('\n', begin);
    const std::string_view line =
        std::string_view(text).substr(begin, end == std::string::npos ? end : end - begin);
    ordered_json row = ordered_json::parse(line, nullptr, false);
    if (row.is_object()) {
      trace.rows.push_back(std::move(row));
    } else if (end == std::string::npos) {
      trace.cut = true;
    } else {
      throw FileError(describe({path, line_number}, "this line of the trace is not a JSON object."));
    }
    begin = end == std::string::npos ? text.size() : end + 1;
  }
  return trace;
}

double trace_number(const ordered_json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (value == "inf") return std::numeric_limits<double>::infinity();
  if (value == "-inf") return -std::numeric_limits<double>::infinity();
  throw InputError(fmt::format("{} is not a number of a trace.", value.dump()));
}

}  // namespace bilevel
