// `bilevel demo`: `bilevel auc` on text that the machine has at hand.
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/jobs.h"
#include "bilevel/core/files.h"
#include "bilevel/data/catalogue.h"

namespace bilevel::cli {
namespace {

constexpr int64_t kGeneratedRows = 20000;

/// The data as a tab-separated file with the columns class and description.
std::string demo_table() {
  std::string table = "class\tdescription\n";
  const auto add = [&](bool game, std::string text) {
    std::replace(text.begin(), text.end(), '\t', ' ');
    table += fmt::format("{}\t{}\n", game ? "game" : "other", text);
  };
  if (const auto packages = read_package_catalogue()) {
    std::cerr << fmt::format("{} packages in this machine's package catalogue; which are games?\n",
                             packages->size());
    for (const CataloguePackage& package : *packages) add(package.section == "games", package.description);
  } else {
    std::cerr << "there is no package catalogue on this machine (apt-cache knows no packages); using a "
                 "generated corpus\n";
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);
    for (const LabelledText& row : generated_corpus(kGeneratedRows, generator))
      add(row.is_positive != 0, row.text);
  }
  return table;
}

}  // namespace

void add_demo(CLI::App& program, Body& body) {
  struct Given {
    std::string out;
    Presentation how;
  };
  auto given = std::make_shared<Given>();
  CLI::App* c =
      program.add_subcommand("demo", "find the games among this machine's packages by their descriptions");
  c->add_option("--out", given->out, "folder; default: ./bilevel-demo-N")->type_name("DIR");
  c->add_flag("--json", given->how.json, "print one JSON object on standard output");
  add_quiet_flag(*c, given->how);
  c->callback([given, &body] {
    body = [given] {
      const std::string out = given->out.empty() ? free_folder("bilevel-demo") : given->out;
      if (std::filesystem::exists(out)) throw InputError(out + " exists already; give another --out");
      const std::string table = demo_table();
      create_folder(out);
      const std::string data = out + "/packages.tsv";
      write_file_atomically(data, table);
      const JobEntry& entry = job_registry().at("auc");
      const std::unique_ptr<Job> job = entry.make();
      fields_of(*job).from_json({{"train", data},
                                 {"text", "description"},
                                 {"label", "class"},
                                 {"positive", "game"},
                                 {"split", "0.6,0.1,0.3"}});
      const std::string run = out + "/run";
      if (!given->how.quiet) {
        std::cerr << fmt::format(
            "this is: bilevel auc --train {} --text description --label class --positive game --split "
            "0.6,0.1,0.3 --out {}\n",
            data, run);
      }
      return show_job(
          entry, [&](const JobCallbacks& callbacks) { return start_job(entry, *job, run, callbacks); },
          given->how, run);
    };
  });
}

}  // namespace bilevel::cli
