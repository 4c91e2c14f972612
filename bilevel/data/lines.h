// Reading a file, plain or packed by gzip or zstd: a text line by line, in UTF-8, or bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bilevel/core/error.h"

namespace bilevel {

/// How the characters of a text file are written.
enum class Encoding { utf_8, windows_1252, iso_8859_1, utf_16 };

/// The encoding of a name: utf-8, windows-1252, iso-8859-1 or utf-16, or one of their common names (latin-1, cp1252, ...),
/// in any case. Throws InputError for another.
Encoding encoding_named(const std::string& name);

/// The path under which the system knows a file: `path` itself, and for "-" a file that holds what came through standard
/// input, which is read once, by the first call.
std::string real_path(const std::string& path);

/// The bytes of a file; what gzip or zstd packed, as its content tells, unpacked. "-" is standard input.
class ByteReader {
 public:
  /// Throws InputError for a missing file and a folder, FileError when the system cannot read the file.
  explicit ByteReader(const std::string& path);

  /// Appends some bytes; false at the end of the file. `fail(message)`, which must throw, is told of packed data that are
  /// cut or broken. FileError as above.
  bool append_to(std::string& bytes, const std::function<void(const char*)>& fail);
  /// Whether neither gzip nor zstd had packed it.
  bool is_plain() const;

 private:
  bool append_raw(std::string& bytes, const std::function<void(const char*)>& fail);

  std::string path_;
  std::shared_ptr<void> file_;
  std::shared_ptr<void> zstd_;  // a ZSTD_DStream; none: not packed by zstd
  bool begun_ = false;
  std::string packed_;       // read, not yet unpacked
  bool frame_open_ = false;  // more must come
};

/// Reads a text file by lines. gzip and zstd are recognized by the file's content, not by its name. A byte order mark
/// is skipped and not counted in columns; that of UTF-16 tells the encoding. Texts in another encoding become UTF-8, in
/// which columns count. Lines end with LF, CR LF or, where no LF stands in the first 256 KiB, CR. Every line is checked: a NUL byte, broken UTF-8, and broken or cut
/// packed data throw InputError with line and byte column; so do a missing file, a folder, an empty file, and files of other
/// programs (xlsx, parquet, zip, ...), with how to convert them, by name. FileError when the system cannot read the file.
///
///     LineReader lines(path);
///     while (lines.next()) use(lines.text());
class LineReader {
 public:
  explicit LineReader(const std::string& path, Encoding encoding = Encoding::utf_8);
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// Moves to the next line; false at the end of the file. Views of the line before become invalid.
  bool next();

  /// The beginning of the file, in UTF-8: so many bytes, or all there are. Before the first `next` only.
  std::string_view peek(size_t bytes);

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
  bool fill();             // appends bytes to buffer_; false at the end of the file
  bool fill_decoded();     // the same with the line ends of the file
  void decode(bool last);  // moves characters from undecoded_ to buffer_
  void refuse_foreign() const;
  void check() const;  // NUL bytes and UTF-8 of raw_

  std::string path_;
  ByteReader file_;
  Encoding encoding_;
  bool big_endian_ = false;  // of UTF-16
  bool only_cr_ = false;     // lines end with CR, as those of old Macintosh programs
  std::string undecoded_;
  std::string buffer_;
  size_t begin_ = 0;  // where the next line starts in buffer_
  std::string_view raw_;
  int64_t number_ = 0;
};

/// Byte offset of the first byte of `text` that does not belong to well-formed UTF-8 (overlong forms and
/// surrogates are not well-formed), or npos.
size_t find_broken_utf8(std::string_view text);

}  // namespace bilevel
