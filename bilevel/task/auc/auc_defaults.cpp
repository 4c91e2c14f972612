#include "bilevel/task/auc/auc_defaults.h"

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
  const EncoderEntry& entry = encoder_registry().at(encoder);
  if (entry.reads == Reads::ngrams)
    return {.network = {}, .l2 = 5, .steps = 1000, .threads = 1, .solver = solver(0.02)};
  if (entry.linear) return {.network = {}, .l2 = 80, .steps = 2000, .threads = 1, .solver = solver(0.02)};
  if (entry.reads == Reads::columns) {
    return {.network = {.hidden = 64, .layers = 1, .dropout = 0.0, .activation = "relu", .linear_skip = true},
            .l2 = 80,
            .steps = 2000,
            .threads = 1,
            .solver = solver(0.01)};
  }
  return {.network = {.max_length = 128},
          .batch_size = 32,
          .epochs = 8,
          .solver = solver(entry.delicate ? 5e-4 : 1e-3)};
}

}  // namespace bilevel
