#include "bilevel/cli/job_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>
#include <vector>

#include "bilevel/cli/command.h"
#include "bilevel/core/error.h"
#include "bilevel/model/network.h"
#include "bilevel/report/progress.h"

namespace bilevel::cli {
namespace {

std::string encoder_names() { return fmt::format("{}", fmt::join(encoder_registry().names(), ", ")); }

}  // namespace

void add_column_flags(CLI::App& command, JobOptions& o, HeaderFlags& header) {
  const auto add = [&](const char* name, std::string& target, const char* help, const char* type) {
    command.add_option(name, target, help)->group(kDataGroup)->type_name(type);
  };
  add("--text", o.text, "the column that holds a text", "COL");
  add("--features", o.features,
      "feature columns: 'all' (but the label), or a list; the default without --text", "all|COL,...");
  add("--categorical", o.categorical, "columns whose values are categories, even if they are numbers",
      "COL,...");
  add("--label", o.label, "the column that holds the class (libsvm files need none)", "COL");
  add("--format", o.format, "automatic (by file name), csv, tsv, jsonl, libsvm or idx", "NAME");
  command.add_flag("--header", header.header, "the first row names the columns")->group(kDataGroup);
  command.add_flag("--no-header", header.no_header, "the first row is data; columns are 1, 2, ...")
      ->group(kDataGroup);
}

void add_model_flags(CLI::App& command, JobOptions& o, const std::string& l2_help) {
  const auto count = [&](const char* name, int64_t& target, const char* help) {
    command.add_option(name, target, help)->group(kModelGroup)->type_name("N")->check(positive_number());
  };
  command
      .add_option("--encoder", o.encoder,
                  "one of " + encoder_names() + "; default: bag for text, linear for columns")
      ->group(kModelGroup)
      ->type_name("NAME");
  count("--hidden", o.hidden, "width of the encoder");
  count("--layers", o.layers, "depth of the encoder");
  command.add_option("--embedding", o.embedding, "word vectors in GloVe's text format, also gzipped; frozen")
      ->group(kModelGroup)
      ->type_name("FILE");
  command.add_flag("--train-embedding", o.train_embedding, "update the word vectors too")->group(kModelGroup);
  command.add_option("--l2", o.l2, l2_help)
      ->group(kModelGroup)
      ->type_name("KAPPA")
      ->check(not_negative_number());
  count("--batch-size", o.batch_size, "rows a batch");
  count("--threads", o.threads, "threads of the numerical library");
  command.add_option("--device", o.device, "cpu or cuda")->group(kModelGroup)->type_name("cpu|cuda");
}

void add_training_flags(CLI::App& command, JobOptions& o) {
  const auto limit = [&](const char* name, auto& target, const char* help, const char* type) {
    command.add_option(name, target, help)->group(kModelGroup)->type_name(type)->check(positive_number());
  };
  command.add_option("--solver", o.solver, "see 'bilevel list solvers'")
      ->group(kModelGroup)
      ->type_name("NAME");
  command.add_option("--set", o.set, "an option of the solver; may be repeated; see 'bilevel list solvers'")
      ->group(kModelGroup)
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  limit("--epochs", o.epochs, "passes over the training rows", "N");
  limit("--steps", o.steps, "steps of the solver", "N");
  limit("--max-seconds", o.max_seconds, "stop training after this time", "S");
  command.add_option("--seed", o.seed, "seed of all randomness")
      ->group(kModelGroup)
      ->type_name("N")
      ->check(not_negative_number());
}

void add_output_flags(CLI::App& command, OutputFlags& flags) {
  command
      .add_option(
          "--out", flags.out,
          fmt::format("folder for model, trace and report; default: ./bilevel-{}-N", command.get_name()))
      ->group(kOutputGroup)
      ->type_name("DIR");
  command.add_option("--resume", flags.resume, "continue the run in this folder, with its own options")
      ->group(kOutputGroup)
      ->type_name("DIR");
  command.add_flag("--json", flags.how.json, "print one JSON object on standard output")->group(kOutputGroup);
  command.add_flag("--quiet", flags.how.quiet, "no progress")->group(kOutputGroup);
}

std::string header_of(const HeaderFlags& flags) {
  if (flags.header && flags.no_header) throw InputError("give --header or --no-header, not both");
  return flags.header ? "yes" : flags.no_header ? "no" : "automatic";
}

int show_job(const std::string& command, const std::function<JobResult(const JobCallbacks&)>& job,
             const Presentation& how, const std::string& out) {
  catch_interrupts();
  std::unique_ptr<Progress> progress;
  std::string pass;
  const bool turned = how.score.starts_with('-');
  const ProgressOptions look{.stream = stderr,
                             .is_terminal = is_terminal(stderr),
                             .quiet = how.quiet,
                             .score = how.score.substr(turned ? 1 : 0)};
  const JobCallbacks callbacks{
      .message =
          [&](const std::string& line) {
            if (progress) progress->finish();
            progress.reset();
            if (!how.quiet) std::cerr << line << "\n";
          },
      .progress =
          [&](const JobProgress& p) {
            if (!progress || pass != p.pass) {
              if (progress) progress->finish();
              pass = p.pass;
              progress = std::make_unique<Progress>(pass, p.steps, look, p.step - 1);
            }
            progress->update({.step = p.step, .loss = p.upper_loss, .best = turned ? -p.best : p.best});
          },
      .interrupt = &interrupted()};
  const JobResult result = job(callbacks);
  if (progress) progress->finish();

  if (how.json) std::cout << result.summary.dump(2) << "\n";
  if (result.reason == StopReason::interrupted) {
    std::cerr << fmt::format("bilevel: {}; continue with: bilevel {} --resume {}\n", result.message, command,
                             out);
    return kInterrupted;
  }
  if (!result.finished) {
    std::cerr << fmt::format("bilevel: {}; the last good checkpoint is kept in {}\n", result.message, out);
    return kNumerical;
  }
  if (!how.quiet && !how.json) std::cout << result.text;
  return kDone;
}

int run_or_resume(const CLI::App& command, const OutputFlags& flags,
                  const std::function<JobResult(const std::string&, const JobCallbacks&)>& run,
                  const std::function<JobResult(const std::string&, const JobCallbacks&)>& resume) {
  const std::string name = command.get_name();
  if (command.count("--resume") > 0) {
    for (const CLI::Option* option : command.get_options()) {
      const std::string& given = option->get_name();
      if (option->count() > 0 && given != "--resume" && given != "--json" && given != "--quiet") {
        throw InputError(
            fmt::format("--resume continues a run with its own options; {} cannot be changed", given));
      }
    }
    return show_job(
        name, [&](const JobCallbacks& callbacks) { return resume(flags.resume, callbacks); }, flags.how,
        flags.resume);
  }
  const std::string out = flags.out.empty() ? free_folder("bilevel-" + name) : flags.out;
  return show_job(
      name, [&](const JobCallbacks& callbacks) { return run(out, callbacks); }, flags.how, out);
}

}  // namespace bilevel::cli
