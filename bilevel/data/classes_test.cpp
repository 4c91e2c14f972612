#include "bilevel/data/classes.h"

#include <gtest/gtest.h>

#include "bilevel/data/class_key.h"
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

TEST_F(ClassesTest, OneRuleSaysWhichTextsAreOneClass) {
  EXPECT_EQ(class_key(" +1.00 "), "1");
  EXPECT_EQ(class_key("-0"), "0");
  EXPECT_EQ(class_key("12."), "12");
  for (const char* text : {"0110", "3.10", "1e3", "00", "1234567890123456", "0x1", ".5", "a b", "1,0"})
    EXPECT_EQ(class_key(text), text);
  EXPECT_EQ(loose_class_key("3.10"), "3.1");
  EXPECT_EQ(loose_class_key("0110"), "0110");
  EXPECT_EQ(spelling_key("Caf\u00E9 au lait"), spelling_key("cafe\u0301 AU\u00A0LAIT"));

  const ClassLabels versions = read_classes(table("x\tc\na\t3.1\nb\t3.10\nc\t0110\nd\t110\ne\t110.0\n"), 1);
  EXPECT_EQ(versions.names, (Names{"3.1", "3.10", "0110", "110"}));
  EXPECT_EQ(versions.counts, (Numbers{1, 1, 1, 2}));
  ASSERT_EQ(versions.notes.size(), 3U);
  EXPECT_EQ(versions.notes[0], "the labels '110', '110.0' are one class");
  EXPECT_CONTAINS(versions.notes[1], "the labels '3.1' (1 rows), '3.10' (1 rows) are equal as numbers");

  const ClassLabels cases = read_classes(table("x\tc\na\tYes\nb\tyes\nc\tno\n"), 1);
  EXPECT_EQ(cases.names, (Names{"Yes", "no", "yes"}));
  ASSERT_EQ(cases.notes.size(), 1U);
  EXPECT_EQ(cases.notes[0],
            "the labels 'Yes' (1 rows), 'yes' (1 rows) differ in case, blanks or Unicode form alone, and "
            "count as different "
            "classes; if they are one, write them alike");
}

TEST_F(ClassesTest, ALaterFileMayWriteOtherZeros) {
  EXPECT_EQ(read_classes(table("x\tc\na\t2.50\nb\t1.0\n"), 1, {"1", "2.5"}, "m").classes, (Numbers{1, 0}));
  EXPECT_CONTAINS(message_of<InputError>([&] {
                    read_classes(table("x\tc\na\t2.500\n"), 1, {"2.5", "2.50"}, "m");
                  }),
                  "the label '2.500' is no class of m");
  EXPECT_CONTAINS(message_of<InputError>([&] {
                    read_classes(table("x\tc\na\tSPAM\n"), 1, {"ham", "spam"}, "m");
                  }),
                  "did you mean 'spam'?");
}

TEST_F(ClassesTest, RefusesMissingLabelsAndOneClass) {
  EXPECT_CONTAINS(message_of<InputError>([&] { read_classes(table("x\tc\na\tspam\nb\t\n"), 1); }),
                  "a.tsv:3:3: the label (column 'c') is missing");
  EXPECT_CONTAINS(message_of<InputError>([&] { read_classes(table("x\tc\na\tspam\nb\tspam\n"), 1); }),
                  "all 2 rows have the label 'spam'");
  EXPECT_FALSE(find_classes(table("x\tc\na\t\nb\t\n"), "c", {"u"}, "m").has_value());
  EXPECT_FALSE(find_classes(table("x\tc\na\t1\n"), "other", {"u"}, "m").has_value());
}

}  // namespace
}  // namespace bilevel
