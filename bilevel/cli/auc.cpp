// `bilevel auc`: train a classifier that maximizes AUC.
#include "bilevel/cli/auc.h"

#include <fmt/format.h>

#include <iostream>

#include "bilevel/cli/auc_flags.h"
#include "bilevel/cli/command.h"

namespace bilevel::cli {
namespace {

std::string shortened(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  size_t end = bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;  // not inside a UTF-8 character
  return text.substr(0, end) + "...";
}

}  // namespace

int show_auc(const std::function<AucJobResult(const AucJobCallbacks&)>& job, const Presentation& how,
             const std::string& out) {
  catch_interrupts();
  std::unique_ptr<Progress> progress;
  bool refitting = false;
  const ProgressOptions look{.stream = stderr, .is_terminal = is_terminal(stderr), .quiet = how.quiet};
  AucJobCallbacks callbacks{
      .message =
          [&](const std::string& line) {
            if (progress) progress->finish();
            progress.reset();
            if (!how.quiet) std::cerr << line << "\n";
          },
      .progress =
          [&](const AucProgress& p) {
            if (!progress || refitting != p.refit) {
              if (progress) progress->finish();
              refitting = p.refit;
              progress = std::make_unique<Progress>(p.refit ? "refit on all training rows" : "training",
                                                    p.steps, look, p.step - 1);
            }
            progress->update({.step = p.step,
                              .loss = p.upper_loss,
                              .best_auc = p.valid_auc >= 0 ? p.valid_auc : std::nan("")});
          },
      .interrupt = &interrupted()};
  const AucJobResult result = job(callbacks);
  if (progress) progress->finish();

  if (how.json) std::cout << result.summary.dump(2) << "\n";
  if (result.reason == StopReason::interrupted) {
    std::cerr << fmt::format("bilevel: {}; continue with: bilevel auc --resume {}\n", result.message, out);
    return kInterrupted;
  }
  if (!result.finished) {
    std::cerr << fmt::format("bilevel: {}; the last good checkpoint is kept in {}\n", result.message, out);
    return kNumerical;
  }
  if (!how.quiet && !how.json) {
    const auto& test = result.summary.at("metrics").at("test");
    const auto& interval = result.summary.at("test_auc_interval");
    std::cout << fmt::format("\ntest AUC {:.4f} (95 % interval {:.4f} to {:.4f}), average precision {:.4f}\n",
                             test.at("auc").get<double>(), interval[0].get<double>(),
                             interval[1].get<double>(), test.at("average_precision").get<double>());
    if (!result.baseline.empty()) std::cout << result.baseline << "\n";
    if (!result.best_ranked.empty())
      std::cout << "\nthe best-ranked test rows ('*' marks a true positive):\n";
    for (const auto& row : result.best_ranked) {
      std::cout << fmt::format("  {} {:+.3f}  {}\n", row.positive ? '*' : ' ', row.score,
                               shortened(row.text, 90));
    }
    std::cout << fmt::format("\nreport: {}/report.html\n", out);
  }
  return kDone;
}

void add_auc(CLI::App& program, Body& body) {
  struct Given {
    std::shared_ptr<AucFlags> flags = std::make_shared<AucFlags>();
    Presentation how;
    std::string out, resume;
    bool no_refit = false;
  };
  auto given = std::make_shared<Given>();
  AucJobOptions& o = given->flags->job;
  CLI::App* c = program.add_subcommand("auc", "train a classifier that maximizes AUC");
  c->footer("A first try:  bilevel auc --train reviews.tsv --text text --label class --positive spam");

  add_auc_flags(*c, given->flags);
  const char* model = "Model and training";
  c->add_option("--solver", o.solver, "see 'bilevel list solvers'")->group(model)->type_name("NAME");
  c->add_option("--set", o.set, "an option of the solver; may be repeated; see 'bilevel list solvers'")
      ->group(model)
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  c->add_option("--epochs", o.epochs, "passes over the training rows")
      ->group(model)
      ->type_name("N")
      ->check(positive_number());
  c->add_option("--steps", o.steps, "steps of the solver")
      ->group(model)
      ->type_name("N")
      ->check(positive_number());
  c->add_option("--max-seconds", o.max_seconds, "stop training after this time")
      ->group(model)
      ->type_name("S")
      ->check(positive_number());
  c->add_flag("--no-refit", given->no_refit,
              "keep the model of the chosen step instead of training again with the validation rows")
      ->group(model);
  c->add_option("--seed", o.seed, "seed of all randomness")
      ->group(model)
      ->type_name("N")
      ->check(not_negative_number());

  const char* output = "Output";
  c->add_option("--out", given->out, "folder for model, trace and report; default: ./bilevel-auc-N")
      ->group(output)
      ->type_name("DIR");
  CLI::Option* resume =
      c->add_option("--resume", given->resume, "continue the run in this folder, with its own options")
          ->group(output)
          ->type_name("DIR");
  c->add_flag("--json", given->how.json, "print one JSON object on standard output")->group(output);
  c->add_flag("--quiet", given->how.quiet, "no progress")->group(output);

  c->callback([c, given, resume, &body] {
    body = [c, given, resume] {
      if (resume->count() > 0) {
        for (const CLI::Option* option : c->get_options()) {
          const std::string& name = option->get_name();
          if (option->count() > 0 && option != resume && name != "--json" && name != "--quiet") {
            throw InputError(
                fmt::format("--resume continues a run with its own options; {} cannot be changed", name));
          }
        }
        return show_auc(
            [&](const AucJobCallbacks& callbacks) { return resume_auc_job(given->resume, callbacks); },
            given->how, given->resume);
      }
      AucJobOptions job = options_of(*given->flags);
      job.refit = !given->no_refit;
      const std::string out = given->out.empty() ? free_folder("bilevel-auc") : given->out;
      return show_auc([&](const AucJobCallbacks& callbacks) { return run_auc_job(job, out, callbacks); },
                      given->how, out);
    };
  });
}

}  // namespace bilevel::cli
