// Enumerations and the names of their values.
#pragma once

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {

/// The names of an enumeration's values, from 0 in their order: specialized, with `value`, a list of texts, for every
/// enumeration that people see.
template <typename E>
struct NamesOf;

template <typename E>
std::vector<std::string> names_of() {
  return {std::begin(NamesOf<E>::value), std::end(NamesOf<E>::value)};
}

template <typename E>
requires std::is_enum_v<E> std::string name_of(E value) {
  return NamesOf<E>::value[static_cast<size_t>(value)];
}

/// The value with that name. Throws InputError: "`what` = `name`: must be one of ...".
template <typename E>
E value_named(const std::string& name, const std::string& what) {
  const std::vector<std::string> names = names_of<E>();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<E>(found - names.begin());
  std::string known;
  for (const std::string& one : names) known += (known.empty() ? "" : ", ") + one;
  throw InputError(what + " = " + name + ": must be one of " + known);
}

}  // namespace bilevel
