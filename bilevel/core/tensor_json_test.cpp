#include "bilevel/core/tensor_json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "bilevel/core/error.h"

namespace bilevel {
namespace tensor_json_test {

using Json = nlohmann::ordered_json;

TEST(TensorJson, KeepsEveryBitThroughBinaryJson) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::map<std::string, torch::Tensor> tensors{
      {"doubles", torch::tensor({0.1, -0.0, inf, std::nan(""), 5e-324}, torch::kFloat64)},
      {"turned", torch::arange(6, torch::kFloat32).view({2, 3}).t()},
      {"numbers", torch::tensor({int64_t{1} << 62, int64_t{-7}})},
      {"truth", torch::tensor({true, false})},
      {"scalar", torch::tensor(3.5)},
      {"empty", torch::empty({0, 4})},
      {"none", torch::Tensor()}};
  const auto back = tensors_from(Json::from_cbor(Json::to_cbor(tensors_json(tensors))));
  ASSERT_EQ(back.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    SCOPED_TRACE(name);
    const torch::Tensor& found = back.at(name);
    ASSERT_EQ(found.defined(), tensor.defined());
    if (!tensor.defined()) continue;
    ASSERT_EQ(found.sizes(), tensor.sizes());
    ASSERT_EQ(found.scalar_type(), tensor.scalar_type());
    const torch::Tensor whole = tensor.contiguous();
    EXPECT_EQ(std::memcmp(found.const_data_ptr(), whole.const_data_ptr(), whole.nbytes()), 0);
  }
}

TEST(TensorJson, RefusesWhatIsCut) {
  Json cut = tensor_json(torch::ones({3}));
  cut["shape"] = {4};
  EXPECT_THROW(tensor_from(cut), FileError);
  EXPECT_THROW(tensor_from(Json::object()), nlohmann::json::exception);
}

}  // namespace tensor_json_test
}  // namespace bilevel
