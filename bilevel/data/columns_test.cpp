#include "bilevel/data/columns.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <numeric>

#include "bilevel/data/libsvm.h"
#include "bilevel/data/sparse_transform.h"
#include "tests/files.h"

namespace bilevel {
namespace {

using Names = std::vector<std::string>;

const ColumnOptions kPlain{.numbers = {.rank = false, .clip = 0}};

class ColumnsTest : public testing::Test {
 protected:
  Table read(std::string_view text, const std::string& name = "a.csv",
             const TableOptions& options = {}) const {
    return read_table(folder_.write(name, text), options);
  }
  static std::vector<int64_t> range(int64_t count) {
    std::vector<int64_t> rows(static_cast<size_t>(count));
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
  }
  static ColumnTransform fit(const Table& table, const ColumnOptions& options = kPlain) {
    std::vector<size_t> columns(table.columns());
    std::iota(columns.begin(), columns.end(), size_t{0});
    return ColumnTransform::fit(table, columns, range(static_cast<int64_t>(table.rows())), options);
  }
  std::string fit_error(std::string_view text, const ColumnOptions& options = {}) const {
    return input_error([&] { fit(read(text), options); });
  }
  TemporaryFolder folder_;
};

TEST_F(ColumnsTest, StandardizesNumbersOnTheTrainingRowsOnly) {
  const Table table = read("x,y\n1,5\n2,5\n3,5\n102,5\n");
  const ColumnTransform transform = ColumnTransform::fit(table, {0}, {0, 1, 2}, kPlain);
  EXPECT_EQ(transform.feature_names(), (Names{"x"}));
  const float one = std::sqrt(1.5F);
  EXPECT_TRUE(transform.apply(table).allclose(torch::tensor({{-one}, {0.F}, {one}, {100 * one}})));
  EXPECT_TRUE(transform.apply(table, {3, 0}).allclose(torch::tensor({{100 * one}, {-one}})));
  const ColumnTransform clipped = ColumnTransform::fit(table, {0}, {0, 1, 2}, {.numbers = {.rank = false}});
  EXPECT_TRUE(clipped.apply(table, {3, 0}).allclose(torch::tensor({{3.F}, {-one}})));
}

TEST_F(ColumnsTest, FillsInMissingValues) {
  const Table table = read("x,c\n1,a\n?,b\n3,NA\n");
  const ColumnTransform transform = fit(table);
  EXPECT_EQ(transform.feature_names(), (Names{"x", "x:missing", "c=a", "c=b", "c:missing"}));
  EXPECT_TRUE(transform.apply(table).equal(
      torch::tensor({{0.F, 0.F, 1.F, 0.F, 0.F}, {0.5F, 1.F, 0.F, 1.F, 0.F}, {1.F, 0.F, 0.F, 0.F, 1.F}})));
  EXPECT_EQ(transform.missing(), 2);
  // Missing cells in a column without an indicator are the mean.
  const ColumnTransform complete = ColumnTransform::fit(table, {0}, {0, 2}, kPlain);
  EXPECT_EQ(complete.feature_names(), (Names{"x"}));
  EXPECT_EQ(complete.apply(table, {1}).item<float>(), 0.5F);
}

TEST_F(ColumnsTest, UnseenCategoriesAreZero) {
  const Table table = read("c\nb\na\nb\n");
  const ColumnTransform transform = fit(table);
  EXPECT_EQ(transform.feature_names(), (Names{"c=b", "c=a"}));
  EXPECT_TRUE(transform.apply(read("c\nz\na\n", "b.csv")).equal(torch::tensor({{0.F, 0.F}, {0.F, 1.F}})));
  // A number in a column of words is one more category.
  EXPECT_TRUE(transform.apply(read("d,c\nx,7\n", "c.csv")).equal(torch::zeros({1, 2})));
}

TEST_F(ColumnsTest, RareCategoriesShareAFeature) {
  const Table table = read("c\na\na\nb\nb\nd\ne\n");
  const ColumnTransform transform = fit(table, {.max_categories = 2});
  EXPECT_EQ(transform.feature_names(), (Names{"c=a", "c=b", "c:other"}));
  const torch::Tensor features = transform.apply(table);
  EXPECT_TRUE(features.sum(1).equal(torch::ones({6})));
  EXPECT_EQ(features.select(1, 2).sum().item<float>(), 2.F);
}

TEST_F(ColumnsTest, DropsConstantColumns) {
  const Table table = read("x,k,w,e\n1,7,a,\n2,7,a,\n3,7,a,\n4,,a,\n");
  const ColumnTransform transform = fit(table);
  EXPECT_EQ(transform.feature_names(), (Names{"x", "k:missing"}));
  EXPECT_EQ(transform.columns(), 4);
  EXPECT_EQ(transform.dropped(), 3);
  EXPECT_EQ(fit_error("k,w\n1,a\n1,a\n"),
            "a.csv: the 2 feature columns give no feature: all are constant or missing");
}

TEST_F(ColumnsTest, ConstantUpToRoundingIsConstant) {
  EXPECT_TRUE(NumberScaler({0.1 + 0.2, 0.3, 0.3}).constant());
  EXPECT_FALSE(NumberScaler({1e-300, 2e-300}).constant());
  EXPECT_FALSE(NumberScaler({1e307, -1e307, 0}).constant());
  EXPECT_NEAR(NumberScaler({1e307, -1e307, 0}).scaled(1e307), std::sqrt(1.5), 1e-6);
}

TEST_F(ColumnsTest, MixedColumnsAreErrorsUnlessNamed) {
  const char* text = "x,y\n1,3\n,2\nb,1\n4,5\n";
  EXPECT_EQ(
      fit_error(text),
      "a.csv:4:1: 'b' in column 'x' is not a number, but the column also holds numbers ('1' on line "
      "2); if they are categories, name the column categorical (--categorical x); if it marks a missing "
      "value, give --missing='b'");
  const ColumnTransform named =
      fit(read(text), {.categorical = {"x"}, .numbers = {.rank = false, .clip = 0}});
  EXPECT_EQ(named.feature_names(), (Names{"x=1", "x=4", "x=b", "x:missing", "y"}));
  EXPECT_NE(fit_error(text, {.categorical = {"z"}}).find("has no column 'z'"), std::string::npos);
  const Table table = read(text);
  EXPECT_NE(input_error([&] {
              ColumnTransform::fit(table, {1}, {0, 1}, {.categorical = {"x"}});
            }).find("is not one of the features"),
            std::string::npos);
  // The kind is decided on all rows, so that a split of one file cannot hide the first bad cell.
  EXPECT_EQ(input_error([&] { ColumnTransform::fit(table, {0}, {0, 3}); }).substr(0, 11), "a.csv:4:1: ");
}

TEST_F(ColumnsTest, ALaterFileMustFit) {
  const ColumnTransform transform = fit(read("x,c\n1,a\n2,b\n"));
  EXPECT_EQ(input_error([&] { transform.apply(read("c,x\na,1\nb,u\n", "b.csv")); }).substr(0, 11),
            "b.csv:3:3: ");
  EXPECT_EQ(input_error([&] { transform.apply(read("c,x\na,1\nb,inf\n", "b.csv")); }),
            "b.csv:3:3: 'inf' in column 'x' is infinite; values must be finite");
  EXPECT_EQ(input_error([&] { transform.apply(read("c,z\na,1\n", "b.csv")); }),
            "b.csv: has no column 'x'; its columns are c, z");
  EXPECT_TRUE(transform.apply(read("c,x\nb,1\n", "b.csv")).equal(torch::tensor({{0.F, 0.F, 1.F}})));
}

TEST_F(ColumnsTest, InfinityIsAnError) {
  EXPECT_EQ(fit_error("x\n1\n-Inf\n"), "a.csv:3:1: '-Inf' in column 'x' is infinite; values must be finite");
  EXPECT_EQ(fit_error("x\n1\n1e400\n"),
            "a.csv:3:1: '1e400' in column 'x' is infinite; values must be finite");
  EXPECT_EQ(fit_error("x,y\nb,1\ninf,2\n").substr(0, 11), "a.csv:3:1: ");
}

TEST_F(ColumnsTest, RankScoresAreNormalScores) {
  // Five values: shares (2i+2)/12 of the sorted values, whose normal scores are -0.9674, -0.4307, 0, 0.4307,
  // 0.9674.
  const NumberScaler scaler({1, 2, 4, 1000, 3});
  ASSERT_EQ(scaler.width(), 2);
  const double deviation = std::sqrt(2 * (0.967421566 * 0.967421566 + 0.430727300 * 0.430727300) / 5);
  EXPECT_NEAR(scaler.rank_score(1), -0.967421566 / deviation, 1e-6);
  EXPECT_NEAR(scaler.rank_score(2), -0.430727300 / deviation, 1e-6);
  EXPECT_NEAR(scaler.rank_score(3), 0.0, 1e-6);
  EXPECT_NEAR(scaler.rank_score(3.5), 0.5 * 0.430727300 / deviation, 1e-6);
  EXPECT_EQ(scaler.rank_score(1e9), scaler.rank_score(1000));
  EXPECT_EQ(scaler.rank_score(-5), scaler.rank_score(1));
  EXPECT_FALSE(NumberScaler({0, 1, 1, 0}).has_rank());
  EXPECT_TRUE(NumberScaler({0, 1, 2, 0}).has_rank());
}

TEST_F(ColumnsTest, RankScoresOfManyValuesAreStandardNormal) {
  std::vector<double> values;
  for (int i = 0; i < 20000; ++i) values.push_back(std::exp(static_cast<double>(i * 7919 % 20011) / 2000.0));
  const NumberScaler scaler(values);
  EXPECT_LE(scaler.to_json()["knots"].size(), 1001U);
  double sum = 0;
  double squares = 0;
  for (const double value : values) {
    sum += scaler.rank_score(value);
    squares += std::pow(scaler.rank_score(value), 2);
  }
  EXPECT_NEAR(sum / 20000, 0.0, 1e-5);
  EXPECT_NEAR(squares / 20000, 1.0, 1e-5);
  EXPECT_NEAR(scaler.rank_score(std::exp(5.0)), 0.0, 0.01);
}

TEST_F(ColumnsTest, JsonKeepsTheTransform) {
  const Table table = read("x,c,k\n1.25,a,5\n?,b,5\n3.1,NA,5\n0.7,d,5\n");
  const ColumnTransform transform = fit(table, {.max_categories = 2});
  const std::string text = transform.to_json().dump();
  const ColumnTransform back = ColumnTransform::from_json(nlohmann::json::parse(text));
  EXPECT_EQ(back.feature_names(), transform.feature_names());
  const Table later = read("c,k,x\nq,1,-3\nb,2,\na,,2\n", "b.csv");
  EXPECT_TRUE(back.apply(later).equal(transform.apply(later)));
  EXPECT_EQ(back.dropped(), 1);
  EXPECT_THROW(ColumnTransform::from_json(nlohmann::json::parse("{\"columns\": [{}]}")), FileError);
  EXPECT_THROW(ColumnTransform::from_json(nlohmann::json::parse("3")), FileError);
}

TEST_F(ColumnsTest, ALaterFileIsReadAsTheTrainingFileWas) {
  const ColumnTransform transform = fit(read("x,p\n\"1,5\",$10\n\"2,5\",$20\n\"3,5\",30\n"));
  const ColumnTransform back = ColumnTransform::from_json(nlohmann::json::parse(transform.to_json().dump()));
  const torch::Tensor expected = transform.apply(read("x,p\n\"2,5\",$20\n"));
  EXPECT_TRUE(expected.abs().max().item<float>() < 1e-6);  // the means
  EXPECT_TRUE(back.apply(read("p,x\n20,\"2,50\"\n", "b.csv")).equal(expected));
  EXPECT_EQ(input_error([&] { back.apply(read("p,x\n20,2.5\n", "b.csv")); }),
            "b.csv:2:4: '2.5' in column 'x' is not a number (decimal comma), but the training rows hold "
            "numbers there; it is written in another way: write the column as in the training file");
  EXPECT_NE(input_error([&] { back.apply(read("p,x\n\u20AC20,2\n", "b.csv")); }), "");
  // Earlier versions wrote no reading: their numbers are plain.
  nlohmann::json old = fit(read("x,c\n1.5,a\n2.5,b\n")).to_json();
  for (auto& column : old["columns"]) column.erase("reading");
  const Table later = read("x,c\n2.5,b\n", "b.csv");
  EXPECT_TRUE(ColumnTransform::from_json(old).apply(later).equal(torch::tensor({{1.F, 0.F, 1.F}})));
}

TEST_F(ColumnsTest, MarksOfMissingValuesAmongNumbers) {
  const ColumnTransform transform = fit(read("x,c\n1,a\nN/A,None\nNone,b\n3,NA\n"));
  EXPECT_EQ(transform.feature_names(), (Names{"x", "x:missing", "c=None", "c=a", "c=b", "c:missing"}));
  EXPECT_EQ(transform.missing(), 3);
}

TEST_F(ColumnsTest, DatesBecomeNumbers) {
  std::string text = "d\n";
  for (int i = 0; i < 60; ++i)
    text += "20" + std::to_string(20 + i / 12) + "-" + (i % 12 < 9 ? "0" : "") + std::to_string(i % 12 + 1) +
            "-01\n";
  const ColumnTransform transform = fit(read(text));
  EXPECT_EQ(transform.feature_names(), (Names{"d", "d:month", "d:weekday"}));
  const torch::Tensor features = transform.apply(read(text));
  EXPECT_TRUE((features.diff(1, 0).select(1, 0) > 0).all().item<bool>());
  EXPECT_NEAR(features.select(1, 1)[0].item<float>(), features.select(1, 1)[12].item<float>(), 1e-6);
  const ColumnTransform back = ColumnTransform::from_json(nlohmann::json::parse(transform.to_json().dump()));
  EXPECT_TRUE(
      back.apply(read("d\n2021-05-07\n", "b.csv")).equal(transform.apply(read("d\n07.05.2021\n", "c.csv"))));
  EXPECT_NE(input_error([&] { back.apply(read("d\nsoon\n", "b.csv")); }).find("is not a date"),
            std::string::npos);
  // Over a day, neither months nor weekdays say anything of their own.
  EXPECT_EQ(fit(read("d\n2024-01-01 10:00\n2024-01-01 11:00\n2024-01-01 12:30\n")).feature_names(),
            (Names{"d"}));
}

// Of a number with a rank that; none of two values, of a category or of where values are missing.
TEST_F(ColumnsTest, TellsWhichFeaturesAreNumbers) {
  const Table table = read("c,x,f,y,k\na,1,0,7,5\nb,2,1,8,5\na,,0,7,5\nb,4,1,9,5\n");
  const ColumnTransform ranked = fit(table, {});
  EXPECT_EQ(ranked.feature_names(), (Names{"c=a", "c=b", "x", "x:rank", "x:missing", "f", "y", "y:rank"}));
  EXPECT_EQ(ranked.numbers(), (std::vector<int64_t>{3, 7}));
  EXPECT_EQ(fit(table).numbers(), (std::vector<int64_t>{2, 5}));
}

TEST_F(ColumnsTest, CategoriesThatAreNumbersCompareAsNumbers) {
  const Table train = read("c\n5\n6.5\n5\n0110\n", "a.csv", {.header = true});
  const ColumnTransform transform = fit(train, {.categorical = {"c"}});
  EXPECT_EQ(transform.feature_names(), (Names{"c=5", "c=0110", "c=6.5"}));
  const Table later = read("c\n5.0\n+5\n6.50\n110\n", "b.csv", {.header = true});
  EXPECT_TRUE(transform.apply(later).equal(
      torch::tensor({{1.F, 0.F, 0.F}, {1.F, 0.F, 0.F}, {0.F, 0.F, 1.F}, {0.F, 0.F, 0.F}})));
  const auto unseen = transform.unseen(later);
  ASSERT_EQ(unseen.size(), 1U);
  EXPECT_EQ(unseen[0].column, "c");
  EXPECT_EQ(unseen[0].cells, 1);
  EXPECT_EQ(unseen[0].of, 4);
  EXPECT_TRUE(transform.unseen(train).empty());
}

TEST_F(ColumnsTest, AnAccentOfACategoryMayBeWrittenInTwoWays) {
  const Table table = read("t\n\u00E9t\u00E9\nhiver\ne\u0301te\u0301\n");
  const ColumnTransform transform = fit(table);
  EXPECT_EQ(transform.width(), 2);
  const torch::Tensor features = transform.apply(table);
  EXPECT_TRUE(features[0].equal(features[2]));
}

TEST_F(ColumnsTest, ManyCategoriesAreKeptSparse) {
  std::string text = "x,c,d\n";
  for (int i = 0; i < 120; ++i)
    text += (i % 7 == 0 ? "" : std::to_string(i % 5)) + ",a" + std::to_string(i % 40) + ",b" +
            std::to_string(i % 30) + "\n";
  const Table table = read(text);
  EXPECT_FALSE(fit(table).is_sparse());
  const ColumnTransform sparse = fit(table, {.dense_bytes = 1000});
  ASSERT_TRUE(sparse.is_sparse());
  EXPECT_TRUE(sparse.apply_sparse(table).to_dense().equal(sparse.apply(table)));
  EXPECT_TRUE(ColumnTransform::from_json(sparse.to_json()).is_sparse());
  EXPECT_FALSE(fit(read("x,y\n1,2\n2,5\n"), {.dense_bytes = 1}).is_sparse()) << "a full matrix stays dense";
}

// ---- LIBSVM ----

class SparseTransformTest : public ColumnsTest {
 protected:
  SparseRows rows(std::string_view text) const { return read_libsvm(folder_.write("a.svm", text)).features; }
};

TEST_F(SparseTransformTest, SmallSetsBecomeDense) {
  const SparseRows training = rows("1 1:1 3:2 4:7\n1 1:3 4:7\n");
  const SparseTransform transform = SparseTransform::fit(training, {.numbers = {.rank = false, .clip = 0}});
  ASSERT_TRUE(transform.is_dense());
  EXPECT_EQ(transform.feature_names(), (Names{"1", "3"}));
  EXPECT_TRUE(transform.apply_dense(training).equal(torch::tensor({{0.F, 1.F}, {1.F, 0.F}})));
  EXPECT_TRUE(
      transform.apply_dense(rows("1 2:5 3:1 9:1\n1\n")).equal(torch::tensor({{-0.5F, 0.5F}, {-0.5F, 0.F}})));
  EXPECT_THROW(transform.apply_sparse(training), std::logic_error);
}

TEST_F(SparseTransformTest, TellsWhichFeaturesAreNumbers) {
  const SparseRows training = rows("1 1:1 3:2 4:7 6:1\n1 1:3 4:7 6:2\n1 6:4\n");
  const SparseTransform transform = SparseTransform::fit(training);
  EXPECT_EQ(transform.feature_names(), (Names{"1", "1:rank", "3", "4", "6", "6:rank"}));
  EXPECT_EQ(transform.numbers(), (std::vector<int64_t>{1, 5}));
}

TEST_F(SparseTransformTest, LargeSetsStaySparse) {
  const SparseRows training = rows("1 1:1 3:-4\n1 1:0.5 3:2\n");
  const SparseTransform transform = SparseTransform::fit(training, {.dense_bytes = 15});
  ASSERT_FALSE(transform.is_dense());
  EXPECT_TRUE(SparseTransform::fit(training, {.dense_bytes = 16}).is_dense());
  EXPECT_EQ(transform.feature_names(), (Names{"1", "3"}));
  const SparseRows later = transform.apply_sparse(rows("1 1:2 2:1 3:2 7:1\n"));
  EXPECT_TRUE(later.to_dense().equal(torch::tensor({{2.F, 0.5F}})));
  EXPECT_THROW(transform.apply_dense(training), std::logic_error);
}

TEST_F(SparseTransformTest, CostFollowsTheIndicesThatOccur) {
  const SparseRows training = rows("1 5:1 2000000000:3\n1 5:2\n0 7:1 2000000000:1\n");
  const SparseTransform dense = SparseTransform::fit(training, {.numbers = {.rank = false, .clip = 0}});
  ASSERT_TRUE(dense.is_dense());
  EXPECT_EQ(dense.feature_names(), (Names{"5", "7", "2000000000"}));
  const SparseTransform sparse = SparseTransform::fit(training, {.dense_bytes = 0});
  EXPECT_EQ(sparse.width(), 3);
  const SparseRows later = sparse.apply_sparse(rows("1 1:9 5:1 6:9 2000000000:6\n1 1999999999:1\n"));
  EXPECT_TRUE(later.to_dense().equal(torch::tensor({{0.5F, 0.F, 2.F}, {0.F, 0.F, 0.F}})));
}

TEST_F(SparseTransformTest, TakesWhatEarlierVersionsWrote) {
  const auto state =
      nlohmann::json::parse(R"({"dense": false, "input_width": 3, "scales": [0.5, 0.0, 2.0]})");
  const SparseRows later = SparseTransform::from_json(state).apply_sparse(rows("1 1:2 2:1 3:2 7:1\n"));
  EXPECT_TRUE(later.to_dense().equal(torch::tensor({{1.F, 0.F, 4.F}})));
}

TEST_F(SparseTransformTest, RefusesConstantRows) {
  EXPECT_NE(input_error([&] { SparseTransform::fit(rows("1 1:1\n1 1:1\n")); }), "");
  EXPECT_NE(input_error([&] { SparseTransform::fit(rows("1\n1\n")); }), "");
}

TEST_F(SparseTransformTest, JsonKeepsTheTransform) {
  const SparseRows training = rows("1 1:1.1 3:-4\n1 1:0.5 3:2\n1 2:1 3:9\n1 3:0.3\n");
  const SparseRows later = rows("1 1:2 2:1 3:2 7:1\n");
  const SparseTransform dense = SparseTransform::fit(training);
  EXPECT_TRUE(SparseTransform::from_json(nlohmann::json::parse(dense.to_json().dump()))
                  .apply_dense(later)
                  .equal(dense.apply_dense(later)));
  const SparseTransform sparse = SparseTransform::fit(training, {.dense_bytes = 0});
  EXPECT_TRUE(SparseTransform::from_json(nlohmann::json::parse(sparse.to_json().dump()))
                  .apply_sparse(later)
                  .to_dense()
                  .equal(sparse.apply_sparse(later).to_dense()));
  EXPECT_THROW(SparseTransform::from_json(nlohmann::json::parse("{\"dense\": true}")), FileError);
}

TEST_F(ColumnsTest, RealTablesBecomeFiniteStandardizedFeatures) {
  SKIP_WITHOUT_DATA();
  for (const char* name :
       {"phoneme", "haberman", "pima-indians-diabetes", "german", "ionosphere", "sonar", "magic04"}) {
    const Table table = read_table(data_folder() + "/tabular/" + name + ".csv.gz");
    std::vector<size_t> columns(table.columns() - 1);
    std::iota(columns.begin(), columns.end(), size_t{0});
    const auto rows = range(static_cast<int64_t>(table.rows()));
    const ColumnTransform transform = ColumnTransform::fit(table, columns, rows);
    const torch::Tensor features = transform.apply(table);
    EXPECT_TRUE(features.isfinite().all().item<bool>()) << name;
    for (int64_t i = 0; i < transform.width(); ++i) {
      const torch::Tensor column = features.select(1, i).to(torch::kFloat64);
      if (column.min().item<double>() == 0.0 && column.max().item<double>() == 1.0) continue;
      if (column.abs().max().item<double>() >= 3.0) continue;  // clipped
      EXPECT_NEAR(column.mean().item<double>(), 0.0, 1e-5) << name << " " << i;
      EXPECT_NEAR(column.std(false).item<double>(), 1.0, 1e-4) << name << " " << i;
    }
  }
  const SparseTable a9a = read_libsvm(data_folder() + "/libsvm/a9a.gz");
  const SparseTransform transform = SparseTransform::fit(a9a.features);
  ASSERT_TRUE(transform.is_dense());
  EXPECT_EQ(transform.apply_dense(a9a.features).sizes(), (std::vector<int64_t>{32561, 123}));
}

}  // namespace
}  // namespace bilevel
