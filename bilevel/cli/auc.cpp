// `bilevel auc`: train a classifier that maximizes AUC.
#include <memory>

#include "bilevel/cli/auc_flags.h"
#include "bilevel/cli/command.h"
#include "bilevel/task/auc/auc_job.h"

namespace bilevel::cli {

void add_auc(CLI::App& program, Body& body) {
  struct Given {
    std::shared_ptr<AucFlags> flags = std::make_shared<AucFlags>();
    OutputFlags output;
    bool no_refit = false;
  };
  auto given = std::make_shared<Given>();
  CLI::App* c = program.add_subcommand("auc", "train a classifier that maximizes AUC");
  c->footer("A first try:  bilevel auc --train reviews.tsv --text text --label class --positive spam");
  add_auc_flags(*c, given->flags);
  add_training_flags(*c, given->flags->job);
  c->add_flag("--no-refit", given->no_refit,
              "keep the model of the chosen step instead of training again with the validation rows")
      ->group(kModelGroup);
  add_output_flags(*c, given->output);
  c->callback([c, given, &body] {
    body = [c, given] {
      return run_or_resume(
          *c, given->output,
          [&](const std::string& out, const JobCallbacks& callbacks) {
            AucJobOptions job = options_of(*given->flags);
            job.refit = !given->no_refit;
            return run_auc_job(job, out, callbacks);
          },
          resume_auc_job);
    };
  });
}

}  // namespace bilevel::cli
