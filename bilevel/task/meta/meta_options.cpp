#include "bilevel/task/meta/meta_options.h"

#include "bilevel/task/job/job_data.h"

namespace bilevel {

ClassLabels MetaJobOptions::strata(const JobFiles& files) const {
  return files.classes(domain.empty() ? label : domain);
}

void MetaJobOptions::fields(Fields& f) {
  const char* tasks = "Tasks";
  const auto count = [&](const char* name, auto& value, const char* meaning) -> Field& {
    return f.integer(name, value, kAtLeastOne, meaning).as("N");
  };
  f.heading(kDataGroup);
  f.text("data", train, "file with the rows of all classes: csv, tsv, jsonl or libsvm, also gzipped")
      .as("FILE");
  f.text("valid", valid, "validation file; only beside --test")
      .as("FILE")
      .or_else("classes, domains or a tenth of the texts of data");
  f.text("test", test, "test file with the same classes").as("FILE").or_else("classes or domains of data");
  column_fields(f);
  f.text("pair", pair, "the column that holds the second text of a pair").as("COL");
  f.text("domain", domain,
         "the column that holds the domain; a task then is one domain, and its classes are the labels")
      .as("COL");
  f.heading(tasks);
  f.integer("ways", ways, {.low = 2}, "classes of a task")
      .as("N")
      .or_else("5; with a domain or a test file all labels");
  count("shots", shots, "labelled (support) rows of a class");
  count("queries", queries, "rows of a class to classify");
  f.text("train_classes", train_classes,
         "classes (with a domain: domains) of training tasks, such as 0-19,sport")
      .as("LIST")
      .or_else("those that are left");
  f.text("valid_classes", valid_classes, "those of validation tasks")
      .as("LIST")
      .or_else("a fifth, drawn from the seed");
  f.text("test_classes", test_classes, "those of test tasks")
      .as("LIST")
      .or_else("a fifth, drawn from the seed");
  f.choice(
       "head", head,
       "ridge or softmax: a head per task, solved inside; shared: one head of all tasks, the lower variable")
      .as("NAME");
  count("meta_batch", meta_batch, "tasks a step");
  count("episodes", episodes, "different training tasks");
  count("valid_episodes", valid_episodes, "validation tasks");
  count("test_episodes", test_episodes, "test tasks");
  f.integer("adapt_steps", adapt_steps, kNonNegative,
            "gradient steps of a copy of the shared head on a new task")
      .as("N");
  model_fields(f,
               "curvature that the L2 term gives a head: for ridge and softmax relative to the mean square "
               "of the features, where it starts (it is learned too); for shared c in c ||y||^2",
               /*batches=*/false);
  count("max_length", max_length, "words of a text; the rest is left out");
  f.flag("token_mean", token_mean, "add the mean of the word vectors to the features");
  training_fields(f);
  f.text("baselines", baselines,
         "what else is measured: a list of nearest-class-mean, logistic-regression, untrained, anil, maml; "
         "or none")
      .as("LIST");
}

}  // namespace bilevel
