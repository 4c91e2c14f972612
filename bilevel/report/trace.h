// The trace of a run: one JSON object per line, in the order in which things happened. Plots and reports are
// made from it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace bilevel {

/// Appends objects to a JSON Lines file. Numbers are written so that reading gives the same bits back; JSON
/// has no NaN and no infinities, so NaN is written as null and the infinities as the strings "inf" and "-inf"
/// (`trace_number` reads all three back). Invalid UTF-8 in a string becomes U+FFFD. Rows are buffered: call
/// `flush` before a checkpoint, and store the offset it returns in that checkpoint.
class TraceWriter {
 public:
  /// Starts a new trace; an existing file is emptied. Throws FileError.
  explicit TraceWriter(const std::string& path);

  /// Continues the trace of an interrupted run: cuts the file at `offset` (a value that `flush` returned) and
  /// appends there. Throws FileError when the file is missing or shorter, or when `offset` is not the end of
  /// a row.
  TraceWriter(const std::string& path, int64_t offset);

  /// Writes what is still buffered; an error is lost here, so call `flush` first where that matters.
  ~TraceWriter();
  TraceWriter(TraceWriter&& other) noexcept;
  TraceWriter& operator=(TraceWriter&& other) noexcept;

  /// Appends one row, a JSON object with its keys in the given order. Throws InputError when it is no object,
  /// FileError when writing fails.
  void append(const nlohmann::ordered_json& row);

  /// Brings all rows to the disk (synced) and returns the file's length in bytes. Throws FileError.
  int64_t flush();

 private:
  void write_buffer();

  std::string path_;
  std::string buffer_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

/// A whole trace at once, atomically: the file is there with all rows or not at all. Numbers as above. Throws
/// as `TraceWriter::append` and `write_file_atomically` do.
void write_trace(const std::string& path, const std::vector<nlohmann::ordered_json>& rows);

/// A trace that was read.
struct Trace {
  std::vector<nlohmann::ordered_json> rows;
  /// The last line was no whole object and had no line end: its writer was killed there. It is not in `rows`.
  bool cut = false;
};

/// Reads a trace. Throws InputError when there is no such file, FileError with the line number for any other
/// line that is not a JSON object.
Trace read_trace(const std::string& path);

/// The number behind a trace's value: null is NaN, "inf" and "-inf" are the infinities. Throws InputError for
/// anything else that is not a number.
double trace_number(const nlohmann::ordered_json& value);

}  // namespace bilevel
