// `bilevel predict`: score new rows with a trained model.
#include <iostream>
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/field_flags.h"
#include "bilevel/cli/jobs.h"
#include "bilevel/core/error.h"
#include "bilevel/core/printable.h"
#include "bilevel/task/job/job_options.h"

namespace bilevel::cli {
namespace {

/// The table or the summary on standard output, warnings on standard error; the sentence on what is free of the two.
void show_prediction(const PredictRequest& request, const Presentation& how) {
  const bool table = request.out == kStandardOutput;
  if (table && how.json)
    throw InputError("--json and --out - both write to standard output: give one of them");
  const Prediction prediction = predict(request);
  if (how.json) std::cout << prediction.summary.dump(2) << "\n";
  std::cout << prediction.table << std::flush;
  if (!how.json && !table) std::cout << prediction.text;
  if (table && !how.quiet) std::cerr << prediction.text;
  for (const auto& warning : prediction.summary.at("warnings"))
    std::cerr << "warning: " << printable(warning.get<std::string>()) << "\n";
  if (!std::cout) throw FileError("standard output: cannot be written");
}

}  // namespace

void add_predict(CLI::App& program, Body& body) {
  struct Arguments {
    PredictRequest request;
    std::string keep;
    std::shared_ptr<GivenFlags> read = std::make_shared<GivenFlags>();
    Presentation how;
  };
  const auto arguments = std::make_shared<Arguments>();
  PredictRequest& r = arguments->request;
  CLI::App* c = program.add_subcommand("predict", "score the rows of a file with a trained model");
  c->add_option("--model", r.model, "the output folder of a training run")->required()->type_name("DIR");
  c->add_option("--shots", r.shots, "labelled rows to adapt a model of few-shot learning to")
      ->type_name("FILE");
  c->add_option("--input", r.input, "file with the columns that the model reads; -: standard input")
      ->required()
      ->type_name("FILE");
  c->add_option("--out", r.out,
                "tab-separated result: row, scores or probabilities, predicted, and label where the file has "
                "it; -: standard output")
      ->required()
      ->type_name("FILE");
  c->add_option("--keep", arguments->keep,
                "columns of the input that are copied in front of the result; all: all")
      ->type_name("COL,...");
  c->add_option(
       "--explain", r.explain,
       "tell for each row the N inputs that speak most for or against what is predicted, with what they "
       "add; exact for linear models, else by occlusion or gradient times input")
      ->type_name("N")
      ->check(CLI::Range(0, 1000));
  c->add_flag(
      "--strict", r.strict,
      "refuse a cell or a label that the model does not know; else it counts as missing, and is counted");
  c->add_option("--sentence-encoder", r.sentence_encoder,
                "folder of the model's sentence encoder, where it is not where the training found it")
      ->type_name("DIR|NAME");
  c->add_option("--device", r.device, "where the numbers are: cpu, cuda or cuda:N")
      ->type_name("NAME")
      ->capture_default_str();
  add_field_flags(*c, fields_of(r.read), arguments->read);
  c->add_flag("--json", arguments->how.json, "print one JSON object on standard output");
  add_quiet_flag(*c, arguments->how);
  c->callback([arguments, &body] {
    body = [arguments] {
      fields_of(arguments->request.read).set_given(*arguments->read);
      arguments->request.keep = split_list(arguments->keep);
      show_prediction(arguments->request, arguments->how);
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace bilevel::cli
