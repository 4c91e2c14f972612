#include "bilevel/bench/step.h"

#include <fmt/format.h>
#include <torch/autograd.h>

#include <ctime>
#include <functional>
#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/report/intervals.h"
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/solver/soba/soba.h"
#include "bilevel/task/auc/auc_model.h"
#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/job/job.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;
using torch::Tensor;

constexpr int64_t kTextRows = 512, kLongest = 20, kClasses = 4;
constexpr uint64_t kBatchSeed = 1;

double processor_seconds(const std::function<void()>& body) {
  const std::clock_t start = std::clock();
  body();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

/// Rows of 10 to 20 tokens, or dense ones.
Inputs random_inputs(InputKind kind, const StepBenchOptions& o) {
  if (kind == InputKind::dense) return Inputs::dense(torch::randn({kTextRows, o.vector_size}));
  std::vector<int64_t> offsets{0};
  const Tensor lengths = torch::randint(kLongest / 2, kLongest + 1, {kTextRows}, torch::kInt64);
  for (int64_t row = 0; row < kTextRows; ++row)
    offsets.push_back(offsets.back() + lengths.data_ptr<int64_t>()[row]);
  return Inputs::tokens({torch::randint(2, o.vocabulary, {offsets.back()}, torch::kInt64), offsets});
}

/// What a model is made of.
struct Made {
  Inputs inputs;
  InputShape shape;
  NetworkOptions network;
};

Made made(const EncoderEntry& entry, const StepBenchOptions& o) {
  const bool tokens = entry.inputs.front() == InputKind::tokens;
  const InputKind kind = tokens ? InputKind::tokens : InputKind::dense;
  Made made{.inputs = random_inputs(kind, o),
            .shape = {.kind = kind, .width = tokens ? o.vocabulary : o.vector_size},
            .network = {.encoder = entry.name}};
  made.network.prefer("hidden", o.hidden);
  if (tokens) {
    made.shape.pretrained = torch::randn({o.vocabulary, o.vector_size}) * 0.1;
    made.network.prefer("freeze_embedding", !o.train_vectors);
  }
  return made;
}

/// A step, the bare passes for its derivatives, and what makes the next batches of these ready, which is not timed.
struct Contestants {
  std::function<void()> step, next, bare;
  int64_t parameters;
};

/// A solver at work on a model, and the model's twin for the bare passes.
template <typename S>
struct Bound {
  Oracles oracles, drawing;  // with the same batches
  S solver;
  std::shared_ptr<Network> network;  // of the twin
  std::vector<Tensor> parameters;
  Batch first, second;  // the twin's next ones
};

/// @param make the problem of either model
template <typename S, typename Model, typename Make>
std::shared_ptr<Bound<S>> bound_to(const Model& model, const Model& twin, const Make& make, S solver) {
  const auto bound = std::shared_ptr<Bound<S>>(new Bound<S>{.oracles{make(model), kBatchSeed},
                                                            .drawing{make(twin), kBatchSeed},
                                                            .solver = std::move(solver),
                                                            .network = twin.network(),
                                                            .parameters = twin.network()->parameters()});
  bound->solver.start(bound->oracles, 1000);
  return bound;
}

Contestants auc_contestants(const Made& made, const StepBenchOptions& o, Samples samples) {
  const AucLoss loss{.positive_share = 0.2};
  AucData data{.inputs = made.inputs, .labels = (torch::rand({kTextRows}) < 0.2).to(torch::kFloat32)};
  data.lower.resize(kTextRows);
  std::iota(data.lower.begin(), data.lower.end(), 0);
  data.upper = data.lower;
  const AucModel model(made.network, made.shape, loss, 0, 1, torch::kCPU),
      twin(made.network, made.shape, loss, 0, 1, torch::kCPU);
  const auto bound = bound_to(
      model, twin, [&](const AucModel& of) { return of.problem(data, o.batch_size); },
      AdamBO(AdamBOOptions{.samples = samples}));
  const bool shared = samples == Samples::shared;
  return {.step = [bound] { bound->solver.step(bound->oracles); },
          .next =
              [bound, shared] {
                const auto lower = [&](const char* stream) {
                  return bound->drawing.lower().draw(stream).batch;
                };
                bound->first = *Batch::joined(bound->drawing.upper().draw("upper_batches").batch,
                                              lower(shared ? "lower_batches" : "cross_batches"));
                if (!shared) bound->second = lower("lower_batches");
              },
          .bare =
              [bound, shared] {
                const Tensor outputs = bound->network->forward(bound->first.inputs());
                torch::autograd::grad({outputs}, bound->parameters, {torch::ones_like(outputs)});
                if (shared) return;
                const torch::NoGradGuard no_grad;
                bound->network->forward(bound->second.inputs());
              },
          .parameters = bound->oracles.x().size()};
}

Contestants clean_contestants(const Made& made, const StepBenchOptions& o) {
  NetworkOptions network = made.network;
  network.outputs = kClasses;
  // One classifier, which half of the rows judge and the others train.
  CleanData data{.inputs = {made.inputs, made.shape},
                 .classes = torch::randint(kClasses, {kTextRows}, torch::kInt64),
                 .count = kClasses,
                 .fold_of = (torch::arange(kTextRows) < kTextRows / 2).to(torch::kInt64),
                 .weights = torch::ones({1, kTextRows})};
  data.train.resize(kTextRows / 2);
  std::iota(data.train.begin(), data.train.end(), 0);
  data.upper.resize(kTextRows / 2);
  std::iota(data.upper.begin(), data.upper.end(), kTextRows / 2);
  const CleanModel model(data, network, {}, 1, torch::kCPU), twin(data, network, {}, 1, torch::kCPU);
  const auto bound = bound_to(
      model, twin, [&](const CleanModel& of) { return of.problem(o.batch_size); },
      SOBA(SOBAOptions{.upper_step_size = 1e-3,
                       .lower_step_size = StepSize(1e-3),
                       .linear_step_size = StepSize(1e-3),
                       .samples = Samples::shared}));
  return {.step = [bound] { bound->solver.step(bound->oracles); },
          .next =
              [bound] {
                bound->first = bound->drawing.upper().draw("upper_batches").batch;
                bound->second = bound->drawing.lower().draw("lower_batches").batch;
              },
          .bare =
              [bound] {
                const auto loss = [&](const Batch& batch) {
                  return losses_of(*bound->network, batch.inputs(), batch.targets()).mean();
                };
                bound->network->set_twice_differentiable(false);
                std::vector<Tensor> ends{loss(bound->first)}, from{torch::ones({})};
                bound->network->set_twice_differentiable(true);
                const std::vector<Tensor> gradient =
                    torch::autograd::grad({loss(bound->second)}, bound->parameters, {}, true, true);
                ends.insert(ends.end(), gradient.begin(), gradient.end());
                from.insert(from.end(), bound->parameters.begin(), bound->parameters.end());
                for (size_t i = 1; i < from.size(); ++i) from[i] = from[i].detach();  // z
                torch::autograd::grad(ends, bound->parameters, from);
              },
          .parameters = bound->oracles.y().size()};
}

double median(std::vector<double> values) { return median_interval(std::move(values)).median; }

Json measured(const Contestants& these, int64_t pairs) {
  std::vector<double> ratios, steps, bares;
  for (int64_t k = -3; k < pairs; ++k) {  // the first three warm up
    these.next();
    double step = k % 2 == 0 ? processor_seconds(these.step) : 0;
    const double bare = processor_seconds(these.bare);
    if (k % 2 != 0) step = processor_seconds(these.step);
    if (k < 0) continue;
    ratios.push_back(step / bare);
    steps.push_back(1e3 * step);
    bares.push_back(1e3 * bare);
  }
  const MedianInterval ratio = median_interval(ratios);
  return {{"ratio", ratio.median},
          {"low", ratio.low},
          {"high", ratio.high},
          {"step_ms", median(steps)},
          {"bare_ms", median(bares)}};
}

}  // namespace

void StepBenchOptions::fields(Fields& f) {
  f.choice("problem", problem, {"auc", "clean"},
           "a number below the network (AdamBO), or the network below weights of rows (SOBA)");
  f.text("encoder", encoder, "one encoder").as("NAME").or_else("all of words");
  f.optional_choice("samples", samples, names_of<Samples>(), "samples of AdamBO's oracle calls")
      .or_else("both");
  f.integer("hidden", hidden, kAtLeastOne, "width of the encoder's layers");
  f.integer("batch_size", batch_size, kAtLeastOne, "rows a batch");
  f.integer("pairs", pairs, kAtLeastOne, "pairs of a step and the bare passes that are timed");
  f.integer("vocabulary", vocabulary, {.low = 3, .high = 1e9}, "different tokens");
  f.integer("vector_size", vector_size, kAtLeastOne, "width of the token vectors, or of dense rows");
  f.flag("train_vectors", train_vectors, "token vectors are parameters too");
}

Json step_bench(const StepBenchOptions& o) {
  fields_of(const_cast<StepBenchOptions&>(o)).validate();
  if (!o.encoder.empty() && encoder_registry().at(o.encoder).linear)
    throw InputError(fmt::format("encoder = {}: must be one with hidden layers", o.encoder));
  if (o.problem == "clean" && o.samples == name_of(Samples::independent))
    throw InputError("samples = independent: the problem clean is measured with shared samples alone");
  Json steps = Json::array();
  for (const EncoderEntry& entry : encoder_registry()) {
    if (o.encoder.empty() ? entry.reads != Reads::words || entry.linear : entry.name != o.encoder) continue;
    for (const Samples samples : {Samples::shared, Samples::independent}) {
      const bool asked = o.samples.empty() || o.samples == name_of(samples);
      if (!asked || (o.problem == "clean" && samples == Samples::independent)) continue;
      const DefaultGeneratorScope randomness(1);
      const Made parts = made(entry, o);
      const Contestants these =
          o.problem == "clean" ? clean_contestants(parts, o) : auc_contestants(parts, o, samples);
      Json one{{"encoder", entry.name}, {"samples", name_of(samples)}, {"parameters", these.parameters}};
      one.update(measured(these, o.pairs));
      steps.push_back(std::move(one));
    }
  }
  return {{"problem", o.problem},
          {"hidden", o.hidden},
          {"batch_size", o.batch_size},
          {"pairs", o.pairs},
          {"vocabulary", o.vocabulary},
          {"vector_size", o.vector_size},
          {"train_vectors", o.train_vectors},
          {"steps", steps},
          {"peak_rss_bytes", peak_rss_bytes()}};
}

std::string step_bench_text(const Json& result) {
  const auto number = [&](const char* name) { return result.at(name).get<int64_t>(); };
  std::string text = fmt::format(
      "Steps of `{}` over the bare passes: hidden {}, batches of {}, {} pairs, one thread, processor "
      "time\n\n",
      result.at("problem").get<std::string>(), number("hidden"), number("batch_size"), number("pairs"));
  text += fmt::format("{:<14}{:<14}{:>12}{:>10}{:>10}{:>10}{:>18}\n", "encoder", "samples", "parameters",
                      "step, ms", "bare, ms", "ratio", "95 % of median");
  for (const Json& one : result.at("steps")) {
    text += fmt::format("{:<14}{:<14}{:>12}{:>10.2f}{:>10.2f}{:>10.3f}{:>9.3f} to{:>6.3f}\n",
                        one.at("encoder").get<std::string>(), one.at("samples").get<std::string>(),
                        one.at("parameters").get<int64_t>(), one.at("step_ms").get<double>(),
                        one.at("bare_ms").get<double>(), one.at("ratio").get<double>(),
                        one.at("low").get<double>(), one.at("high").get<double>());
  }
  return text + fmt::format("\npeak memory: {:.0f} MB\n", result.at("peak_rss_bytes").get<double>() / 1e6);
}

}  // namespace bilevel
