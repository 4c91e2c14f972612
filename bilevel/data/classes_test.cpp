#include "bilevel/data/classes.h"

#include <gtest/gtest.h>

#include "tests/files.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using Names = std::vector<std::string>;
using Numbers = std::vector<int64_t>;

class ClassesTest : public ::testing::Test {
 protected:
  Table table(const std::string& text) { return read_table(folder_.write("a.tsv", text)); }
  SparseTable sparse(const std::string& text) {
    return read_libsvm(folder_.write("a.libsvm", text), {.labels_required = false});
  }
  TemporaryFolder folder_;
};

TEST_F(ClassesTest, NumbersByValueAndTextsByBytes) {
  const ClassLabels numbers = read_classes(table("x\tc\na\t10\nb\t+2\nc\t2.0\nd\t-1\n"), 1);
  EXPECT_EQ(numbers.names, (Names{"-1", "+2", "10"}));
  EXPECT_EQ(numbers.classes, (Numbers{2, 1, 1, 0}));
  EXPECT_EQ(numbers.counts, (Numbers{1, 2, 1}));
  const ClassLabels texts = read_classes(table("x\tc\na\tspam \nb\tham\nc\tspam\n"), 1);
  EXPECT_EQ(texts.names, (Names{"ham", "spam"}));
  EXPECT_EQ(texts.classes, (Numbers{1, 0, 1}));
  EXPECT_EQ(describe_classes(texts), "'ham' (1 rows), 'spam' (2 rows)");
}

TEST_F(ClassesTest, CountsCellsWithBlanksInEveryFormat) {
  EXPECT_EQ(cells_with_blanks(table("x\tc\na\tspam \nb\t ham\nc\tspam\nd \t\n"), 1), 2);
  const auto counted = [&](const std::string& name, const std::string& text) {
    return cells_with_blanks(read_table(folder_.write(name, text)), 1);
  };
  EXPECT_EQ(counted("b.jsonl", "{\"x\": \" a\", \"c\": \"spam\\n\"}\n{\"x\": \"b\", \"c\": \"ham\"}\n"), 1);
  EXPECT_EQ(counted("c.csv", "x,c\na,\" spam\"\nb,  ham \nc,\"spam\"\n"),
            1);  // csv has blanks in quotes alone
}

TEST_F(ClassesTest, LibsvmLabels) {
  const ClassLabels labels = read_classes(sparse("+1 1:1\n-1 1:2\n1 2:1\n"));
  EXPECT_EQ(labels.names, (Names{"-1", "1"}));
  EXPECT_EQ(labels.classes, (Numbers{1, 0, 1}));
  EXPECT_FALSE(find_classes(sparse("1:1\n1:2\n"), labels.names, "a").has_value());
}

TEST_F(ClassesTest, AFurtherFileHasTheClassesOfTheFirst) {
  const Names known{"ham", "spam"};
  const ClassLabels one = read_classes(table("x\tc\na\tspam\n"), 1, known, "train.tsv");
  EXPECT_EQ(one.classes, (Numbers{1}));
  EXPECT_EQ(one.counts, (Numbers{0, 1}));
  const std::string message =
      message_of<InputError>([&] { read_classes(table("x\tc\na\tspam\nb\teggs\n"), 1, known, "train.tsv"); });
  EXPECT_CONTAINS(message,
                  "a.tsv:3:3: the label 'eggs' is no class of train.tsv; its classes are 'ham', 'spam'");
}

TEST_F(ClassesTest, RefusesMissingLabelsAndOneClass) {
  EXPECT_CONTAINS(message_of<InputError>([&] { read_classes(table("x\tc\na\tspam\nb\tNA\n"), 1); }),
                  "a.tsv:3:3: the label (column 'c') is missing");
  EXPECT_CONTAINS(message_of<InputError>([&] { read_classes(table("x\tc\na\tspam\nb\tspam\n"), 1); }),
                  "all 2 rows have the label 'spam'");
  EXPECT_FALSE(find_classes(table("x\tc\na\t\nb\t\n"), "c", {"u"}, "m").has_value());
  EXPECT_FALSE(find_classes(table("x\tc\na\t1\n"), "other", {"u"}, "m").has_value());
}

}  // namespace
}  // namespace bilevel
