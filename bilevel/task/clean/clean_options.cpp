#include "bilevel/task/clean/clean_options.h"

#include <cmath>

#include "bilevel/solver/registry.h"

namespace bilevel {

void CleanOptions::fields(Fields& f) {
  f.heading(kDataGroup);
  f.text("train", train, "rows whose labels may be wrong: csv, tsv, jsonl, libsvm or idx").as("FILE");
  f.text("trusted", trusted, "a few rows whose labels are right")
      .as("FILE")
      .or_else("none: nothing is learned or calibrated");
  f.text("test", test, "test file").as("FILE");
  column_fields(f);
  f.number("inject_noise", inject_noise, {.low = 0, .high = 1, .high_open = true},
           "replace this share of the training labels by another class, to see whether that is found")
      .as("R");
  model_fields(f, "strength of the L2 term, in rows, before the trusted rows have a say");
  f.number("sentence_l2", sentence_l2, kNonNegative,
           "that of the vectors of a sentence encoder beside n-grams")
      .as("KAPPA")
      .or_else("l2, where that is given, else 1");
  f.number("trusted_weight", trusted_weight, kPositive,
           "what a trusted row counts, before the trusted rows have a say")
      .as("R");
  f.flag("learn", learn, "learn strengths and the weight of trusted rows from the trusted rows")
      .or_else("with trusted rows and a linear encoder");
  f.choice("weight_per", weight_per, "what the bilevel run learns a weight for beside these").as("NAME");
  f.number("entropy_floor", entropy_floor, {.low = 0, .high = 1},
           "least entropy of these weights, as a share of that of equal ones")
      .as("H");
  f.text("group", group,
         "the column with groups of rows: with --weight-per group they have weights, else they stay on one "
         "side of every cut, as equal rows do")
      .as("COL");
  training_fields(f);
  f.choice("cleaned", cleaned, "suspicious rows of the cleaned file: with the suggested label, or left out")
      .as("NAME");
  f.flag("baselines", baselines, "measure the usual methods beside it");
  f.number("baseline_l2", baseline_l2, kNonNegative, "strength of the L2 term of the usual methods, in rows")
      .as("KAPPA")
      .or_else("l2, where that is given");
}

CleanDefaults clean_defaults(const std::string& encoder, bool sentences_alone) {
  // One thread for the small steps of bag, linear and mlp, as in auc_setup.cpp.
  const EncoderEntry& entry = encoder_registry().at(encoder);
  CleanDefaults defaults;
  defaults.threads = 1;  // of each part: two side by side are faster than one with two threads
  defaults.l2 = defaults.baseline_l2 = 20;
  if (entry.reads != Reads::words) {
    defaults.steps = 60;
    if (entry.reads == Reads::ngrams || sentences_alone) {  // rows of length 1
      defaults.l2 = sentences_alone ? defaults.sentence_l2 : 0.3;
      defaults.baseline_l2 = 1;
    }
    if (entry.reads == Reads::columns && !entry.linear) {
      defaults.network = {
          {"hidden", 64}, {"layers", 1}, {"dropout", 0.0}, {"activation", "relu"}, {"linear_skip", true}};
      defaults.fit_epochs = 20;
      defaults.fit_step_size = 2e-3;
    }
    return defaults;
  }
  defaults.network = {{"max_length", 128}};
  defaults.l2 = defaults.baseline_l2 = 1;
  defaults.batch_size = 64;
  defaults.epochs = 4;
  defaults.fit_epochs = 5;
  defaults.fit_step_size = entry.delicate ? 5e-4 : 1e-3;
  return defaults;
}

std::map<std::string, nlohmann::json> clean_solver_defaults(const std::string& solver, int64_t size_of_x,
                                                            bool solved) {
  // An adaptive step moves a logarithm by about upper_step_size; a normalized one of length L moves each of n by about
  // L / sqrt(n); a gradient in one of them is of the order of 0.03.
  const Movement movement = solver_registry().at(solver).movement;
  const double step = movement == Movement::adaptive     ? 0.1
                      : movement == Movement::normalized ? 0.1 * std::sqrt(static_cast<double>(size_of_x))
                                                         : 3;
  // A fixed step on y or z of a paper is far from what small weights and short features ask for.
  return {{"upper_step_size", step},
          {"schedule", "cosine"},
          {"lower_step_size", "auto"},
          {"linear_step_size", "auto"},
          {"neumann_terms", 10},
          {"lower_steps", 2},
          {"warm_start_steps", solved ? 3 : 200}};
}

}  // namespace bilevel
