// Nothing is wrong with the problems of the jobs in minibatches, as far as their lower level has one minimum (a small
// network as y has many, and `check` says so).
#include <numeric>

#include "bilevel/core/streams.h"
#include "bilevel/task/auc/auc_model.h"
#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/meta/meta_model.h"
#include "bilevel/task/tune/tune_model.h"
#include "tests/checks.h"

namespace bilevel {
namespace check_jobs_test {

constexpr int64_t kRows = 150, kWidth = 4, kClasses = 3, kBatch = 16;
const InputShape kShape{.kind = InputKind::dense, .width = kWidth};

std::vector<int64_t> range(int64_t from, int64_t to) {
  std::vector<int64_t> rows(static_cast<size_t>(to - from));
  std::iota(rows.begin(), rows.end(), from);
  return rows;
}

/// Rows of kClasses classes about different centres, the last class with less than one row in most batches.
struct Rows {
  Inputs inputs;
  std::vector<int64_t> classes;

  Rows() {
    const DefaultGeneratorScope randomness(3);
    torch::Tensor x = torch::randn({kRows, kWidth});
    for (int64_t row = 0; row < kRows; ++row) {
      classes.push_back(row % 30 == 0 ? 2 : row % 2);
      x[row][classes.back()] += 1;
    }
    inputs = Inputs::dense(x);
  }
};

NetworkOptions network(const std::string& encoder, int64_t outputs) {
  if (encoder == "linear") return {.encoder = encoder, .outputs = outputs};
  return {.encoder = encoder, .outputs = outputs, .set = {{"hidden", 6}, {"layers", 1}, {"dropout", 0.0}}};
}

/// Moves parameters off a start that may be special.
void move_off(const std::vector<torch::Tensor>& parameters) {
  const torch::NoGradGuard no_grad;
  const DefaultGeneratorScope randomness(4);
  for (torch::Tensor parameter : parameters) parameter.add_(0.1 * torch::randn_like(parameter));
}

void expect_right(const Problem& problem, const std::string& name) {
  const CheckReport report = check(problem, {.points = 1,
                                             .directions = 1,
                                             .coordinate_limit = 1,  // a direction has all of them
                                             .max_products = 200,
                                             .max_gradients = 2000,
                                             .estimators = {"cg"}});
  EXPECT_TRUE(report.ok) << name << "\n" << report.table();
  for (const char* level : {"the upper loss", "the lower loss"}) {
    const bool upper = level == std::string("the upper loss");
    if ((upper ? problem.upper : problem.lower).batches.size() < 2) continue;  // no data
    EXPECT_EQ(item_named(report, std::string(level) + " is a mean over its rows").verdict, Verdict::ok)
        << name << "\n"
        << report.table();
  }
}

TEST(CheckJobs, NothingIsWrongWithAuc) {
  const Rows rows;
  AucData data{.inputs = rows.inputs, .upper = range(0, kRows), .lower = range(0, kRows)};
  data.labels = (torch::tensor(rows.classes) == 2).to(torch::kFloat32);
  for (const char* encoder : {"linear", "mlp"}) {
    const AucModel model(network(encoder, 1), kShape, {"libauc", 5.0 / kRows, 1.0}, 1, 7, torch::kCPU);
    move_off(model.upper_parameters());
    expect_right(model.problem(data, kBatch), encoder);
  }
}

TEST(CheckJobs, NothingIsWrongWithTune) {
  const Rows rows;
  const TuneData data{rows.inputs, rows.classes, range(0, 90), range(90, kRows)};
  for (const std::string& kind : names_of<TuneKind>()) {
    TuneModel model({.network = network("linear", kClasses),
                     .kind = value_named<TuneKind>(kind, "tune"),
                     .l2 = 0.05,
                     .seed = 2},
                    kShape, data);
    move_off({model.x()});
    expect_right(model.problem(kBatch), kind);
  }
}

TEST(CheckJobs, NothingIsWrongWithClean) {
  const Rows rows;
  const CleanData data{.inputs = {rows.inputs, kShape},
                       .classes = torch::tensor(rows.classes),
                       .count = kClasses,
                       .train = range(0, 90),
                       .trusted = range(90, kRows),
                       .upper = range(90, kRows),
                       .fold_of = torch::arange(kRows) % 3,
                       .weights = torch::rand({3, kRows})};
  const CleanModel model(data, network("linear", kClasses), {}, 1, torch::kCPU);
  move_off({model.x()});
  expect_right(model.problem(kBatch), "clean");
}

TEST(CheckJobs, NothingIsWrongWithMeta) {
  const Rows rows;
  TaskGroup group;
  for (int64_t c = 0; c < kClasses; ++c) {
    group.classes.push_back({.name = std::to_string(c), .rows = {}});
    for (int64_t row = 0; row < kRows; ++row) {
      if (rows.classes[static_cast<size_t>(row)] == c) group.classes.back().rows.push_back(row);
    }
  }
  const EpisodeSource source({group}, {.ways = 3, .shots = 2, .queries = 3}, "training", 1);
  for (const HeadKind head : {HeadKind::ridge, HeadKind::softmax, HeadKind::shared}) {
    MetaModel model({.network = network("mlp", 0), .head = head}, kShape, kClasses, 1, torch::kCPU);
    model.set_head({rows.inputs}, source);
    expect_right(model.problem({rows.inputs}, source, 4, 30, rows.classes), name_of(head));
  }
}

}  // namespace check_jobs_test
}  // namespace bilevel
