#include "bilevel/task/problem_data.h"

#include <ATen/CPUGeneratorImpl.h>

#include <map>
#include <set>

#include "bilevel/task/known_problem.h"
#include "tests/support.h"

namespace bilevel {
namespace problem_data_test {

std::string idx(const std::vector<uint8_t>& shape, const std::string& elements) {
  std::string bytes{0, 0, 8, static_cast<char>(shape.size())};
  for (const uint8_t size : shape) bytes += std::string{0, 0, 0, static_cast<char>(size)};
  return bytes + elements;
}

class ProblemDataTest : public testing::Test {
 protected:
  std::string libsvm(const std::string& name, const std::string& content) const {
    return folder_.write(name, content);
  }
  std::string refused(const ProblemDataOptions& options) const {
    return input_error([&] { read_problem_data(options); });
  }
  TemporaryFolder folder_;
};

TEST_F(ProblemDataTest, ClassesAreTheDistinctLabelsAscending) {
  const std::string train = libsvm("train", "7 1:1\n-2 2:2\n3 1:3 3:4\n7 1:5\n");
  const std::string valid = libsvm("valid", "3 4:6\n-2 1:7\n");
  const ProblemData data = read_problem_data({.train = train, .valid = valid});
  EXPECT_EQ(data.labels, (std::vector<double>{-2, 3, 7}));
  EXPECT_EQ(data.train.features.sizes(), (std::vector<int64_t>{4, 4})) << "as wide as the wider file";
  EXPECT_EQ(data.valid.features.sizes(), (std::vector<int64_t>{2, 4}));
  // The rows come in random order: each with its own class.
  for (int64_t i = 0; i < 4; ++i) {
    const torch::Tensor row = data.train.features[i];
    const int64_t expected = row[1].item<double>() == 2 ? 0 : row[2].item<double>() == 4 ? 1 : 2;
    EXPECT_EQ(data.train.classes[i].item<int64_t>(), expected);
  }
  EXPECT_EQ(data.train.features.sum().item<double>(), 15);
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(data.valid.classes[i].item<int64_t>(), data.valid.features[i][3].item<double>() == 6 ? 1 : 0);
  }
}

TEST_F(ProblemDataTest, KeepsTheFilesDoublesAndLines) {
  const std::string train =
      libsvm("train", "# head\n1 1:0.1\n\n2 1:123456789.123\n1 1:0.3\n2 1:1e39\n1 1:5\n");
  const ProblemData data = read_problem_data({.train = train, .seed = 2});
  const std::map<int64_t, double> written{{2, 0.1}, {4, 123456789.123}, {5, 0.3}, {6, 1e39}, {7, 5}};
  std::set<int64_t> seen;
  for (const LabelledRows* part : {&data.train, &data.valid}) {
    for (int64_t i = 0; i < part->rows(); ++i) {
      const auto line = part->numbers[i].item<int64_t>();
      EXPECT_EQ(part->features[i][0].item<double>(), written.at(line)) << "line " << line;
      seen.insert(line);
    }
  }
  EXPECT_EQ(seen.size(), 5U);
  EXPECT_EQ(data.valid.rows(), 1);
}

TEST_F(ProblemDataTest, CutsValidationRowsOnceForASeed) {
  std::string rows;
  for (int i = 1; i <= 50; ++i) rows += (i % 2 == 0 ? "1 1:" : "0 1:") + std::to_string(i) + "\n";
  const std::string train = libsvm("train", rows);
  const auto ids = [](const LabelledRows& part) {
    std::multiset<double> values;
    for (int64_t i = 0; i < part.rows(); ++i) values.insert(part.features[i][0].item<double>());
    return values;
  };
  const ProblemData data = read_problem_data({.train = train, .seed = 3});
  EXPECT_EQ(data.valid.rows(), 10);
  EXPECT_EQ(data.train.rows(), 40);
  std::multiset<double> all = ids(data.train);
  all.merge(ids(data.valid));
  EXPECT_EQ(all.size(), 50U);
  EXPECT_EQ(std::set<double>(all.begin(), all.end()).size(), 50U) << "a row stands in both parts";
  EXPECT_EQ(ids(read_problem_data({.train = train, .seed = 3}).valid), ids(data.valid));
  EXPECT_NE(ids(read_problem_data({.train = train, .seed = 4}).valid), ids(data.valid));
  const ProblemData fewer = read_problem_data({.train = train, .train_rows = 12, .valid_rows = 5, .seed = 3});
  EXPECT_EQ(fewer.train.rows(), 12);
  EXPECT_EQ(fewer.valid.rows(), 5);
  EXPECT_EQ(refused({.train = train, .valid_rows = 50}),
            "train: 50 validation rows cannot be cut from 50 rows");
}

TEST_F(ProblemDataTest, ReadsIdx) {
  const std::string images =
      folder_.write("images", idx({3, 2, 2}, std::string("\x01\x02\x03\x04\x05\x06\x07\x08\xff\0\0\0", 12)));
  const std::string labels = folder_.write("labels", idx({3}, std::string("\x05\x09\x05", 3)));
  const ProblemData data =
      read_problem_data({.train = images, .train_labels = labels, .valid = images, .valid_labels = labels});
  EXPECT_EQ(data.labels, (std::vector<double>{5, 9}));
  for (int64_t i = 0; i < 3; ++i) {  // the examples begin with 1, 5 and 255
    const double first = data.train.features[i][0].item<double>();
    EXPECT_EQ(data.train.numbers[i].item<int64_t>(), first == 1 ? 1 : first == 5 ? 2 : 3);
  }
  EXPECT_EQ(data.train.features.sizes(), (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(data.train.features.max().item<double>(), 255);
  EXPECT_EQ(data.train.features.scalar_type(), torch::kFloat64);
  EXPECT_EQ(data.train.classes.sum().item<int64_t>(), 1);
}

TEST_F(ProblemDataTest, SaysWhatIsWrongAndWhere) {
  const std::string good = libsvm("good", "1 1:1\n0 2:2\n");
  EXPECT_EQ(refused({.train = folder_.path("none")}), "none: there is no such file");
  EXPECT_EQ(refused({.train = libsvm("a", "1 1:1\n\n0.5 1:2\n")}),
            "a:3:1: the label 0.5 is no class: it must be a whole number");
  EXPECT_EQ(refused({.train = libsvm("a", "1 1:1\n1 1:2\n")}), "a: all 2 rows have the label 1");
  EXPECT_EQ(refused({.train = good, .valid = libsvm("a", "1 1:1\n2 1:2\n")}),
            "a:2:1: no row of " + good + " has the label 2");
  EXPECT_EQ(refused({.train = good, .valid_labels = good}), "valid_labels is given, but valid is not");
  const std::string images = folder_.write("images", idx({2, 2}, "abcd"));
  const std::string wide = folder_.write("wide", idx({2, 3}, "abcdef"));
  const std::string labels = folder_.write("labels", idx({2}, std::string("\x00\x01", 2)));
  EXPECT_CONTAINS(refused({.train = images, .train_labels = labels, .valid = wide, .valid_labels = labels}),
                  "wide has 3 features a row, but " + images + " has 2");
  EXPECT_EQ(refused({.train = images,
                     .train_labels = labels,
                     .valid = images,
                     .valid_labels = folder_.write("a", idx({2}, std::string("\x00\x07", 2)))}),
            "a: label 2: no row of " + images + " has the label 7");
  EXPECT_CONTAINS(refused({.train = libsvm("a", "1 2000000000:1\n0 1:1\n"), .valid = good}), "GiB (limit 4)");
}

TEST_F(ProblemDataTest, StandardizesByTheTrainingRows) {
  ProblemData data = generated_problem_data(3, 4, 50, 20);
  data.train.features.select(1, 2).fill_(7);  // constant
  data.valid.features.select(1, 2).fill_(9);
  const torch::Tensor before = data.valid.features.clone();
  const torch::Tensor mean = data.train.features.mean(0).clone();
  standardize(data);
  EXPECT_LT(data.train.features.mean(0).abs().max().item<double>(), 1e-14);
  const torch::Tensor squares = data.train.features.square().mean(0);
  EXPECT_NEAR(squares[0].item<double>(), 1, 1e-12);
  EXPECT_EQ(squares[2].item<double>(), 0);
  EXPECT_EQ(data.valid.features.select(1, 2).abs().max().item<double>(), 0);
  const torch::Tensor ratio = (before - mean).select(1, 0) / data.valid.features.select(1, 0);
  EXPECT_LT((ratio - ratio[0]).abs().max().item<double>(), 1e-10) << "one scale for both parts";
}

// ---- the problems on files ----

std::unique_ptr<KnownProblem> built(const std::string& name, const nlohmann::json& options,
                                    uint64_t seed = 1) {
  auto known = make_known_problem(name);
  fields_of(*known).from_json(options);
  known->build(seed);
  return known;
}

/// The true hypergradient against differences of f(x, y*(x)) along one direction.
void expect_true_gradient(const KnownProblem& known, const torch::Tensor& at, double tolerance) {
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(5);
  torch::Tensor direction = torch::randn(at.sizes(), random, torch::kFloat64);
  direction /= direction.norm();
  const Problem problem = known.problem();
  const auto composed = [&](double step) {
    const torch::NoGradGuard no_grad;
    known.x().copy_(at + step * direction);
    known.y().copy_(known.best_lower(at + step * direction));
    return problem.upper.loss(problem.upper.batches.all()).item<double>();
  };
  const double slope = (composed(1e-3) - composed(-1e-3)) / 2e-3;
  EXPECT_NEAR(known.gradient(at).dot(direction).item<double>(), slope, tolerance);
  EXPECT_GT(std::abs(slope), 10 * tolerance) << "too small to tell";
}

TEST_F(ProblemDataTest, ProblemsRefuseWhatTheyCannotUse) {
  const std::string three = libsvm("three", "1 1:1\n2 1:2\n3 1:3\n1 2:1\n2 1:5\n");
  EXPECT_EQ(input_error([&] {
              built("logistic", {{"train", three}});
            }),
            "three: 3 different labels, but logistic takes two");
  EXPECT_EQ(input_error([&] { built("logistic", {{"valid", three}}); }), "valid is given, but train is not");
  EXPECT_EQ(input_error([&] {
              built("softmax-cleaning", {{"train_labels", three}});
            }),
            "train_labels is given, but train is not");
  EXPECT_CONTAINS(input_error([&] {
                    built("logistic", {{"train", libsvm("wide", "1 6000:1\n0 1:1\n1 1:1\n0 1:1\n1 2:1\n")}});
                  }),
                  "6000 features");
  EXPECT_CONTAINS(input_error([&] { built("softmax-cleaning", {{"corruption", 1.5}}); }), "corruption = 1.5");
}

TEST_F(ProblemDataTest, CorruptionReplacesTheStatedShareOnce) {
  std::string rows;
  for (int i = 0; i < 2000; ++i) rows += std::to_string(i % 4) + " " + std::to_string(i % 4 + 1) + ":1\n";
  const std::string train = libsvm("train", rows);
  const auto wrong_share = [&](double corruption) {
    const auto known =
        built("softmax-cleaning",
              {{"train", train}, {"valid", train}, {"corruption", corruption}, {"standardize", false}});
    const Batch batch = known->problem().lower.batches.all();
    EXPECT_TRUE(torch::equal(batch.targets(), known->problem().lower.batches.all().targets()))
        << "drawn anew at every access";
    const Batch clean = known->problem().upper.batches.all();
    EXPECT_TRUE(torch::equal(clean.input().argmax(1), clean.targets()))
        << "validation labels must stay clean";
    return batch.input().argmax(1).ne(batch.targets()).to(torch::kFloat64).mean().item<double>();
  };
  EXPECT_EQ(wrong_share(0), 0);
  // A replaced label is right again in a quarter of the cases; four standard errors.
  EXPECT_NEAR(wrong_share(0.5), 0.375, 4 * std::sqrt(0.375 * 0.625 / 2000));
  EXPECT_NEAR(wrong_share(1), 0.75, 4 * std::sqrt(0.75 * 0.25 / 2000));
}

TEST_F(ProblemDataTest, BatchesAreAsLargeAsAsked) {
  const auto known = built("logistic", {{"batch_size", 30}});
  const Problem problem = known->problem();
  EXPECT_FALSE(problem.lower.batches.full_batch());
  EXPECT_EQ(problem.lower.batches.batch_size(), 30);
  EXPECT_EQ(problem.upper.batches.batch_size(), 30);
}

TEST_F(ProblemDataTest, LogisticOnA9a) {
  SKIP_WITHOUT_DATA();
  const auto known = built("logistic", {{"train", data_folder() + "/libsvm/a9a.gz"},
                                        {"valid", data_folder() + "/libsvm/a9a.t.gz"},
                                        {"train_rows", 2000},
                                        {"valid_rows", 1000}});
  EXPECT_EQ(known->x().numel(), 123);
  expect_true_gradient(*known, torch::full({123}, -4.0, torch::kFloat64), 1e-8);
}

TEST_F(ProblemDataTest, SoftmaxCleaningOnMnist) {
  SKIP_WITHOUT_DATA();
  const std::string mnist = data_folder() + "/mnist/";
  const auto known = built("softmax-cleaning", {{"train", mnist + "t10k-images-idx3-ubyte.gz"},
                                                {"train_labels", mnist + "t10k-labels-idx1-ubyte.gz"},
                                                {"train_rows", 150},
                                                {"valid_rows", 100}});
  EXPECT_EQ(known->x().numel(), 150);
  EXPECT_EQ(known->y().numel(), 7840);
  expect_true_gradient(*known, known->x().detach().clone(), 1e-8);
}

}  // namespace problem_data_test
}  // namespace bilevel
