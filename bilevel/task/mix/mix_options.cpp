#include "bilevel/task/mix/mix_setup.h"

namespace bilevel {

void MixOptions::fields(Fields& f) {
  f.heading(kDataGroup);
  f.text("target", train, "labelled rows like those that are to be predicted: csv, tsv, jsonl, libsvm or idx")
      .as("FILE");
  f.texts("sources", sources, "a file of rows that may train; may be repeated").as("FILE");
  f.text("source", source, "column of the sources' files that names the source of a row")
      .as("COL")
      .or_else("each file is a source");
  f.text("test", test, "test file").as("FILE");
  column_fields(f);
  f.text("group", group, "the column with groups of target rows that stay on one side of every cut")
      .as("COL");
  f.heading(kModelGroup);
  f.flag("target_trains", target_trains,
         "train on the target rows too, as a source, each for models that it does not judge");
  model_fields(f, "L2 strength to start from; it finds its own where none is given");
  f.number("spread", spread, kPositive,
           "how far, in natural logarithms, weights are expected to lie from equal ones")
      .as("S");
  f.number("entropy_floor", entropy_floor, {.low = 0, .high = 1},
           "least entropy of the weights, as a share of that of equal ones")
      .as("H");
  training_fields(f);
  f.flag("intervals", intervals,
         "learn once more without each fold of the target rows: intervals, calibration");
  f.flag("baselines", baselines, "measure the usual mixtures");
  f.flag("leave_out", leave_out, "train once more without each source: what leaving it out costs");
}

}  // namespace bilevel
