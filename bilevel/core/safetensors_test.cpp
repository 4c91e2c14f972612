#include "bilevel/core/safetensors.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

class Safetensors : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "bilevel_safetensors_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = (folder_ / "a.safetensors").string();
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Writes a file with this header and so many data bytes, and returns load's message.
  std::string error_for(const std::string& header, size_t data_bytes, char fill = '\0') {
    const uint64_t length = header.size();
    std::string bytes(reinterpret_cast<const char*>(&length), 8);
    return error_for_bytes(bytes + header + std::string(data_bytes, fill));
  }
  std::string error_for_bytes(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    try {
      load_safetensors(path_);
    } catch (const FileError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with(path_)) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "no FileError";
    return {};
  }

  fs::path folder_;
  std::string path_;
};

std::map<std::string, torch::Tensor> all_types() {
  std::map<std::string, torch::Tensor> tensors;
  int64_t n = 1;
  for (const auto type : {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16, torch::kInt64,
                          torch::kInt32, torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool}) {
    tensors.emplace(std::string("t.") + torch::toString(type),
                    (torch::arange(n * 3).reshape({n, 3}) % 2).to(type));
    ++n;
  }
  tensors.emplace("scalar", torch::tensor(-0.0));
  tensors.emplace("empty", torch::empty({0, 4}));
  tensors.emplace("\"quoted\" \xc3\xa9", torch::tensor({NAN, INFINITY, -INFINITY, 1e-45F}));
  return tensors;
}

TEST_F(Safetensors, RoundTripKeepsEveryBitShapeAndType) {
  const auto tensors = all_types();
  const std::map<std::string, std::string> metadata{
      {"format", "pt"}, {"note", "\"x\"\n\xc3\xa9"}, {"empty", ""}};
  save_safetensors(path_, tensors, metadata);
  const SafetensorsFile file = load_safetensors(path_);
  EXPECT_EQ(file.metadata, metadata);
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const torch::Tensor& read = file.tensors.at(name);
    EXPECT_EQ(read.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(read.sizes(), tensor.sizes()) << name;
    if (tensor.numel() == 0) continue;
    EXPECT_EQ(std::memcmp(read.data_ptr(), tensor.data_ptr(), tensor.nbytes()), 0) << name;
  }
}

TEST_F(Safetensors, BytesAreDeterministicAndAligned) {
  const std::string other = (folder_ / "b.safetensors").string();
  save_safetensors(path_, all_types(), {{"a", "1"}, {"b", "2"}});
  save_safetensors(other, load_safetensors(path_).tensors, {{"b", "2"}, {"a", "1"}});
  EXPECT_EQ(read_file(path_), read_file(other));
  uint64_t length = 0;
  std::memcpy(&length, read_file(path_).data(), 8);
  EXPECT_EQ(length % 8, 0u);
}

TEST_F(Safetensors, AKnownFile) {
  save_safetensors(path_, {{"b", torch::tensor({1}, torch::kUInt8)}, {"a", torch::tensor({1.5F})}});
  std::string header =
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}})";
  header.append((8 - header.size() % 8) % 8, ' ');
  const uint64_t length = header.size();
  EXPECT_EQ(read_file(path_), std::string(reinterpret_cast<const char*>(&length), 8) + header +
                                  std::string("\x00\x00\xc0\x3f\x01", 5));
}

TEST_F(Safetensors, NonContiguousAndGradientTensors) {
  const torch::Tensor matrix = torch::arange(6.0).reshape({2, 3});
  torch::Tensor parameter = torch::ones({2}).requires_grad_();
  save_safetensors(path_, {{"t", matrix.t()},
                           {"column", matrix.select(1, 1)},
                           {"expanded", torch::ones({1}).expand({3})},
                           {"parameter", parameter * 2}});
  const auto tensors = load_safetensors(path_).tensors;
  EXPECT_TRUE(torch::equal(tensors.at("t"), matrix.t()));
  EXPECT_TRUE(torch::equal(tensors.at("column"), matrix.select(1, 1)));
  EXPECT_TRUE(torch::equal(tensors.at("expanded"), torch::ones({3})));
  EXPECT_FALSE(tensors.at("parameter").requires_grad());
}

TEST_F(Safetensors, NothingAtAll) {
  save_safetensors(path_, {});
  EXPECT_TRUE(load_safetensors(path_).tensors.empty());
}

TEST_F(Safetensors, RefusesWhatTheFormatCannotHold) {
  EXPECT_THROW(save_safetensors(path_, {{"a", torch::Tensor()}}), InputError);
  EXPECT_THROW(save_safetensors(path_, {{"__metadata__", torch::ones({1})}}), InputError);
  EXPECT_THROW(save_safetensors(path_, {{"a", torch::ones({1}, torch::kComplexFloat)}}), InputError);
  EXPECT_THROW(save_safetensors(path_, {{"a", torch::eye(2).to_sparse()}}), InputError);
  EXPECT_THROW(save_safetensors(path_, {{"\xff", torch::ones({1})}}), InputError);
  EXPECT_THROW(save_safetensors(path_, {{"a", torch::ones({1})}}, {{"k", "\xff"}}), InputError);
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_THROW(load_safetensors(path_), InputError) << "no such file";
}

TEST_F(Safetensors, EveryCutIsNoticed) {
  save_safetensors(path_, {{"a", torch::ones({3})}, {"b", torch::ones({2, 2}, torch::kBool)}});
  const std::string whole = read_file(path_);
  for (size_t size = 0; size < whole.size(); ++size) error_for_bytes(whole.substr(0, size));
  EXPECT_NE(error_for_bytes(whole + "x").find("1 bytes follow"), std::string::npos);
}

TEST_F(Safetensors, DamagedHeadersSayWhatIsWrong) {
  const auto expect = [&](const char* header, size_t bytes, const char* part, char fill = '\0') {
    const std::string message = error_for(header, bytes, fill);
    EXPECT_NE(message.find(part), std::string::npos) << message << " for " << header;
  };
  EXPECT_NE(error_for_bytes(std::string(8, '\xff')).find("header would have"), std::string::npos);
  expect("[]", 0, "not a JSON object");
  expect("{\"a\":", 0, "not a JSON object");
  expect(R"({"a":1})", 0, "needs dtype");
  expect(R"({"a":{"dtype":"F32","shape":[1]}})", 4, "needs dtype");
  expect(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "needs dtype");
  expect(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4, "needs dtype");
  expect(R"({"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", 1, "F8_E4M3");
  expect(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "needs 8 bytes");
  expect(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "fall");
  expect(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "impossible");
  expect(R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,0]}})", 0, "impossible");
  expect(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
      6, "overlaps");
  expect(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "no tensor owns the 4 bytes");
  expect(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 6, "is cut");
  expect(R"({"__metadata__":{"k":1}})", 0, "'k' is not a string");
  expect(R"({"__metadata__":1})", 0, "not an object");
  expect(R"({"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})", 1, "BOOL", '\2');
}

}  // namespace
}  // namespace bilevel
