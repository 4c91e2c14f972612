#include "bilevel/data/labels.h"

#include <gtest/gtest.h>

#include "bilevel/data/classes.h"
#include "tests/files.h"

namespace bilevel {
namespace {

class LabelsTest : public testing::Test {
 protected:
  Table read(std::string_view text) const { return read_table(folder_.write("a.csv", text)); }
  TemporaryFolder folder_;
};

using Flags = std::vector<int8_t>;

TEST_F(LabelsTest, WholeNumbersCompareAsNumbers) {
  const Table table = read("x,y\na,+1\nb,1.0\nc,-1\nd,1\n");
  const BinaryLabels labels = read_labels(table, 1, "1.00");
  EXPECT_EQ(labels.is_positive, (Flags{1, 1, 0, 1}));
  EXPECT_EQ(labels.positives, 3);
}

TEST_F(LabelsTest, WordsCompareAsText) {
  const Table table = read("x,y\na,spam\nb,Spam\nc,ham\n");
  EXPECT_EQ(read_labels(table, 1, "spam").is_positive, (Flags{1, 0, 0}));
  EXPECT_EQ(read_labels(table, 1, " ham ").is_positive, (Flags{0, 0, 1}));
  EXPECT_EQ(input_error([&] { read_labels(table, 1, "HAM"); }),
            "a.csv: no row has the positive label 'HAM'; the labels are 'Spam' (1 rows), 'ham' (1 rows), "
            "'spam' (1 rows); "
            "did you mean 'ham'?");
  const Table codes = read("x,y\na,0110\nb,110\nc,2.5\n");
  EXPECT_EQ(read_labels(codes, 1, "110").is_positive, (Flags{0, 1, 0}));
  EXPECT_EQ(read_labels(codes, 1, "2.50").is_positive, (Flags{0, 0, 1}));
  EXPECT_NE(input_error([&] { read_labels(codes, 1, "00110"); }), "");
}

TEST_F(LabelsTest, RefusesWhatCannotBeLearned) {
  const Table table = read("x,y\na,spam\nb,ham\nc,ham\n");
  EXPECT_EQ(input_error([&] { read_labels(table, 1, "span"); }),
            "a.csv: no row has the positive label 'span'; the labels are 'ham' (2 rows), 'spam' (1 rows)");
  EXPECT_EQ(input_error([&] { read_labels(read("x,y\na,b\nc,b\n"), 1, "b"); }),
            "a.csv: all 2 rows have the positive label 'b'; a second class is needed");
  EXPECT_EQ(input_error([&] { read_labels(read("x,y\na,b\nc,\nd,c\n"), 1, "b"); }),
            "a.csv:3:3: the label (column 'y') is missing; --drop-unlabelled leaves such rows out");
  EXPECT_EQ(read_labels(read("x,y\na,b\nc,NA\nd,c\n"), 1, "NA").is_positive, (Flags{0, 1, 0}));
  EXPECT_NE(input_error([&] { read_labels(table, 1, "NA"); }), "");
  EXPECT_NE(input_error([&] { read_labels(table, 1, " "); }), "");
}

TEST_F(LabelsTest, AFileToPredictMayLackThem) {
  EXPECT_FALSE(labelled_column(read("x,y\na,b\n"), "label"));
  EXPECT_FALSE(labelled_column(read("x,label\na,\nb,?\n"), "label"));
  EXPECT_EQ(labelled_column(read("x,label\na,0\nb,0\n"), "label"), 1U) << "one class will do";
  EXPECT_EQ(input_error([&] { read_labels(read("x,label\na,0\nb,\n"), 1, "0"); }),
            "a.csv:3:3: the label (column 'label') is missing; --drop-unlabelled leaves such rows out");
}

TEST_F(LabelsTest, ComeFromLibsvmToo) {
  const SparseTable table = read_libsvm(folder_.write("a.svm", "+1 1:1\n-1 1:1\n"));
  EXPECT_EQ(read_labels(table, "1").is_positive, (Flags{1, 0}));
  EXPECT_EQ(read_labels(table, "-1.0").is_positive, (Flags{0, 1}));
  EXPECT_NE(input_error([&] { read_labels(table, "0"); }), "");
  EXPECT_TRUE(read_libsvm(folder_.write("b.svm", "1:1\n"), {.labels_required = false}).labels.empty());
}

TEST(RealLabels, HaveTheCountsOfTheirSources) {
  SKIP_WITHOUT_DATA();
  struct File {
    const char* name;
    const char* column;
    const char* positive;
    int64_t positives;
  };
  const File files[] = {{"sms_spam/sms.tsv.gz", "label", "spam", 747},
                        {"sentiment140/train_sample.tsv.gz", "target", "4", 19923},
                        {"sentence/trec_train.tsv.gz", "label", "2", 86},
                        {"amazon_arsc/arsc_t2.tsv.gz", "label", "-1", 3777},
                        {"tabular/phoneme.csv.gz", "6", "1", 1586},
                        {"tabular/haberman.csv.gz", "4", "2", 81},
                        {"tabular/pima-indians-diabetes.csv.gz", "9", "1", 268},
                        {"tabular/german.csv.gz", "21", "2", 300},
                        {"tabular/ionosphere.csv.gz", "35", "b", 126},
                        {"tabular/sonar.csv.gz", "61", "M", 111},
                        {"tabular/magic04.csv.gz", "11", "h", 6688}};
  for (const File& file : files) {
    const Table table = read_table(data_folder() + "/" + file.name);
    EXPECT_EQ(read_labels(table, table.column(file.column), file.positive).positives, file.positives)
        << file.name;
  }
}

}  // namespace
}  // namespace bilevel
