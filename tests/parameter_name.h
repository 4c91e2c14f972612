// Names of parameterized tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <type_traits>

namespace bilevel {

/// A name as GoogleTest allows it: the names of tests have no '-'.
inline std::string test_name(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

/// For INSTANTIATE_TEST_SUITE_P: the parameter, or its member `name`.
struct NameOfParameter {
  template <typename Parameter>
  std::string operator()(const testing::TestParamInfo<Parameter>& info) const {
    if constexpr (std::is_convertible_v<Parameter, std::string>)
      return test_name(info.param);
    else
      return test_name(info.param.name);
  }
};

}  // namespace bilevel
