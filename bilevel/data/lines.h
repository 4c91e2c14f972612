// Reading a file, plain or gzipped: a UTF-8 text line by line, or bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bilevel/core/error.h"

namespace bilevel {

/// The bytes of a file; what gzip packed, as its content tells, unpacked.
class ByteReader {
 public:
  /// Throws InputError for a missing file and a folder, FileError when the system cannot read the file.
  explicit ByteReader(const std::string& path);

  /// Appends some bytes; false at the end of the file. `fail(message)`, which must throw, is told of gzip data that are cut
  /// or broken. FileError as above.
  bool append_to(std::string& bytes, const std::function<void(const char*)>& fail);
  /// Whether gzip had not packed it.
  bool is_plain() const;

 private:
  std::string path_;
  std::shared_ptr<void> file_;
};

/// Reads a text file by lines. gzip is recognized by the file's content, not by its name. A byte order mark
/// is skipped and not counted in columns. Every line is checked: a NUL byte, broken UTF-8, and broken or cut
/// gzip data throw InputError with line and byte column; so do a missing file, a folder and an empty file, by
/// name. FileError when the system cannot read the file.
///
///     LineReader lines(path);
///     while (lines.next()) use(lines.text());
class LineReader {
 public:
  explicit LineReader(const std::string& path);
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// Moves to the next line; false at the end of the file. Views of the line before become invalid.
  bool next();

  /// The current line with its line end, as in the file.
  std::string_view raw() const { return raw_; }

  /// The current line without its line end (LF or CR LF).
  std::string_view text() const;

  /// Number of the current line, from 1.
  int64_t number() const { return number_; }

  const std::string& path() const { return path_; }

  /// Throws InputError at the byte `column` (from 1) of the current line.
  [[noreturn]] void fail(int64_t column, const std::string& message) const;

 private:
  bool fill();         // appends bytes to buffer_; false at the end of the file
  void check() const;  // NUL bytes and UTF-8 of raw_

  std::string path_;
  ByteReader file_;
  std::string buffer_;
  size_t begin_ = 0;  // where the next line starts in buffer_
  std::string_view raw_;
  int64_t number_ = 0;
};

/// Byte offset of the first byte of `text` that does not belong to well-formed UTF-8 (overlong forms and
/// surrogates are not well-formed), or npos.
size_t find_broken_utf8(std::string_view text);

}  // namespace bilevel
