#include "bilevel/core/large_array.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <new>
#include <utility>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

std::string& large_folder() {
  thread_local std::string folder;
  return folder;
}

/// An open file without a name.
int unnamed_file(const std::string& folder) {
#ifdef O_TMPFILE
  if (const int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); file >= 0) return file;
#endif
  std::string name = folder + "/.bilevel-large-XXXXXX";
  const int file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file < 0)
    throw FileError(
        describe({folder}, fmt::format("a temporary file cannot be made: {}", std::strerror(errno))));
  ::unlink(name.c_str());
  return file;
}

double megabytes(size_t bytes) { return static_cast<double>(bytes) / 1e6; }

}  // namespace

LargeMemoryFolder::LargeMemoryFolder(std::string folder)
    : before_(std::exchange(large_folder(), std::move(folder))) {}

LargeMemoryFolder::~LargeMemoryFolder() { large_folder() = before_; }

LargeMemory::~LargeMemory() { free(); }

LargeMemory::LargeMemory(LargeMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)),
      file_(std::exchange(other.file_, -1)) {}

LargeMemory& LargeMemory::operator=(LargeMemory&& other) noexcept {
  if (this == &other) return *this;
  free();
  data_ = std::exchange(other.data_, nullptr);
  capacity_ = std::exchange(other.capacity_, 0);
  file_ = std::exchange(other.file_, -1);
  return *this;
}

void LargeMemory::resize(size_t bytes) {
  if (bytes == capacity_) return;
  if (file_ >= 0 || (bytes > kKept && !large_folder().empty()))
    resize_in_file(bytes);
  else
    resize_in_memory(bytes);
}

void LargeMemory::resize_in_memory(size_t bytes) {
  if (bytes == 0) return free();
  void* moved = std::realloc(data_, bytes);
  if (moved == nullptr) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(moved);
  capacity_ = bytes;
}

void LargeMemory::resize_in_file(size_t bytes) {
  if (bytes == 0) return free();
  const bool first = file_ < 0;
  const int file = first ? unnamed_file(large_folder()) : file_;
  if (bytes > capacity_ || first) {  // reserved: a page that finds no room on the disk would end the process
    if (const int error = ::posix_fallocate(file, 0, static_cast<off_t>(bytes)); error != 0) {
      if (first) ::close(file);
      throw FileError(fmt::format("{}: a temporary file of {:.0f} MB finds no room: {}",
                                  large_folder().empty() ? "the disk" : large_folder(), megabytes(bytes),
                                  std::strerror(error)));
    }
  }
  void* mapped = first ? ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
                       : ::mremap(data_, capacity_, bytes, MREMAP_MAYMOVE);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    if (first) ::close(file);
    throw FileError(fmt::format("{:.0f} MB of a temporary file cannot be mapped: {}", megabytes(bytes),
                                std::strerror(error)));
  }
  if (first) {
    if (capacity_ > 0) std::memcpy(mapped, data_, std::min(capacity_, bytes));
    std::free(data_);
    file_ = file;
  }
  data_ = static_cast<std::byte*>(mapped);
  if (bytes < capacity_ && ::ftruncate(file_, static_cast<off_t>(bytes)) != 0) {
    // the file stays larger than it need be
  }
  capacity_ = bytes;
}

void LargeMemory::free() {
  if (file_ >= 0) {
    ::munmap(data_, capacity_);
    ::close(file_);
  } else {
    std::free(data_);
  }
  data_ = nullptr;
  capacity_ = 0;
  file_ = -1;
}

}  // namespace bilevel
