#include "bilevel/task/job/job_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bilevel/core/device.h"
#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/delimiter.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/job.h"

namespace bilevel {

void refuse_option(const std::string& field, const std::string& value, const std::string& rule) {
  throw InputError(fmt::format("{} = {}: {}", field, value, rule));
}

void ReadOptions::fields(Fields& f) {
  f.choice("format", format, names_of<Format>(), "format of the files; automatic: by their names").as("NAME");
  f.flag("header", header, "take the first row as the names of the columns");
  f.text("delimiter", delimiter,
         "what stands between fields: comma, semicolon, tab, bar or another character; "
         "automatic: seen from the first rows")
      .as("NAME");
  f.text("encoding", encoding, "utf-8, windows-1252, iso-8859-1 or utf-16").as("NAME");
  f.text("missing", missing, "texts that mark a missing value, beside the usual ones; in labels too")
      .as("A,B,...");
}

TableOptions ReadOptions::table() const {
  return {.format = value_named<Format>(format, "format"),
          .header = header,
          .delimiter = delimiter_named(delimiter),
          .encoding = encoding_named(encoding),
          .missing = split_list(missing)};
}

nlohmann::ordered_json JobOptions::to_json() const {
  return fields_of(const_cast<JobOptions&>(*this)).to_json();  // reads them only
}

void JobOptions::column_fields(Fields& f) {
  f.heading(kDataGroup);
  f.text("text", text, "the column that holds a text")
      .as("COL")
      .instead_of("features")
      .or_else("the one text, if all else is none");
  f.text("features", features, "feature columns: 'all' (but the label and what tells rows apart), or a list")
      .as("all|COL,...")
      .instead_of("text")
      .or_else("all without a text");
  f.text("categorical", categorical, "columns whose values are categories, even if they are numbers")
      .as("COL,...");
  f.text("numeric", numeric, "columns whose values are numbers, even if they look like identifiers")
      .as("COL,...");
  f.text("drop", drop, "columns that are not read").as("COL,...");
  f.text("label", label, "the column that holds the class (libsvm files need none)").as("COL");
  f.flag("drop_unlabelled", drop_unlabelled, "leave out rows without a label");
  f.choice("label_spelling", label_spelling,
           "labels that differ in case, blanks or Unicode form alone: refused, taken as the most frequent "
           "one, or kept as "
           "classes of their own");
  f.integer("min_rows", min_rows, kAtLeastOne, "leave out classes with fewer rows in the training file")
      .as("N")
      .or_else("none");
  read.fields(f);
}

void JobOptions::cut_fields(Fields& f) {
  f.text("group", group,
         "the column with groups of rows that stay on one side of every cut, as equal rows do")
      .as("COL");
  f.text("time", time, "cut by this column: the earliest rows to train, the latest to test").as("COL");
}

void JobOptions::model_fields(Fields& f, const std::string& l2_meaning, bool batches) {
  f.heading(kModelGroup);
  std::vector<std::string> encoders = encoder_registry().names();
  encoders.insert(encoders.begin(), "auto");
  f.optional_choice("encoder", encoder, encoders, "what turns a row into numbers")
      .as("NAME")
      .or_else(fmt::format("auto: {} for text, {} for columns{}", text_encoder,
                           fmt::join(column_encoders, " or "),
                           vector_encoder == column_encoders.back()
                               ? ""
                               : fmt::format(", {} for vectors of a sentence encoder", vector_encoder)));
  f.text("sentence_encoder", sentence_encoder,
         "folder of a pretrained BERT-type sentence encoder whose vectors are features of the text")
      .as("DIR|NAME");
  f.integer("sentence_layers", sentence_layers, kAtLeastOne,
            "of how many last layers of the sentence encoder the mean vectors are features")
      .as("N");
  f.choice("features_from", features_from, "with a sentence encoder: its vectors joined to n-grams, or alone")
      .as("NAME");
  f.integer("hidden", hidden, kAtLeastOne, "width of the encoder").as("N").or_else("by encoder");
  f.integer("layers", layers, kAtLeastOne, "depth of the encoder").as("N").or_else("by encoder");
  f.texts("encoder_set", encoder_set,
          "an option of the encoder; may be repeated; see 'bilevel list encoders'")
      .as("KEY=VALUE");
  f.text("embedding", embedding, "word vectors in GloVe's text format, also gzipped; frozen").as("FILE");
  f.flag("train_embedding", train_embedding, "update the word vectors too");
  f.number("l2", l2, kNonNegative, l2_meaning).as("KAPPA").or_else("by encoder");
  if (batches) f.integer("batch_size", batch_size, kAtLeastOne, "rows a batch").as("N").or_else("by encoder");
  f.integer("threads", threads, kAtLeastOne, "threads of the numerical library")
      .as("N")
      .or_else("by encoder");
  f.text("device", device, "where the numbers are: cpu, cuda or cuda:N").as("NAME");
  f.choice("precision", precision,
           "numbers inside the encoder; bf16: products of rounded numbers, weights stay float32");
}

void JobOptions::training_fields(Fields& f) {
  f.heading(kTrainingGroup);
  f.text("solver", solver, "see 'bilevel list solvers'").as("NAME");
  f.texts("set", set, "an option of the solver; may be repeated; see 'bilevel list options SOLVER'")
      .as("KEY=VALUE");
  f.number("epochs", epochs, kPositive, "passes over the training rows")
      .as("N")
      .instead_of("steps")
      .or_else("by encoder");
  f.integer("steps", steps, kAtLeastOne, "steps of the solver")
      .as("N")
      .instead_of("epochs")
      .or_else("by encoder");
  f.number("max_seconds", max_seconds, kPositive, "stop training after this time")
      .as("S")
      .or_else("no limit");
  f.integer("seed", seed, kNonNegative, "seed of all randomness").as("N");
  f.integer("folds", folds, {.low = 2},
            "cross-validate: deal the training file into K folds, each in turn the test rows of a run on the "
            "others")
      .as("K")
      .or_else("one cut");
  f.integer("repeats", repeats, kAtLeastOne, "how often the rows are dealt into folds").as("R");
  f.integer("fold", fold, kNonNegative,
            "make the run of this fold alone, from 1 through all repeats; 0: that of all rows, which are its "
            "test rows too")
      .as("N")
      .or_else("all of them");
}

void JobOptions::check() {
  fields_of(*this).validate();
  torch_device();
  if (train.empty())  // whose field is the first one of every job
    throw InputError(fields_of(*this).list().front().flag() + " FILE is missing");
  read.table();
  assign(*make_solver(solver), set);
  check_folds();
}

void JobOptions::take_encoder() {
  const bool sentences = !sentence_encoder.empty();
  if (features_from == FeaturesFrom::encoder && !sentences)
    refuse_option("features_from", name_of(features_from), "needs --sentence-encoder DIR");
  automatic = encoder.empty() || encoder == "auto";
  if (automatic && sentences && encoder_registry().at(text_encoder).reads != Reads::ngrams)
    features_from = FeaturesFrom::encoder;  // nothing reads n-grams beside the vectors
  if (automatic && text.empty())
    encoder = column_encoders.front();
  else if (automatic)
    encoder = features_from == FeaturesFrom::encoder ? vector_encoder : text_encoder;
  if (text.empty() && features.empty()) features = "all";
}

NetworkOptions JobOptions::resolve(const JobDefaults& defaults) {
  if (!l2) l2 = defaults.l2;
  if (!batch_size) batch_size = defaults.batch_size;
  if (!epochs && !steps && defaults.steps > 0) steps = defaults.steps;
  if (!epochs && !steps) epochs = defaults.epochs;
  if (!threads) threads = defaults.threads > 0 ? defaults.threads : at::get_num_threads();
  NetworkOptions network{.encoder = encoder, .precision = precision};
  for (const auto& [name, value] : defaults.network.items()) network.prefer(name, value);
  if (hidden) network.set["hidden"] = *hidden;
  if (layers) network.set["layers"] = *layers;
  for (const std::string& assignment : encoder_set) {
    in_context(fmt::format("encoder_set = {}, encoder '{}'", assignment, encoder),
               [&] { network.set_text(assignment); });
  }
  if (!embedding.empty()) {
    if (text.empty() || encoder_registry().at(encoder).reads != Reads::words)
      refuse_option("embedding", embedding,
                    "word vectors are read by " + encoder_names([](const EncoderEntry& entry) {
                      return entry.reads == Reads::words;
                    }) + " only");
    network.prefer("freeze_embedding", !train_embedding);
  }
  return network;
}

void JobOptions::note(const NetworkOptions& network) {
  const Fields fields = fields_of(*this);
  for (const char* name : {"hidden", "layers"}) fields.set(name, network.set.value(name, nlohmann::json()));
}

int64_t JobOptions::steps_for(int64_t rows, int64_t rows_a_step) const {
  if (steps) return *steps;
  return std::max<int64_t>(
      1, std::llround(epochs.value() * static_cast<double>(rows) / static_cast<double>(rows_a_step)));
}

torch::Device JobOptions::torch_device() const { return device_named(device); }

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  std::string part;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && quoted && i + 1 < text.size() && text[i + 1] == '"') {
      part += text[i++];
    } else if (text[i] == '"' && (quoted || part.empty())) {
      quoted = !quoted;
    } else if (text[i] == ',' && !quoted) {
      parts.push_back(std::exchange(part, {}));
    } else {
      part += text[i];
    }
  }
  if (quoted) throw InputError(fmt::format("{}: a quote is never closed", text));
  if (!text.empty()) parts.push_back(part);
  return parts;
}

std::vector<double> part_shares(std::string& split, double valid_share, const JobOptions& o) {
  if (split.empty()) {
    const double test = o.test.empty() ? 0.2 : 0, valid = o.valid.empty() ? (1 - test) * valid_share : 0;
    split = fmt::format("{},{},{}", 1 - test - valid, valid, test);
  }
  std::vector<double> given;
  for (const std::string& part : split_list(split)) {
    const Number share = read_number(part);
    given.push_back(share.value);
    if (share.kind != CellKind::number || share.value < 0)
      refuse_option("split", split, "must be three shares, such as 0.7,0.1,0.2");
  }
  const double sum = std::accumulate(given.begin(), given.end(), 0.0);
  if (given.size() != 3 || !(sum > 0) || !std::isfinite(sum))
    refuse_option("split", split, "must be three shares, such as 0.7,0.1,0.2");
  for (double& share : given) share /= sum;
  const auto agree = [&](double share, const std::string& file, const char* name) {
    if (share > 0 && !file.empty())
      refuse_option("split", split, fmt::format("cuts {} rows, but --{} gives a file", name, name));
    if (share == 0 && file.empty())
      refuse_option("split", split, fmt::format("leaves no {} rows, and --{} gives no file", name, name));
  };
  if (given[0] == 0) refuse_option("split", split, "leaves no training rows");
  agree(given[1], o.valid, "valid");
  agree(given[2], o.test, "test");
  return given;
}

}  // namespace bilevel
