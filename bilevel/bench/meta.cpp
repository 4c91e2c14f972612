#include "bilevel/bench/meta.h"

#include <fmt/format.h>
#include <torch/autograd.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <vector>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/task/job/job.h"
#include "bilevel/task/meta/meta_model.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMetaWays = 5, kMetaQueries = 10, kMetaClasses = 20, kRowsOfClass = 100;
constexpr int64_t kMetaWords = 8000, kMetaDimension = 50;

/// Milliseconds of processor time, in which other programs do not count.
double processor_time(const std::function<void()>& body) {
  const std::clock_t start = std::clock();
  body();
  return 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

std::pair<MetaRows, TaskGroup> generated_texts() {
  const DefaultGeneratorScope randomness(1);
  std::vector<int64_t> offsets{0};
  TaskGroup group;
  for (int64_t c = 0; c < kMetaClasses; ++c) {
    group.classes.push_back({std::to_string(c), {}});
    for (int64_t i = 0; i < kRowsOfClass; ++i) {
      group.classes.back().rows.push_back(c * kRowsOfClass + i);
      offsets.push_back(offsets.back() + torch::randint(6, 19, {1}, torch::kInt64).item<int64_t>());
    }
  }
  const torch::Tensor ids = torch::randint(2, kMetaWords, {offsets.back()}, torch::kInt64);
  return {{.inputs = Inputs::tokens({ids, offsets})}, group};
}

double share_of(std::vector<double> values, double share) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

Json measured_case(const MetaBenchOptions& o, const std::string& encoder, HeadKind head, int64_t shots) {
  const auto [rows, group] = generated_texts();
  const EpisodeSource source({group}, {.ways = kMetaWays, .shots = shots, .queries = kMetaQueries},
                             "training", 1);
  const InputShape shape{.kind = InputKind::tokens,
                         .width = kMetaWords,
                         .pretrained = torch::randn({kMetaWords, kMetaDimension})};
  const NetworkOptions network{.encoder = encoder,
                               .set = {{"hidden", o.hidden}, {"layers", 1}, {"token_mean", true}}};
  MetaModel model({.network = network, .head = head}, shape, 0, 1, torch::kCPU);
  model.set_head(rows, source);
  Oracles oracles(model.problem(rows, source, o.tasks, 10'000), 1);
  AdamBO solver;
  solver.start(oracles, 10'000);
  const std::vector<torch::Tensor> parameters = model.network()->encoder_parameters();
  Batch batch;
  const auto passes = [&] {
    const torch::Tensor h = model.encode(batch.inputs());
    torch::autograd::grad({(h * h).mean()}, parameters);
  };
  const auto step = [&] { solver.step(oracles); };
  std::vector<double> ratios, of_step, of_passes;
  for (int64_t k = -2; k < o.pairs; ++k) {  // two to warm up
    batch = oracles.upper().draw("bench").batch;
    batch.inputs();
    const bool first = k % 2 == 0;
    double s = first ? processor_time(step) : 0;
    const double p = processor_time(passes);
    if (!first) s = processor_time(step);
    if (k < 0) continue;
    ratios.push_back(s / p);
    of_step.push_back(s);
    of_passes.push_back(p);
  }
  return {{"encoder", encoder},
          {"head", name_of(head)},
          {"shots", shots},
          {"rows", batch.size()},
          {"step_milliseconds", share_of(of_step, 0.5)},
          {"passes_milliseconds", share_of(of_passes, 0.5)},
          {"ratio", share_of(ratios, 0.5)},
          {"low", share_of(ratios, 0.25)},
          {"high", share_of(ratios, 0.75)}};
}

}  // namespace

void MetaBenchOptions::fields(Fields& f) {
  f.optional_choice("encoder", encoder, encoder_registry().names(), "what turns a text into numbers")
      .as("NAME")
      .or_else("rnn and transformer");
  f.optional_choice("head", head, {"ridge", "softmax"}, "how a task's head is solved")
      .as("NAME")
      .or_else("both");
  f.integer("shots", shots, {.low = 0, .high = 80}, "support rows of a class; 0: 1 and 5");
  f.integer("tasks", tasks, kAtLeastOne, "tasks a meta-batch");
  f.integer("hidden", hidden, kAtLeastOne, "width of the encoder");
  f.integer("pairs", pairs, kAtLeastOne, "measurements of either kind, in turn");
}

Json meta_bench(const MetaBenchOptions& o) {
  fields_of(const_cast<MetaBenchOptions&>(o)).validate();
  if (!o.encoder.empty() && encoder_registry().at(o.encoder).reads != Reads::words)
    throw InputError(fmt::format("encoder = {}: does not read words", o.encoder));
  Json cases = Json::array();
  for (const std::string& encoder :
       o.encoder.empty() ? std::vector<std::string>{"rnn", "transformer"} : std::vector{o.encoder}) {
    for (const HeadKind head : {HeadKind::ridge, HeadKind::softmax}) {
      if (!o.head.empty() && o.head != name_of(head)) continue;
      for (const int64_t shots : o.shots == 0 ? std::vector<int64_t>{1, 5} : std::vector{o.shots})
        cases.push_back(measured_case(o, encoder, head, shots));
    }
  }
  return {{"tasks", o.tasks},
          {"hidden", o.hidden},
          {"pairs", o.pairs},
          {"cases", cases},
          {"peak_rss_bytes", peak_rss_bytes()}};
}

std::string meta_bench_text(const Json& result) {
  std::string text = fmt::format(
      "{} tasks of 5 ways and 10 queries, hidden {}, {} pairs, one thread\n\n{:<12} {:<8} {:>5} {:>6} "
      "{:>9} {:>10} {:>6}  {}\n",
      result.at("tasks").get<int64_t>(), result.at("hidden").get<int64_t>(),
      result.at("pairs").get<int64_t>(), "encoder", "head", "shots", "rows", "step, ms", "passes, ms",
      "ratio", "quartiles");
  for (const Json& one : result.at("cases")) {
    text +=
        fmt::format("{:<12} {:<8} {:>5} {:>6} {:>9.1f} {:>10.1f} {:>6.3f}  {:.3f} to {:.3f}\n",
                    one.at("encoder").get<std::string>(), one.at("head").get<std::string>(),
                    one.at("shots").get<int64_t>(), one.at("rows").get<int64_t>(),
                    one.at("step_milliseconds").get<double>(), one.at("passes_milliseconds").get<double>(),
                    one.at("ratio").get<double>(), one.at("low").get<double>(), one.at("high").get<double>());
  }
  return text + fmt::format("\npeak memory: {:.0f} MB\n", result.at("peak_rss_bytes").get<double>() / 1e6);
}

}  // namespace bilevel
