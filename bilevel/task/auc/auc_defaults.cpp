#include "bilevel/task/auc/auc_defaults.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bilevel/core/error.h"

namespace bilevel {

AucDefaults auc_defaults(const std::string& encoder) {
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
  if (encoder == "bag") return {.network = {}, .l2 = 5, .steps = 1000, .threads = 1, .solver = solver(0.02)};
  if (encoder == "linear")
    return {.network = {}, .l2 = 80, .steps = 2000, .threads = 1, .solver = solver(0.02)};
  if (encoder == "mlp") {
    return {.network = {.hidden = 64, .layers = 1, .dropout = 0.0, .activation = "relu", .linear_skip = true},
            .l2 = 80,
            .steps = 2000,
            .threads = 1,
            .solver = solver(0.01)};
  }
  if (encoder == "rnn" || encoder == "lstm" || encoder == "gru") {
    return {.network = {.max_length = 128}, .batch_size = 32, .epochs = 8, .solver = solver(1e-3)};
  }
  if (encoder == "transformer") {
    return {.network = {.max_length = 128}, .batch_size = 32, .epochs = 8, .solver = solver(5e-4)};
  }
  std::vector<std::string> names;
  for (const EncoderEntry& entry : encoder_registry()) names.push_back(entry.name);
  throw InputError(fmt::format("there is no encoder '{}'; known: {}", encoder, fmt::join(names, ", ")));
}

}  // namespace bilevel
