#include "bilevel/task/auc/auc_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "bilevel/task/job/costs.h"

namespace bilevel {
namespace {

// Fewer of an ensemble have not been tried on tables whose steps the budget limits.
constexpr int64_t kFewestSteps = 200;

/// Of an ensemble: batches of a third of the rows and of 256 at most, 50 epochs and between 150 and 1200 steps, less disturbed the more
/// rows there are.
JobDefaults ensemble_defaults(int64_t rows, std::map<std::string, nlohmann::json> solver) {
  const int64_t batch = std::clamp<int64_t>(rows / 3, 32, 256);
  const double few = std::min(1.0, 500 / static_cast<double>(rows));
  return {.network = {{"input_dropout", 0.4 * few}, {"dropout", 0.3 * few}},
          .l2 = 1600,
          .batch_size = batch,
          .steps = std::clamp<int64_t>(50 * rows / batch, 150, 1200),
          .threads = 1,
          .solver = std::move(solver)};
}

}  // namespace

JobDefaults auc_defaults(const std::string& encoder, int64_t rows) {
  const auto solver = [](double upper_step_size) {
    // One Neumann term with the automatic step size 1/h solves h z = b exactly, h being the constant lower
    // Hessian.
    return std::map<std::string, nlohmann::json>{{"upper_step_size", upper_step_size},
                                                 {"schedule", "cosine"},
                                                 {"lower_schedule", "constant"},
                                                 {"neumann_terms", 1}};
  };
  // One thread for the small steps of bag, linear and mlp: a second one gains nothing there and, on a machine
  // that does other work too, waits for the other core most of the time.
  const EncoderEntry& entry = encoder_registry().at(encoder);
  if (entry.reads == Reads::ngrams) return {.l2 = 5, .steps = 1000, .threads = 1, .solver = solver(0.02)};
  if (entry.linear) return {.l2 = 80, .steps = 2000, .threads = 1, .solver = solver(0.02)};
  if (entry.fixed) return {.l2 = 16, .batch_size = 256, .steps = 400, .threads = 1, .solver = solver(0.1)};
  if (entry.ensemble) return ensemble_defaults(rows, solver(0.01));
  if (entry.reads == Reads::columns) {
    return {.network = {{"hidden", 64},
                        {"layers", 1},
                        {"dropout", 0.0},
                        {"activation", "relu"},
                        {"linear_skip", true}},
            .l2 = 80,
            .steps = 2000,
            .threads = 1,
            .solver = solver(0.01)};
  }
  return {.network = {{"max_length", 128}},
          .batch_size = 32,
          .epochs = 8,
          .solver = solver(entry.delicate ? 5e-4 : 1e-3)};
}

std::vector<EncoderCandidate> choose_encoder(const AucJobOptions& options, const FittedInputs& read,
                                             int64_t training_rows, int64_t passes) {
  const Inputs& inputs = read.inputs;
  std::vector<EncoderCandidate> considered;
  for (const std::string& name : options.column_encoders) {
    EncoderCandidate candidate{.encoder = name, .reads = true, .seconds = {}, .steps = {}};
    const EncoderEntry& entry = encoder_registry().at(name);
    candidate.reads = std::ranges::count(entry.inputs, read.shape.kind) > 0;
    if (candidate.reads) {
      AucJobOptions tried = options;
      tried.encoder = name;
      const NetworkOptions network = tried.resolve(auc_defaults(name, training_rows));
      const Network made(resolved(network, read.shape), read.shape);
      const int64_t batch = std::min(*tried.batch_size, training_rows);
      // Each step evaluates its batch for either level; the rows are scored by the end of every pass.
      const double of_row = 2e-9 * static_cast<double>(passes) * row_cost(made, inputs);
      int64_t steps = tried.steps_for(training_rows, batch);
      const auto affordable = static_cast<int64_t>(
          (options.budget / of_row - static_cast<double>(inputs.rows())) / static_cast<double>(batch));
      if (entry.ensemble && !options.steps && !options.epochs && affordable >= kFewestSteps &&
          affordable < steps)
        candidate.steps = steps = affordable;
      candidate.seconds = of_row * static_cast<double>(steps * batch + inputs.rows());
    }
    considered.push_back(candidate);
    if (candidate.reads && *candidate.seconds <= options.budget) break;
  }
  return considered;
}

std::vector<std::string> kept_by_budget(const std::vector<EncoderCandidate>& considered, double budget) {
  std::vector<std::string> sentences;
  for (const EncoderCandidate& one : considered) {
    if (one.steps)
      sentences.push_back(fmt::format(
          "encoder {}: trained for {} steps, fewer than by default, to keep within the budget of {:g} s",
          one.encoder, *one.steps, budget));
    if (&one == &considered.back() || !one.seconds) continue;
    sentences.push_back(fmt::format(
        "encoder {}: would take about {:.2g} s, more than the budget of {:g} s; a cheaper one is taken",
        one.encoder, *one.seconds, budget));
  }
  return sentences;
}

EncoderCandidate EncoderCandidate::from_json(const nlohmann::ordered_json& json) {
  EncoderCandidate made{.encoder = json.at("encoder"), .reads = json.at("reads"), .seconds = {}, .steps = {}};
  if (const auto& steps = json.at("fewer_steps"); !steps.is_null()) made.steps = steps;
  if (const auto& seconds = json.at("expected_seconds"); !seconds.is_null()) made.seconds = seconds;
  return made;
}

nlohmann::ordered_json EncoderCandidate::to_json() const {
  nlohmann::ordered_json json{
      {"encoder", encoder}, {"reads", reads}, {"expected_seconds", nullptr}, {"fewer_steps", nullptr}};
  if (steps) json["fewer_steps"] = *steps;
  if (seconds) json["expected_seconds"] = *seconds;
  return json;
}

}  // namespace bilevel
