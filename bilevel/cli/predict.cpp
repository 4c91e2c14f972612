// `bilevel predict`: score new rows with a trained model.
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/job_flags.h"
#include "bilevel/core/error.h"
#include "bilevel/task/auc/auc_job.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/meta/meta_job.h"

namespace bilevel::cli {

void add_predict(CLI::App& program, Body& body) {
  struct Given {
    std::string model, shots, input, out, format = "automatic";
    HeaderFlags header;
    bool json = false, quiet = false;
  };
  auto given = std::make_shared<Given>();
  CLI::App* c = program.add_subcommand("predict", "score the rows of a file with a trained model");
  c->add_option("--model", given->model, "the output folder of a training run")->required()->type_name("DIR");
  c->add_option("--shots", given->shots, "labelled rows to adapt a model of 'bilevel meta' to")
      ->type_name("FILE");
  c->add_option("--input", given->input, "file with the columns that the model reads")
      ->required()
      ->type_name("FILE");
  c->add_option(
       "--out", given->out,
       "tab-separated result: row, scores or probabilities, predicted, and label where the file has it")
      ->required()
      ->type_name("FILE");
  c->add_option("--format", given->format, "automatic (by file name), csv, tsv, jsonl, libsvm or idx")
      ->type_name("NAME");
  c->add_flag("--header", given->header.header, "the first row names the columns");
  c->add_flag("--no-header", given->header.no_header, "the first row is data");
  c->add_flag("--json", given->json, "print one JSON object on standard output");
  c->add_flag("--quiet", given->quiet, "print nothing but errors");
  c->callback([given, &body] {
    body = [given] {
      const std::string header = header_of(given->header);
      const auto say = [&](const std::string& text) {
        if (!given->json && !given->quiet) std::cout << text;
      };
      nlohmann::ordered_json result;
      const std::string command = command_of_model(given->model);
      if ((command == "meta") != !given->shots.empty()) {
        throw InputError(command == "meta"
                             ? "a model of 'bilevel meta' needs labelled rows to adapt to (--shots)"
                             : "--shots is for models of 'bilevel meta'; this one is of 'bilevel " + command +
                                   "'");
      }
      if (command == "auc") {
        result = predict_auc(given->model, given->input, given->out, given->format, header);
        say(fmt::format("{} rows, {} called positive; written to {}\n", result.at("rows").get<int64_t>(),
                        result.at("predicted_positive").get<int64_t>(), given->out));
        if (result.contains("auc"))
          say(fmt::format("AUC on their labels: {:.4f}\n", result.at("auc").get<double>()));
      } else if (command == "meta") {
        result = predict_meta(given->model, given->shots, given->input, given->out, given->format, header);
        say(fmt::format("adapted to {} rows of {} classes; {} rows classified, written to {}\n",
                        result.at("shots").get<int64_t>(), result.at("classes").size(),
                        result.at("rows").get<int64_t>(), given->out));
        if (result.contains("accuracy"))
          say(fmt::format(
              "accuracy on their labels: {:.4f}, mean probability of the predicted classes: {:.4f}\n",
              result.at("accuracy").get<double>(), result.at("mean_probability").get<double>()));
      } else {
        result = predict_classes(given->model, given->input, given->out, given->format, header);
        say(fmt::format("{} rows, classified; written to {}\n", result.at("rows").get<int64_t>(),
                        given->out));
        if (result.contains("accuracy"))
          say(fmt::format("accuracy on their labels: {:.4f}\n", result.at("accuracy").get<double>()));
      }
      for (const auto& warning : result.value("warnings", nlohmann::ordered_json::array()))
        say(warning.get<std::string>() + "\n");
      if (given->json) std::cout << result.dump(2) << "\n";
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace bilevel::cli
