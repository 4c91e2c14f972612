// How the cost of a step grows: a picture and a table from what `bilevel bench` measures.
//
//   cost_benchmark dimension|rows|batch|terms|classes|tasks [FOLDER]
//
// Writes FOLDER/cost_NAME.svg (default: docs/images) and prints the table in Markdown.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "bilevel/bench/meta.h"
#include "bilevel/bench/small.h"
#include "bilevel/core/files.h"
#include "bilevel/core/threads.h"
#include "bilevel/report/plot.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

/// One line of the picture.
struct Line {
  std::string label;
  std::function<double(int64_t)> cost;
};

/// What grows, and what is measured at each of its values.
struct Growth {
  std::string name, x_label, unit;
  std::vector<int64_t> values;
  std::vector<Line> lines;
};

constexpr int64_t kSteps = 3000;

Line step_of(const std::string& solver, const std::function<void(SmallBenchOptions&, int64_t)>& set) {
  return {solver, [=](int64_t value) {
            SmallBenchOptions o{.solver = solver, .steps = kSteps};
            set(o, value);
            return small_bench(o).at("solvers").at(0).at("microseconds").get<double>();
          }};
}

std::vector<Line> both(const std::function<void(SmallBenchOptions&, int64_t)>& set) {
  return {step_of("soba", set), step_of("adambo", set)};
}

Line meta_step(const std::string& encoder, const std::string& head) {
  return {
      encoder + ", " + head, [=](int64_t tasks) {
        return meta_bench(
                   {.encoder = encoder, .head = head, .shots = 1, .tasks = tasks, .hidden = 32, .pairs = 3})
            .at("cases")
            .at(0)
            .at("step_milliseconds")
            .get<double>();
      }};
}

std::vector<Growth> all() {
  const std::string micro = "microseconds a step";
  return {{"dimension", "features", micro, {8, 32, 128, 512, 2048}, both([](SmallBenchOptions& o, int64_t v) {
             o.features = v;
           })},
          {"rows",
           "rows to train on",
           micro,
           {1000, 4000, 16'000, 64'000, 256'000},
           both([](SmallBenchOptions& o, int64_t v) { o.rows = v; })},
          {"batch", "rows a batch", micro, {8, 32, 128, 512, 2048}, both([](SmallBenchOptions& o, int64_t v) {
             o.batch_size = v;
           })},
          {"terms",
           "terms of the Neumann series",
           micro,
           {2, 5, 10, 20, 40},
           {step_of("adambo",
                    [](SmallBenchOptions& o, int64_t v) { o.set = {fmt::format("neumann_terms={}", v)}; })}},
          {"classes", "classes", micro, {3, 10, 30, 100}, both([](SmallBenchOptions& o, int64_t v) {
             o.classes = v;
           })},
          {"tasks",
           "tasks a meta-batch",
           "milliseconds a step",
           {2, 5, 10, 20, 40},
           {meta_step("rnn", "ridge"), meta_step("transformer", "ridge")}}};
}

int measure(const Growth& growth, const std::string& folder) {
  LinePlot plot{.title = "",
                .x_label = growth.x_label,
                .y_label = growth.unit,
                .series = {},
                .log_x = true,
                .log_y = true,
                .width = 480,
                .height = 300};
  std::string head = "| " + growth.x_label, rule = "|---", body;
  for (const Line& line : growth.lines) {
    plot.series.push_back({.label = line.label, .x = {}, .y = {}});
    head += " | " + line.label + ", " + growth.unit;
    rule += "|---";
  }
  for (const int64_t value : growth.values) {
    body += fmt::format("| {}", value);
    for (size_t i = 0; i < growth.lines.size(); ++i) {
      const double cost = growth.lines[i].cost(value);
      plot.series[i].x.push_back(static_cast<double>(value));
      plot.series[i].y.push_back(cost);
      body += fmt::format(" | {:.3g}", cost);
    }
    body += " |\n";
  }
  fmt::print("{} |\n{}|\n{}", head, rule, body);
  const PlotResult picture = draw(plot);
  if (picture.svg.empty()) {
    fmt::print(stderr, "{}\n", picture.note);
    return 1;
  }
  write_file_atomically(folder + "/cost_" + growth.name + ".svg", picture.svg);
  return 0;
}

}  // namespace
}  // namespace bilevel

int main(int argc, char** argv) {
  const bilevel::ThreadCountScope one_thread(1);
  const std::string name = argc > 1 ? argv[1] : "";
  for (const bilevel::Growth& growth : bilevel::all()) {
    if (growth.name == name) return bilevel::measure(growth, argc > 2 ? argv[2] : "docs/images");
  }
  fmt::print(stderr, "cost_benchmark dimension|rows|batch|terms|classes|tasks [FOLDER]\n");
  return 2;
}
