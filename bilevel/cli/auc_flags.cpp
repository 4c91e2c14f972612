#include "bilevel/cli/auc_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>
#include <vector>

#include "bilevel/cli/command.h"
#include "bilevel/core/error.h"
#include "bilevel/model/network.h"

namespace bilevel::cli {
namespace {

std::string encoder_names() {
  std::vector<std::string> names;
  for (const EncoderEntry& entry : encoder_registry()) names.push_back(entry.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

void add_auc_flags(CLI::App& command, const std::shared_ptr<AucFlags>& flags) {
  AucJobOptions& o = flags->job;
  const char* data = "Data";
  command.add_option("--train", o.train, "training file: csv, tsv, jsonl or libsvm, each also gzipped")
      ->group(data)
      ->type_name("FILE");
  command.add_option("--valid", o.valid, "validation file; default: a share of the training rows")
      ->group(data)
      ->type_name("FILE");
  command.add_option("--test", o.test, "test file; default: a share of the training rows")
      ->group(data)
      ->type_name("FILE");
  command.add_option("--text", o.text, "the column that holds a text")->group(data)->type_name("COL");
  command
      .add_option("--features", o.features,
                  "feature columns: 'all' (but the label), or a list; the default without --text")
      ->group(data)
      ->type_name("all|COL,...");
  command
      .add_option("--categorical", o.categorical,
                  "columns whose values are categories, even if they are numbers")
      ->group(data)
      ->type_name("COL,...");
  command.add_option("--label", o.label, "the column that holds the class (libsvm files need none)")
      ->group(data)
      ->type_name("COL");
  command
      .add_option("--positive", o.positive, "the label value of the positive class; all others are negative")
      ->group(data)
      ->type_name("VALUE");
  command.add_option("--format", o.format, "automatic (by file name), csv, tsv, jsonl or libsvm")
      ->group(data)
      ->type_name("NAME");
  command.add_flag("--header", flags->header, "the first row names the columns")->group(data);
  command.add_flag("--no-header", flags->no_header, "the first row is data; columns are 1, 2, ...")
      ->group(data);
  command
      .add_option("--split", o.split,
                  "shares of training, validation and test rows cut from the training file")
      ->group(data)
      ->type_name("T,V,S");
  command
      .add_option(
          "--positive-fraction", o.positive_fraction,
          "thin one class of the training part to this positive share (the test part is never touched)")
      ->group(data)
      ->type_name("R");

  const char* model = "Model and training";
  command
      .add_option("--encoder", o.encoder,
                  "one of " + encoder_names() + "; default: bag for text, linear for columns")
      ->group(model)
      ->type_name("NAME");
  command.add_option("--hidden", o.hidden, "width of the encoder")
      ->group(model)
      ->type_name("N")
      ->check(positive_number());
  command.add_option("--layers", o.layers, "depth of the encoder")
      ->group(model)
      ->type_name("N")
      ->check(positive_number());
  command.add_option("--embedding", o.embedding, "word vectors in GloVe's text format, also gzipped; frozen")
      ->group(model)
      ->type_name("FILE");
  command.add_flag("--train-embedding", o.train_embedding, "update the word vectors too")->group(model);
  command.add_option("--loss", o.loss, "form of the AUC-margin loss: libauc, ppd or authors")
      ->group(model)
      ->type_name("NAME");
  command
      .add_option(
          "--levels", o.levels,
          "train: both levels on training rows; papers: upper level on validation rows, without refit")
      ->group(model)
      ->type_name("train|papers");
  command.add_option("--l2", o.l2, "strength of the L2 term, in rows; default by encoder")
      ->group(model)
      ->type_name("KAPPA")
      ->check(not_negative_number());
  command.add_option("--batch-size", o.batch_size, "rows a batch")
      ->group(model)
      ->type_name("N")
      ->check(positive_number());
  command.add_option("--threads", o.threads, "threads of the numerical library")
      ->group(model)
      ->type_name("N")
      ->check(positive_number());
  command.add_option("--device", o.device, "cpu or cuda")->group(model)->type_name("cpu|cuda");
}

AucJobOptions options_of(const AucFlags& flags) {
  if (flags.header && flags.no_header) throw InputError("give --header or --no-header, not both");
  AucJobOptions options = flags.job;
  if (flags.header) options.header = "yes";
  if (flags.no_header) options.header = "no";
  return options;
}

}  // namespace bilevel::cli
