// Reading what a fitted transform has saved of itself.
#pragma once

#include <exception>
#include <string>

#include "bilevel/core/error.h"

namespace bilevel {

/// What `read` gives; what it throws becomes the FileError "the saved WHAT is broken: ...".
template <typename Read>
auto read_state(const std::string& what, Read read) {
  try {
    return read();
  } catch (const std::exception& error) {
    throw FileError("the saved " + what + " is broken: " + error.what());
  }
}

}  // namespace bilevel
