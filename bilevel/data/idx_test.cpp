#include "bilevel/data/idx.h"

#include "tests/files.h"

namespace bilevel {
namespace {

using namespace std::string_literals;

std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

std::string header(char type, const std::vector<uint32_t>& shape) {
  std::string bytes{0, 0, type, static_cast<char>(shape.size())};
  for (const uint32_t size : shape) bytes += big_endian(size);
  return bytes;
}

class IdxTest : public testing::Test {
 protected:
  std::string refused(const std::string& content) const {
    const std::string path = folder_.write("a.idx", content);
    return input_error([&] { read_idx(path); });
  }
  TemporaryFolder folder_;
};

TEST_F(IdxTest, ReadsEveryElementType) {
  const auto read = [&](const std::string& content) { return read_idx(folder_.write("a.idx", content)); };
  const torch::Tensor bytes = read(header(0x08, {2, 3}) + "\x00\x01\x7f\x80\xfe\xff"s);
  EXPECT_EQ(bytes.scalar_type(), torch::kUInt8);
  EXPECT_TRUE(torch::equal(bytes, torch::tensor({0, 1, 127, 128, 254, 255}, torch::kUInt8).view({2, 3})));
  EXPECT_TRUE(torch::equal(read(header(0x09, {2}) + "\xff\x05"s), torch::tensor({-1, 5}, torch::kInt8)));
  EXPECT_TRUE(
      torch::equal(read(header(0x0B, {2}) + "\x01\x02\xff\xfe"s), torch::tensor({258, -2}, torch::kInt16)));
  EXPECT_TRUE(
      torch::equal(read(header(0x0C, {1}) + "\x00\x01\x00\x02"s), torch::tensor({65538}, torch::kInt32)));
  EXPECT_TRUE(torch::equal(read(header(0x0D, {1, 2}) + "\x3f\xc0\x00\x00\xc0\x00\x00\x00"s),
                           torch::tensor({1.5F, -2.0F}).view({1, 2})));
  EXPECT_TRUE(torch::equal(read(header(0x0E, {1}) + "\xbf\xd0\x00\x00\x00\x00\x00\x00"s),
                           torch::tensor({-0.25}, torch::kFloat64)));
}

TEST_F(IdxTest, ReadsGzipWhateverItsName) {
  const std::string content = header(0x08, {3, 1, 2}) + "abcdef";
  const torch::Tensor plain = read_idx(folder_.write("plain.gz", content));
  const torch::Tensor packed = read_idx(folder_.write_gzip("packed", content));
  EXPECT_EQ(plain.sizes(), (std::vector<int64_t>{3, 1, 2}));
  EXPECT_TRUE(torch::equal(plain, packed));
}

TEST_F(IdxTest, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(refused(""), "a.idx: is empty");
  EXPECT_EQ(refused("\x00\x00\x08"s),
            "a.idx: byte 3: the file ends here, inside the magic number; it is cut or no IDX file");
  EXPECT_EQ(refused("label,text\n"),
            "a.idx: byte 0: the magic number is 0x6C616265, but an IDX file begins with two zero bytes");
  EXPECT_EQ(refused("\x00\x01\x08\x01"s),
            "a.idx: byte 0: the magic number is 0x00010801, but an IDX file begins with two zero bytes");
  EXPECT_EQ(refused(header(0x07, {1}) + "a"), "a.idx: byte 2: 0x07 is no element type of an IDX file");
  EXPECT_EQ(refused(header(0x08, {})), "a.idx: byte 3: the array has no dimension");
  EXPECT_EQ(refused(header(0x08, {2, 2}).substr(0, 10)),
            "a.idx: byte 10: the file ends here, inside the dimensions; it is cut or no IDX file");
  EXPECT_EQ(refused(header(0x08, {0, 2})), "a.idx: byte 4: the array has no rows");
  EXPECT_EQ(refused(header(0x08, {2, 0})), "a.idx: byte 8: dimension 2 is 0");
  EXPECT_EQ(refused(header(0x08, {2, 3}) + "abcde"),
            "a.idx: byte 17: the file ends here with 5 bytes of elements, but the dimensions from byte 4 on "
            "announce more; it is cut");
  EXPECT_EQ(refused(header(0x08, {2, 3}) + "abcdefgh"),
            "a.idx: byte 18: 2 bytes follow after the last element");
  EXPECT_EQ(refused(header(0x0C, {1}) + "abc"),
            "a.idx: byte 11: the file ends here with 3 bytes of elements, but the dimensions from byte 4 on "
            "announce more; it is cut");
  EXPECT_EQ(input_error([&] { read_idx(folder_.path("none")); }), "none: there is no such file");
  EXPECT_EQ(input_error([&] { read_idx(folder_.path("")); }), ": is a folder, not a file");
}

// Sizes whose product does not fit into 64 bits must not ask for memory.
TEST_F(IdxTest, RefusesSizesBeyondAllMemory) {
  const uint32_t huge = 0xFFFFFFFF;
  EXPECT_NE(refused(header(0x0E, {huge, huge, huge, huge}) + "12345678").find("it is cut"),
            std::string::npos);
  EXPECT_NE(refused(header(0x08, {0x80000000, 0x80000000, 4}) + "1234").find("it is cut"), std::string::npos);
}

TEST_F(IdxTest, RefusesBrokenGzip) {
  const std::string packed =
      read_bytes(folder_.write_gzip("a.gz", header(0x08, {1000}) + std::string(1000, 'a')));
  const std::string cut = folder_.write("cut.gz", packed.substr(0, packed.size() - 6));
  EXPECT_NE(input_error([&] { read_idx(cut); }).find("the gzip data end here too early"), std::string::npos);
  std::string broken = packed;
  broken[broken.size() - 5] = static_cast<char>(broken[broken.size() - 5] ^ 0x55);  // in the check sum
  const std::string path = folder_.write("broken.gz", broken);
  EXPECT_NE(input_error([&] { read_idx(path); }).find("the gzip data are broken"), std::string::npos);
}

TEST_F(IdxTest, ExamplesAndLabelsMustAgree) {
  const std::string images = folder_.write("images", header(0x08, {3, 2}) + "abcdef");
  const std::string labels = folder_.write("labels", header(0x08, {3}) + "\x02\x00\x09"s);
  const LabelledArray data = read_labelled_idx(images, labels);
  EXPECT_EQ(data.examples.sizes(), (std::vector<int64_t>{3, 2}));
  EXPECT_TRUE(torch::equal(data.labels, torch::tensor({2, 0, 9}, torch::kInt64)));

  const auto refused = [&](const std::string& examples, const std::string& content) {
    const std::string path = folder_.write("bad", content);
    return input_error([&] { read_labelled_idx(examples, path); });
  };
  EXPECT_EQ(refused(images, header(0x08, {2}) + "ab"),
            "bad: byte 4: 2 labels, but " + images + " has 3 examples");
  EXPECT_EQ(refused(images, header(0x08, {3, 1}) + "abc"),
            "bad: byte 3: an array of 2 dimensions, but labels have 1 (is it the file of examples?)");
  EXPECT_EQ(refused(images, header(0x0D, {3}) + std::string(12, '\0')),
            "bad: byte 2: labels must be whole numbers");
  EXPECT_EQ(refused(images, header(0x0B, {3}) + "\x00\x01\xff\xff\x00\x01"s),
            "bad: byte 10: the label -1 is negative");
  EXPECT_EQ(input_error([&] { read_labelled_idx(labels, labels); }),
            "labels: byte 3: an array of 1 dimension; examples need 2 or more (is it the file of labels?)");
}

TEST_F(IdxTest, ReadsMnist) {
  SKIP_WITHOUT_DATA();
  const std::string folder = data_folder() + "/mnist/";
  const LabelledArray test =
      read_labelled_idx(folder + "t10k-images-idx3-ubyte.gz", folder + "t10k-labels-idx1-ubyte.gz");
  EXPECT_EQ(test.examples.sizes(), (std::vector<int64_t>{10000, 28, 28}));
  // The published label counts of the test set, and its first labels.
  EXPECT_TRUE(
      torch::equal(torch::bincount(test.labels),
                   torch::tensor({980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(test.labels.narrow(0, 0, 5), torch::tensor({7, 2, 1, 0, 4}, torch::kInt64)));
  EXPECT_EQ(test.examples.max().item<int>(), 255);
  EXPECT_EQ(input_error([&] {
              read_labelled_idx(folder + "train-images-idx3-ubyte.gz", folder + "t10k-labels-idx1-ubyte.gz");
            }).rfind(": byte 4: 10000 labels, but ") != std::string::npos,
            true);
}

}  // namespace
}  // namespace bilevel
