// `bilevel meta`: few-shot learning.
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/job_flags.h"
#include "bilevel/task/meta/meta_job.h"

namespace bilevel::cli {

void add_meta(CLI::App& program, Body& body) {
  struct Given {
    MetaJobOptions job;
    HeaderFlags header;
    OutputFlags output;
  };
  auto given = std::make_shared<Given>();
  MetaJobOptions& o = given->job;
  CLI::App* c = program.add_subcommand("meta", "learn an encoder for tasks with few labelled rows");
  c->footer(
      "A first try:  bilevel meta --data headlines.tsv --text text --label topic --ways 5 --shots 5 "
      "--embedding glove.txt");
  const auto name = [&](const char* group, const char* flag, std::string& target, const char* help,
                        const char* type) {
    c->add_option(flag, target, help)->group(group)->type_name(type);
  };
  const auto count = [&](const char* group, const char* flag, int64_t& target, const char* help) {
    c->add_option(flag, target, help)->group(group)->type_name("N")->check(positive_number());
  };
  const char* tasks = "Tasks";
  name(kDataGroup, "--data", o.train,
       "file with the rows of all classes: csv, tsv, jsonl or libsvm, also gzipped", "FILE");
  name(kDataGroup, "--valid", o.valid, "validation file; only beside --test", "FILE");
  name(kDataGroup, "--test", o.test,
       "test file with the same classes; validation rows are then a tenth of the texts of --data", "FILE");
  add_column_flags(*c, o, given->header);
  name(kDataGroup, "--pair", o.pair, "the column that holds the second text of a pair", "COL");
  name(kDataGroup, "--domain", o.domain,
       "the column that holds the domain; a task then is one domain, and its classes are the labels", "COL");
  count(tasks, "--ways", o.ways, "classes of a task; default: 5, or with --domain or --test all labels");
  count(tasks, "--shots", o.shots, "labelled (support) rows of a class");
  count(tasks, "--queries", o.queries, "rows of a class to classify");
  name(tasks, "--train-classes", o.train_classes,
       "classes (with --domain: domains) of training tasks, such as 0-19,sport; default: those that are left",
       "LIST");
  name(tasks, "--valid-classes", o.valid_classes,
       "those of validation tasks; default: a fifth, drawn from the seed", "LIST");
  name(tasks, "--test-classes", o.test_classes, "those of test tasks; default: a fifth, drawn from the seed",
       "LIST");
  name(tasks, "--head", o.head,
       "ridge or softmax: a head per task, solved inside; shared: one head of all tasks, the lower variable",
       "NAME");
  count(tasks, "--meta-batch", o.meta_batch, "tasks a step");
  count(tasks, "--episodes", o.episodes, "different training tasks");
  count(tasks, "--valid-episodes", o.valid_episodes, "validation tasks");
  count(tasks, "--test-episodes", o.test_episodes, "test tasks");
  c->add_option("--adapt-steps", o.adapt_steps, "gradient steps of a copy of the shared head on a new task")
      ->group(tasks)
      ->type_name("N")
      ->check(not_negative_number());
  name(tasks, "--baselines", o.baselines,
       "what else is measured: a list of nearest-class-mean, untrained, anil, maml; or none", "LIST");
  add_model_flags(
      *c, o,
      "curvature that the L2 term gives a head: for ridge and softmax relative to the mean square of the "
      "features, where it starts (it is learned too); for shared c in c ||y||^2");
  count(kModelGroup, "--max-length", o.max_length, "words of a text; the rest is left out");
  c->add_flag("--no-token-mean", o.no_token_mean,
              "features of the encoder alone, without the mean of the word vectors")
      ->group(kModelGroup);
  add_training_flags(*c, o);
  add_output_flags(*c, given->output);
  given->output.how.score = "accuracy";
  c->callback([c, given, &body] {
    body = [c, given] {
      return run_or_resume(
          *c, given->output,
          [&](const std::string& out, const JobCallbacks& callbacks) {
            MetaJobOptions job = given->job;
            job.header = header_of(given->header);
            return run_meta_job(job, out, callbacks);
          },
          resume_meta_job);
    };
  });
}

}  // namespace bilevel::cli
