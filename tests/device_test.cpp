// What a step asks of a device: numbers stay there. The device is one that counts (counted_device.h); what CUDA's kernels
// do by themselves it cannot tell.

#include "bilevel/core/device.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/problem/sets.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/auc/auc_model.h"
#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/meta/meta_model.h"
#include "bilevel/task/tune/tune_model.h"
#include "tests/counted_device.h"
#include "tests/parameter_name.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using torch::Tensor;

/// A problem whose variables lie on a device, and its rows there or on the host.
Ridge ridge_on(const torch::Device& device, bool rows_too) {
  Ridge ridge;
  for (Tensor* t : {&ridge.x, &ridge.y}) *t = t->detach().to(device).requires_grad_();
  if (!rows_too) return ridge;
  for (Tensor* t : {&ridge.train, &ridge.train_target, &ridge.valid, &ridge.valid_target}) *t = t->to(device);
  return ridge;
}

TEST(CountedDevice, CountsWhatAHostWaitsFor) {
  const torch::Device device = counted_device();
  traffic().reset();
  const Tensor host = torch::arange(6, torch::kFloat64).view({2, 3});
  Tensor there = to_device(host, device);
  EXPECT_EQ(traffic().transfers, 0);
  there = host.to(device);
  EXPECT_EQ(traffic().transfers, 1);
  const Tensor square = there.mm(there.t());
  EXPECT_EQ(traffic().waits, 0);
  EXPECT_GT(traffic().kernels, 0);
  EXPECT_GT(traffic().allocations, 0);
  EXPECT_EQ(square.sum().item<double>(), host.mm(host.t()).sum().item<double>());
  EXPECT_EQ(traffic().waits, 1);
  EXPECT_TRUE(torch::equal(square.cpu(), host.mm(host.t())));
  EXPECT_EQ(traffic().waits, 2);
  there.nonzero();
  EXPECT_EQ(traffic().waits, 3);
  there.index({there > 0});
  EXPECT_GE(traffic().waits, 4);
}

class Steps : public testing::TestWithParam<SolverEntry> {};
INSTANTIATE_TEST_SUITE_P(Registry, Steps, testing::ValuesIn(solver_registry()), NameOfParameter());

// Inside a step nobody waits for the device. Between steps `run` reads once: whether all is finite, and the trace's numbers.
TEST_P(Steps, DoNotWaitForTheDevice) {
  constexpr int64_t kSteps = 6;
  const auto path = [](const Ridge& ridge, const std::function<void(int64_t)>& after) {
    std::vector<Tensor> points;
    const auto solver = GetParam().make();
    const Result result =
        run(ridge.problem(), *solver,
            {.max_steps = kSteps, .seed = 4, .callback = [&](const MadeStep& made, Oracles& oracles) {
               after(made.step);
               made.row();
               for (const Tensor& t : {oracles.x().flat(), oracles.y().flat()})
                 points.push_back(t.cpu().clone());
               after(0);
               return true;
             }});
    EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
    return points;
  };
  const std::vector<Tensor> expected = path(Ridge(), [](int64_t) {});
  for (const bool rows_too : {false, true}) {
    const std::vector<Tensor> found = path(ridge_on(counted_device(), rows_too), [](int64_t step) {
      if (step > 1) {
        EXPECT_EQ(traffic().waits, 1) << "in step " << step;
        EXPECT_EQ(traffic().transfers, 0) << "in step " << step;
      }
      traffic().reset();
    });
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) EXPECT_LT(distance(found[i], expected[i]), 1e-10) << i;
  }
}

// The projections that x may go through.
TEST(Projections, DoNotWaitForTheDevice) {
  const Tensor flat = torch::tensor({0.3, 2.0, -1.0, 0.9}, torch::kFloat64);
  for (const auto& project : {box(-0.5, 1), ball(1), simplex(1.5)}) {
    const Tensor there = flat.to(counted_device());
    traffic().reset();
    const Tensor found = project(there);
    EXPECT_EQ(traffic().waits + traffic().transfers, 0);
    EXPECT_LT(distance(found.cpu(), project(flat)), 1e-14);
  }
}

// ---- the jobs' problems ----

std::vector<int64_t> rows_from(int64_t begin, int64_t end) {
  std::vector<int64_t> rows(static_cast<size_t>(end - begin));
  std::iota(rows.begin(), rows.end(), begin);
  return rows;
}

constexpr int64_t kRows = 60, kWidth = 7;

/// 60 rows of a kind, of 7 columns or words.
Inputs some_inputs(InputKind kind) {
  const DefaultGeneratorScope randomness(5);
  if (kind == InputKind::dense) return Inputs::dense(torch::randn({kRows, kWidth}));
  std::vector<int64_t> numbers, offsets{0};
  std::vector<float> values;
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t i = 0; i < 1 + row % 4; ++i) {
      numbers.push_back(kind == InputKind::tokens ? 2 + (3 * row + i) % (kWidth - 2) : (row % 3) + i);
      values.push_back(static_cast<float>(0.5 + 0.1 * static_cast<double>((row + i) % 9)));
    }
    offsets.push_back(static_cast<int64_t>(numbers.size()));
  }
  if (kind == InputKind::tokens) return Inputs::tokens({torch::tensor(numbers), offsets});
  return Inputs::sparse({torch::tensor(numbers), torch::tensor(values), torch::tensor(offsets), kWidth});
}

TEST(RowsOnADevice, AreThoseOfTheHost) {
  for (const InputKind kind : {InputKind::dense, InputKind::sparse, InputKind::tokens}) {
    const Inputs host = some_inputs(kind), there = host.to(counted_device());
    EXPECT_EQ(there.device(), counted_device());
    EXPECT_GT(host.bytes(), 0);
    for (const auto& rows : std::vector<std::vector<int64_t>>{{3, 0, 3, 59}, rows_from(0, kRows), {}}) {
      const std::vector<Tensor> expected = host.gather(rows);
      traffic().reset();
      const std::vector<Tensor> found = there.gather(rows);
      EXPECT_EQ(traffic().waits + traffic().transfers, 0);
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].is_cpu(), i >= moved_inputs(kind));
        EXPECT_TRUE(torch::equal(found[i].cpu(), expected[i])) << i;
      }
    }
    EXPECT_THROW(there.gather({kRows}), std::exception);
  }
}

/// Steps of SOBA, whose products go through all of the problem, and of AdamBO, the jobs' default.
void expect_no_waits(const Problem& problem, const std::string& what, int64_t allowed = 0) {
  SCOPED_TRACE(what);
  Oracles oracles(problem, 1);
  for (const std::string name : {"soba", "adambo"}) {
    const auto solver = make_solver(name);
    const Fields fields = fields_of(*solver);
    for (const Field& field : fields.list()) {
      if (field.name.ends_with("_step_size")) field.set(1e-3);
    }
    solver->start(oracles, 100);
    for (int step = 0; step < 3; ++step) {
      traffic().reset();
      solver->step(oracles);
      EXPECT_LE(traffic().waits, allowed) << name;
      EXPECT_EQ(traffic().transfers, 0) << name;
    }
    EXPECT_TRUE(oracles.x().flat().isfinite().all().item<bool>()) << name;
  }
}

NetworkOptions network_of(const std::string& encoder, int64_t outputs) {
  NetworkOptions network{.encoder = encoder, .outputs = outputs};
  for (const auto& [option, value] : {std::pair{"hidden", 4}, {"layers", 1}, {"heads", 2}})
    network.prefer(option, value);
  return network;
}

InputKind kind_of(const EncoderEntry& entry) { return entry.inputs.front(); }

TEST(JobsProblems, AucDoesNotWaitForTheDevice) {
  for (const EncoderEntry& entry : encoder_registry()) {
    for (const bool rows_too : {false, true}) {
      const InputKind kind = kind_of(entry);
      const Inputs inputs = some_inputs(kind);
      const AucModel model(network_of(entry.name, 1), {.kind = kind, .width = kWidth}, AucLoss{}, 1, 3,
                           counted_device());
      const AucData data{.inputs = rows_too ? inputs.to(counted_device()) : inputs,
                         .labels = (torch::arange(kRows) % 4 == 0).to(torch::kFloat32),
                         .upper = rows_from(0, kRows),
                         .lower = rows_from(0, kRows)};
      expect_no_waits(model.problem(data, 12), entry.name);
    }
  }
}

TEST(JobsProblems, CleanDoesNotWaitForTheDevice) {
  for (const std::string encoder : {"mlp", "transformer"}) {  // linear maps are on the CPU
    const InputKind kind = kind_of(encoder_registry().at(encoder));
    CleanData data;
    data.inputs.inputs = some_inputs(kind).to(counted_device());
    data.inputs.shape.kind = kind;
    data.inputs.shape.width = kWidth;
    data.classes = torch::arange(kRows) % 3;
    data.count = 3;
    data.train = rows_from(0, 40);
    data.trusted = data.upper = rows_from(40, kRows);
    data.fold_of = torch::arange(kRows) % 3;
    data.weights = torch::ones({3, kRows});
    const CleanModel model(data, network_of(encoder, 3), {}, 1, counted_device());
    expect_no_waits(model.problem(12), encoder);
  }
}

TEST(JobsProblems, TuneDoesNotWaitForTheDevice) {
  for (const std::string encoder : {"linear", "mlp", "bag", "transformer"}) {
    for (const TuneKind tune : {TuneKind::l2_per_class, TuneKind::label_smoothing, TuneKind::class_weights,
                                TuneKind::elastic_net}) {
      if (tune == TuneKind::elastic_net && !encoder_registry().at(encoder).linear) continue;
      const InputKind kind = kind_of(encoder_registry().at(encoder));
      TuneData data{.inputs = some_inputs(kind).to(counted_device()),
                    .classes = {},
                    .train = rows_from(0, 40),
                    .valid = rows_from(40, kRows)};
      for (int64_t row = 0; row < kRows; ++row) data.classes.push_back(row % 3);
      const TuneModel model({.network = network_of(encoder, 3), .kind = tune, .device = counted_device()},
                            {.kind = kind, .width = kWidth}, data);
      expect_no_waits(model.problem(12, 12), encoder + " " + name_of(tune));
    }
  }
}

// A softmax head is solved by Newton's method, which stops when every task is solved, and reads lambda as a number.
TEST(JobsProblems, MetaWaitsForNewtonAlone) {
  TaskGroup group;
  std::vector<int64_t> labels;
  for (int64_t c = 0; c < 6; ++c) {
    group.classes.push_back({std::to_string(c), rows_from(10 * c, 10 * c + 10)});
    labels.insert(labels.end(), 10, c);
  }
  const EpisodeSource source({group}, {.ways = 3, .shots = 2, .queries = 4}, "training", 1);
  const MetaRows rows{.inputs = some_inputs(InputKind::tokens).to(counted_device())};
  for (const HeadKind head : {HeadKind::ridge, HeadKind::shared, HeadKind::softmax}) {
    MetaModel model({.network = network_of("gru", 1), .head = head, .l2 = 0.1},
                    {.kind = InputKind::tokens, .width = kWidth}, 6, 1, counted_device());
    model.set_head(rows, source);
    expect_no_waits(model.problem(rows, source, 2, 50, labels), name_of(head),
                    head == HeadKind::softmax ? 100 : 0);
  }
}

TEST(RowsOnADevice, GoThereWhenTheyTakeAtMostHalfOfWhatIsFree) {
  const Inputs host = some_inputs(InputKind::dense);
  std::string line;
  EXPECT_TRUE(placed(host, torch::kCPU, line).device().is_cpu());
  EXPECT_EQ(line, "");
  free_memory_of_counted_device() = 2 * host.bytes();
  EXPECT_EQ(placed(host, counted_device(), line).device(), counted_device());
  EXPECT_EQ(line, "the rows, 0.0 MB, go once to hpu:0, where 0.0 MB are free");
  free_memory_of_counted_device() = 2 * host.bytes() - 1;
  EXPECT_TRUE(placed(host, counted_device(), line).device().is_cpu());
  EXPECT_CONTAINS(line, "stay on the host");
}

TEST(DeviceNamed, IsThereOrIsRefused) {
  EXPECT_TRUE(device_named("cpu").is_cpu());
  for (const std::string wrong : {"tpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:1000", "cuda1", "cpu:0"}) {
    EXPECT_EQ(message_of<InputError>([&] { device_named(wrong); }),
              "device = " + wrong + ": must be cpu, cuda or cuda:N");
  }
  EXPECT_CONTAINS(message_of<InputError>([] { device_named("cuda:99", "where"); }), "where = cuda:99: ");
  if (at::hasCUDA()) {
    EXPECT_EQ(device_named("cuda:0"), device_named("cuda"));
  } else {
    EXPECT_EQ(message_of<InputError>([] { device_named("cuda:0"); }),
              "device = cuda:0: this LibTorch has no CUDA device; use cpu");
  }
}

}  // namespace
}  // namespace bilevel
