// `bilevel predict`: score new rows with a trained model.
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/field_flags.h"
#include "bilevel/cli/jobs.h"

namespace bilevel::cli {

void add_predict(CLI::App& program, Body& body) {
  struct Arguments {
    PredictRequest request;
    std::shared_ptr<GivenFlags> read = std::make_shared<GivenFlags>();
    Presentation how;
  };
  const auto arguments = std::make_shared<Arguments>();
  PredictRequest& r = arguments->request;
  CLI::App* c = program.add_subcommand("predict", "score the rows of a file with a trained model");
  c->add_option("--model", r.model, "the output folder of a training run")->required()->type_name("DIR");
  c->add_option("--shots", r.shots, "labelled rows to adapt a model of few-shot learning to")
      ->type_name("FILE");
  c->add_option("--input", r.input, "file with the columns that the model reads")
      ->required()
      ->type_name("FILE");
  c->add_option(
       "--out", r.out,
       "tab-separated result: row, scores or probabilities, predicted, and label where the file has it")
      ->required()
      ->type_name("FILE");
  c->add_option("--device", r.device, "where the numbers are: cpu, cuda or cuda:N")
      ->type_name("NAME")
      ->capture_default_str();
  add_field_flags(*c, fields_of(r.read), arguments->read);
  c->add_flag("--json", arguments->how.json, "print one JSON object on standard output");
  c->add_flag("--quiet", arguments->how.quiet, "nothing but warnings and errors");
  c->callback([arguments, &body] {
    body = [arguments] {
      fields_of(arguments->request.read).set_given(*arguments->read);
      const Prediction prediction = predict(arguments->request);
      std::string text = prediction.text;
      for (const auto& warning : prediction.summary.value("warnings", nlohmann::ordered_json::array()))
        text += warning.get<std::string>() + "\n";
      show_result(prediction.summary, text, arguments->how);
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace bilevel::cli
