// Arrays that may be larger than the machine's memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace bilevel {

/// A block of bytes that grows. Up to `kKept` bytes it is ordinary memory. A larger one lives in a file without a name in the
/// `LargeMemoryFolder`, where there is one, mapped into the process: the system may drop its pages and read them again, so that
/// memory that other things need is never short of it. The file is gone when the block is, however the process ends.
class LargeMemory {
 public:
  static constexpr size_t kKept = size_t{64} << 20;

  LargeMemory() = default;
  ~LargeMemory();
  LargeMemory(LargeMemory&& other) noexcept;
  LargeMemory& operator=(LargeMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t capacity() const { return capacity_; }
  bool in_file() const { return file_ >= 0; }
  /// Keeps what both sizes have; further bytes are undefined. Throws FileError where the folder has no room for it, with the
  /// sizes, and std::bad_alloc.
  void resize(size_t bytes);

 private:
  void resize_in_memory(size_t bytes);
  void resize_in_file(size_t bytes);
  void free();

  std::byte* data_ = nullptr;
  size_t capacity_ = 0;
  int file_ = -1;
};

/// Where large blocks that this thread makes have their files, for as long as this lives; a later one goes before. Without one
/// they are ordinary memory.
class LargeMemoryFolder {
 public:
  /// @param folder an existing one
  explicit LargeMemoryFolder(std::string folder);
  ~LargeMemoryFolder();
  LargeMemoryFolder(const LargeMemoryFolder&) = delete;
  LargeMemoryFolder& operator=(const LargeMemoryFolder&) = delete;

 private:
  std::string before_;
};

/// An array of plain values in a LargeMemory.
template <typename T>
class LargeArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return reinterpret_cast<T*>(memory_.data()); }
  const T* data() const { return reinterpret_cast<const T*>(memory_.data()); }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

  void push_back(const T& value) {
    if (size_ == room()) grow(size_ + 1);
    data()[size_++] = value;
  }
  void append(std::span<const T> values) {
    if (values.empty()) return;
    if (size_ + values.size() > room()) grow(size_ + values.size());
    std::memcpy(data() + size_, values.data(), values.size() * sizeof(T));
    size_ += values.size();
  }
  /// Further values are undefined.
  void resize(size_t size) {
    if (size > room()) memory_.resize(size * sizeof(T));
    size_ = size;
  }
  /// Gives back what is not needed.
  void shrink() { memory_.resize(size_ * sizeof(T)); }
  /// What it holds, without more room; the array is empty afterwards.
  LargeMemory memory() && {
    shrink();
    size_ = 0;
    return std::move(memory_);
  }

 private:
  size_t room() const { return memory_.capacity() / sizeof(T); }
  void grow(size_t least) { memory_.resize(std::max(least, room() + room() / 2 + 16) * sizeof(T)); }

  LargeMemory memory_;
  size_t size_ = 0;
};

}  // namespace bilevel
