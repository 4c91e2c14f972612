// Errors that a caller can cause. A numerical outcome (non-finite values, a failed linear solve) is never one
// of these: it is the stop reason of a `Result`.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace bilevel {

/// Base of every exception that the library throws on purpose. `what()` is one or more full sentences for a
/// person.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A caller's mistake: an impossible option value, a malformed input file, a missing input file. The
/// program's exit code 2.
class InputError : public Error {
 public:
  using Error::Error;
};

/// The file system failed while writing or reading something that should have worked (full disk, no
/// permission, a broken checkpoint). The program's exit code 4.
class FileError : public Error {
 public:
  using Error::Error;
};

/// What `work` returns; the message of an InputError gets "`context`: " before it.
template <typename Work>
auto in_context(const std::string& context, const Work& work) {
  try {
    return work();
  } catch (const InputError& error) {
    throw InputError(context + ": " + error.what());
  }
}

/// Where in an input file something stands. Lines and columns count from 1; 0 means unknown and is not
/// printed. A column counts bytes.
struct Position {
  std::string file;
  int64_t line = 0;
  int64_t column = 0;
};

/// "FILE:LINE:COLUMN: message", leaving out what is unknown.
std::string describe(const Position& position, const std::string& message);

/// Throws InputError with `describe(position, message)`.
[[noreturn]] void fail_at(const Position& position, const std::string& message);

}  // namespace bilevel
