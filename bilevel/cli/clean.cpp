// `bilevel clean`: find and down-weight wrong labels.
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/job_flags.h"
#include "bilevel/task/clean/clean_job.h"

namespace bilevel::cli {

void add_clean(CLI::App& program, Body& body) {
  struct Given {
    CleanOptions job;
    HeaderFlags header;
    OutputFlags output;
    bool no_baselines = false;
  };
  auto given = std::make_shared<Given>();
  given->output.how.score = "-held-back loss";
  CLI::App* c =
      program.add_subcommand("clean", "find wrong labels, and train a classifier that hardly heeds them");
  c->footer("A first try:  bilevel clean --train noisy.tsv --trusted checked.tsv --text text --label class");
  CleanOptions& o = given->job;
  const auto add = [&](const char* group, const char* name, std::string& target, const char* help,
                       const char* type) {
    c->add_option(name, target, help)->group(group)->type_name(type);
  };
  add(kDataGroup, "--train", o.train, "rows whose labels may be wrong: csv, tsv, jsonl, libsvm or idx",
      "FILE");
  add(kDataGroup, "--trusted", o.trusted,
      "a few rows whose labels are right; default: training rows set aside by agreement", "FILE");
  add(kDataGroup, "--test", o.test, "test file", "FILE");
  add_column_flags(*c, o, given->header);
  c->add_option("--inject-noise", o.inject_noise,
                "replace this share of the training labels by another class, to see whether that is found")
      ->group(kDataGroup)
      ->type_name("R");
  add_model_flags(*c, o, "strength of the L2 term, in rows; default by encoder");
  add(kModelGroup, "--weight-per", o.weight_per,
      "what has a weight of its own in the bilevel run: row, group or class-pair", "NAME");
  add(kModelGroup, "--group", o.group, "with --weight-per group: the column that holds the groups", "COL");
  add_training_flags(*c, o);
  c->add_flag("--no-baselines", given->no_baselines, "do not measure the usual methods beside it")
      ->group(kModelGroup);
  add_output_flags(*c, given->output);
  c->callback([c, given, &body] {
    body = [c, given] {
      return run_or_resume(
          *c, given->output,
          [&](const std::string& out, const JobCallbacks& callbacks) {
            CleanOptions job = given->job;
            job.header = header_of(given->header);
            job.baselines = !given->no_baselines;
            return run_clean_job(job, out, callbacks);
          },
          resume_clean_job);
    };
  });
}

}  // namespace bilevel::cli
