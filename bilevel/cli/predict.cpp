// `bilevel predict`: score new rows with a trained model.
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/task/auc/auc_job.h"

namespace bilevel::cli {

void add_predict(CLI::App& program, Body& body) {
  struct Given {
    std::string model, input, out, format = "automatic";
    bool json = false, quiet = false, header = false, no_header = false;
  };
  auto given = std::make_shared<Given>();
  CLI::App* c = program.add_subcommand("predict", "score the rows of a file with a trained model");
  c->add_option("--model", given->model, "the output folder of a training run")->required()->type_name("DIR");
  c->add_option("--input", given->input, "file with the columns that the model reads")
      ->required()
      ->type_name("FILE");
  c->add_option("--out", given->out,
                "tab-separated result: row, score, predicted, and label where the file has it")
      ->required()
      ->type_name("FILE");
  c->add_option("--format", given->format, "automatic (by file name), csv, tsv, jsonl or libsvm")
      ->type_name("NAME");
  c->add_flag("--header", given->header, "the first row names the columns");
  c->add_flag("--no-header", given->no_header, "the first row is data");
  c->add_flag("--json", given->json, "print one JSON object on standard output");
  c->add_flag("--quiet", given->quiet, "print nothing but errors");
  c->callback([given, &body] {
    body = [given] {
      const std::string header = given->header ? "yes" : given->no_header ? "no" : "automatic";
      const auto result = predict_auc(given->model, given->input, given->out, given->format, header);
      if (given->json) {
        std::cout << result.dump(2) << "\n";
      } else if (!given->quiet) {
        std::cout << fmt::format("{} rows, {} called positive; written to {}\n",
                                 result.at("rows").get<int64_t>(),
                                 result.at("predicted_positive").get<int64_t>(), given->out);
        if (result.contains("auc"))
          std::cout << fmt::format("AUC on their labels: {:.4f}\n", result.at("auc").get<double>());
      }
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace bilevel::cli
