#include "bilevel/cli/auc_flags.h"

#include "bilevel/cli/command.h"

namespace bilevel::cli {

void add_auc_flags(CLI::App& command, const std::shared_ptr<AucFlags>& flags) {
  AucJobOptions& o = flags->job;
  const auto add = [&](const char* group, const char* name, std::string& target, const char* help,
                       const char* type) {
    command.add_option(name, target, help)->group(group)->type_name(type);
  };
  add(kDataGroup, "--train", o.train, "training file: csv, tsv, jsonl or libsvm, each also gzipped", "FILE");
  add(kDataGroup, "--valid", o.valid, "validation file; default: a share of the training rows", "FILE");
  add(kDataGroup, "--test", o.test, "test file; default: a share of the training rows", "FILE");
  add_column_flags(command, o, flags->header);
  add(kDataGroup, "--positive", o.positive, "the label value of the positive class; all others are negative",
      "VALUE");
  add(kDataGroup, "--split", o.split,
      "shares of training, validation and test rows cut from the training file", "T,V,S");
  command
      .add_option(
          "--positive-fraction", o.positive_fraction,
          "thin one class of the training part to this positive share (the test part is never touched)")
      ->group(kDataGroup)
      ->type_name("R");
  add_model_flags(command, o, "strength of the L2 term, in rows; default by encoder");
  add(kModelGroup, "--loss", o.loss, "form of the AUC-margin loss: libauc, ppd or authors", "NAME");
  add(kModelGroup, "--levels", o.levels,
      "train: both levels on training rows; papers: upper level on validation rows, without refit",
      "train|papers");
}

AucJobOptions options_of(const AucFlags& flags) {
  AucJobOptions options = flags.job;
  options.header = header_of(flags.header);
  return options;
}

}  // namespace bilevel::cli
