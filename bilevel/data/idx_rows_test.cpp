#include "bilevel/data/idx_rows.h"

#include "bilevel/task/features.h"
#include "tests/files.h"

namespace bilevel {
namespace {

using namespace std::string_literals;

/// An IDX file of bytes.
std::string idx(const std::vector<uint32_t>& shape, const std::string& elements, char type = 0x08) {
  std::string bytes{0, 0, type, static_cast<char>(shape.size())};
  for (const uint32_t size : shape) {
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(size >> shift);
  }
  return bytes + elements;
}

class IdxRowsTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string images_ = idx({2, 2, 3}, "\x00\x07\x00\x00\x00\xff\x01\x00\x00\x00\x00\x00"s);
  std::string labels_ = idx({2}, "\x04\x00"s);
};

TEST_F(IdxRowsTest, PixelsAreColumnsInRowMajorOrder) {
  const std::string images = folder_.write("a", images_), labels = folder_.write("b", labels_);
  const SparseTable table = read_idx_rows(images + "," + labels);
  EXPECT_EQ(table.path, images);
  EXPECT_EQ(table.labels, (std::vector<double>{4, 0}));
  EXPECT_EQ(table.features.width, 6);
  EXPECT_TRUE(table.pixels);
  EXPECT_TRUE(torch::equal(table.features.to_dense(), torch::tensor({{0.F, 7.F, 0.F, 0.F, 0.F, 255.F},
                                                                     {1.F, 0.F, 0.F, 0.F, 0.F, 0.F}})));
  EXPECT_EQ(table.position(1).line, 2);
  EXPECT_EQ(files_behind(images + "," + labels), (std::vector{images, labels}));
}

TEST_F(IdxRowsTest, FindsTheLabelsBesideTheImages) {
  const std::string images = folder_.write("my-images-idx3-ubyte", images_);
  EXPECT_EQ(idx_files(images).labels, "");
  const std::string refused = input_error([&] { read_idx_rows(images); });
  EXPECT_NE(refused.find("there is no file of labels: give IMAGES,LABELS or put "), std::string::npos)
      << refused;
  EXPECT_NE(refused.find("my-labels-idx1-ubyte there"), std::string::npos) << refused;
  EXPECT_TRUE(read_idx_rows(images, {.labels_required = false}).labels.empty());
  const std::string packed = folder_.write_gzip("my-labels-idx1-ubyte.gz", labels_);
  EXPECT_EQ(idx_files(images).labels, packed);
  const std::string labels = folder_.write("my-labels-idx1-ubyte", labels_);
  EXPECT_EQ(idx_files(images).labels, labels);
  EXPECT_EQ(read_idx_rows(images).labels, (std::vector<double>{4, 0}));
  EXPECT_EQ(files_behind(images), (std::vector{images, labels}));
  // A comma in a name of its own.
  const std::string comma = folder_.write("a,b", images_);
  EXPECT_EQ(idx_files(comma).images, comma);
  EXPECT_EQ(files_behind(comma), std::vector{comma});
}

TEST_F(IdxRowsTest, TheNameTellsTheFormat) {
  for (const char* name : {"x-images-idx3-ubyte", "x-images-idx3-ubyte.gz", "x.idx", "X.IDX.gz",
                           "t10k-images.idx3-ubyte", "x-idx3-ubyte,y-idx1-ubyte", "a.idx,b.idx.gz"}) {
    EXPECT_EQ(format_of(name), Format::idx) << name;
  }
  EXPECT_EQ(value_named<Format>("idx", "format"), Format::idx);
  EXPECT_EQ(name_of(Format::idx), "idx");
  const std::string images = folder_.write_gzip("my-images-idx3-ubyte.gz", images_);
  folder_.write_gzip("my-labels-idx1-ubyte.gz", labels_);
  const DataFile file = read_data_file(images, {});
  EXPECT_EQ(rows_of(file), 2);
  EXPECT_EQ(std::get<SparseTable>(file).features.width, 6);
  EXPECT_EQ(rows_of(read_data_file(images, {.format = Format::idx}, false)), 2);
  EXPECT_EQ(input_error([&] { read_table(images, {}); }),
            "my-images-idx3-ubyte.gz: an idx file is not a table with named columns");
}

TEST_F(IdxRowsTest, SaysWhatIsWrongAndWhere) {
  const auto refused = [&](const std::string& images, const std::string& labels) {
    return input_error([&] { read_idx_rows(folder_.write("a", images) + "," + folder_.write("b", labels)); });
  };
  EXPECT_EQ(input_error([&] { read_idx_rows("nowhere.idx,b"); }), "nowhere.idx: there is no such file");
  EXPECT_EQ(refused(labels_, labels_),
            "a: byte 3: an array of 1 dimension; examples need 2 or more (is it the file of labels?)");
  EXPECT_NE(refused(images_, idx({3}, "\x01\x02\x03"s)).find("b: byte 4: 3 labels, but "), std::string::npos);
  EXPECT_NE(refused(images_.substr(0, 20), labels_).find("a: byte 20: the file ends here"),
            std::string::npos);
  const std::string floats = idx({2, 1, 1}, "\x3f\x80\x00\x00\x7f\x80\x00\x00"s, 0x0D);
  EXPECT_EQ(refused(floats, labels_), "a: byte 20: a value of row 2 is not a finite number of float32");
  EXPECT_EQ(input_error([&] { read_idx_rows(folder_.write("c", labels_), {.labels_required = false}); }),
            "c: byte 3: an array of 1 dimension; images need 2 or more");
}

TEST(RealIdxRows, HasTheCountsOfMnist) {
  SKIP_WITHOUT_DATA();
  const DataFile file = read_data_file(data_folder() + "/mnist/t10k-images-idx3-ubyte.gz", {});
  const auto& test = std::get<SparseTable>(file);
  EXPECT_EQ(test.rows(), 10000);
  EXPECT_EQ(test.features.width, 784);
  std::vector<int64_t> counts(10);
  for (const double label : test.labels) ++counts.at(static_cast<size_t>(label));
  EXPECT_EQ(counts, (std::vector<int64_t>{980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009}));
  EXPECT_EQ(test.features.values.max().item<float>(), 255);
}

}  // namespace
}  // namespace bilevel
