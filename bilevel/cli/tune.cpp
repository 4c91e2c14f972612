// `bilevel tune`: regularization learned by gradient instead of searched.
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/job_flags.h"
#include "bilevel/task/tune/tune_job.h"

namespace bilevel::cli {

void add_tune(CLI::App& program, Body& body) {
  struct Given {
    TuneJobOptions job;
    HeaderFlags header;
    OutputFlags output;
  };
  auto given = std::make_shared<Given>();
  TuneJobOptions& o = given->job;
  CLI::App* c = program.add_subcommand("tune", "learn the regularization of a classifier by gradient");
  c->footer("A first try:  bilevel tune --train rows.csv --label class");
  const auto add = [&](const char* group, const char* name, auto& target, const char* help,
                       const char* type) {
    return c->add_option(name, target, help)->group(group)->type_name(type);
  };
  add(kDataGroup, "--train", o.train, "training file: csv, tsv, jsonl or libsvm, each also gzipped", "FILE");
  add(kDataGroup, "--valid", o.valid,
      "file whose loss the hyperparameters minimize; default: a share of the training rows", "FILE");
  add(kDataGroup, "--test", o.test, "test file; default: a share of the training rows", "FILE");
  add_column_flags(*c, o, given->header);
  add(kDataGroup, "--split", o.split,
      "shares of training, validation and test rows cut from the training file", "T,V,S");
  add(kModelGroup, "--tune", o.tune,
      "l2-per-feature, l2-per-class, l2, label-smoothing or class-weights; default: l2-per-feature, for "
      "token "
      "encoders l2",
      "NAME");
  add_model_flags(*c, o, "common L2 strength to start from; default by encoder");
  add(kModelGroup, "--spread", o.spread,
      "how far, in natural logarithms, strengths are expected to lie from the common one", "S")
      ->check(positive_number());
  add(kModelGroup, "--baseline-passes", o.baseline_passes,
      "passes of grid and random search, in multiples of those that learning took; 0: none", "N")
      ->check(not_negative_number());
  add_training_flags(*c, o);
  add_output_flags(*c, given->output);
  given->output.how.score = "-loss";
  c->callback([c, given, &body] {
    body = [c, given] {
      return run_or_resume(
          *c, given->output,
          [&](const std::string& out, const JobCallbacks& callbacks) {
            TuneJobOptions job = given->job;
            job.header = header_of(given->header);
            return run_tune_job(job, out, callbacks);
          },
          resume_tune_job);
    };
  });
}

}  // namespace bilevel::cli
