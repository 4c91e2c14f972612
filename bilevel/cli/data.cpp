// `bilevel data`: look at a data file, or make one whose truth is known.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "bilevel/cli/command.h"
#include "bilevel/cli/field_flags.h"
#include "bilevel/cli/jobs.h"
#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/task/describe/describe.h"
#include "bilevel/task/generate/generate.h"

namespace bilevel::cli {
namespace {

void add_describe(CLI::App& data, Body& body) {
  struct Given {
    std::string file;
    std::shared_ptr<GivenFlags> flags = std::make_shared<GivenFlags>();
    DescribeOptions options;
    Presentation how;
  };
  auto given = std::make_shared<Given>();
  CLI::App* c = data.add_subcommand("describe", "what a data file holds, and which rows deserve a look");
  c->add_option("file", given->file,
                "csv, tsv, jsonl, libsvm or idx, each also gzipped; idx: IMAGES[,LABELS]")
      ->required()
      ->type_name("FILE");
  add_field_flags(*c, fields_of(given->options), given->flags);
  c->add_flag("--json", given->how.json, "print one JSON object");
  add_quiet_flag(*c, given->how);
  c->callback([given, &body] {
    body = [given] {
      fields_of(given->options).set_given(*given->flags);
      const DataDescription description = describe_data(given->file, given->options);
      std::cout << (given->how.json ? description.to_json().dump(2) + "\n" : text_of(description));
      return static_cast<int>(kDone);
    };
  });
}

/// Where the files go: nothing that is there is touched.
void write_set(const GeneratedSet& set, const std::string& folder) {
  create_folder(folder);
  for (const GeneratedFile& file : set.files) write_file_atomically(folder + "/" + file.name, file.content);
}

void add_generate(CLI::App& data, Body& body) {
  struct Given {
    GenerateOptions options;
    std::shared_ptr<GivenFlags> flags = std::make_shared<GivenFlags>();
    std::string out;
    Presentation how;
  };
  auto given = std::make_shared<Given>();
  CLI::App* c = data.add_subcommand("generate", "a data set whose truth is known, to try a job on");
  c->add_option("kind", given->options.kind, "cleaning, tuning, mixing, meta or imbalanced")
      ->required()
      ->type_name("KIND");
  c->add_option("--out", given->out, "new folder for the files; truth.tsv holds the truth")
      ->required()
      ->type_name("DIR");
  add_field_flags(*c, fields_of(given->options), given->flags);
  c->add_flag("--json", given->how.json, "print one JSON object");
  add_quiet_flag(*c, given->how);
  c->callback([given, &body] {
    body = [given] {
      const std::string& out = given->out;
      if (std::filesystem::exists(out)) throw InputError(out + " exists already; give another --out");
      fields_of(given->options).set_given(*given->flags);
      const GeneratedSet set = generate_data(given->options);
      write_set(set, out);
      std::string command = "bilevel " + set.command;
      for (size_t at = 0; (at = command.find("FOLDER", at)) != std::string::npos; at += out.size())
        command.replace(at, 6, out);
      if (given->how.json) {
        nlohmann::ordered_json summary{
            {"command", "data generate"}, {"kind", given->options.kind}, {"out", out}};
        for (const GeneratedFile& file : set.files) summary["files"].push_back(out + "/" + file.name);
        for (const auto& [name, value] : set.facts) summary["facts"][name] = value;
        summary["try"] = command;
        std::cout << summary.dump(2) << "\n";
        return static_cast<int>(kDone);
      }
      for (const GeneratedFile& file : set.files) {
        std::cout << fmt::format("{}/{}{}\n", out, file.name,
                                 file.name == "truth.tsv" ? "  (the truth: no job reads it)" : "");
      }
      for (const auto& [name, value] : set.facts) std::cout << fmt::format("{}: {}\n", name, value);
      std::cout << "try:  " << command << "\n";
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace

void add_data(CLI::App& program, Body& body) {
  CLI::App* data =
      program.add_subcommand("data", "describe a data file, or generate one whose truth is known");
  data->require_subcommand(1);
  add_describe(*data, body);
  add_generate(*data, body);
}

}  // namespace bilevel::cli
