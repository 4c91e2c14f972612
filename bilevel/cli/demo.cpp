// `bilevel demo`: `bilevel clean` on text that the machine has at hand, a part of whose labels is made wrong.
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <set>

#include "bilevel/cli/command.h"
#include "bilevel/cli/jobs.h"
#include "bilevel/core/files.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/catalogue.h"
#include "bilevel/task/generate/generate.h"

namespace bilevel::cli {
namespace {

constexpr double kWrong = 0.4;   // share of the training labels
constexpr size_t kTrusted = 25;  // checked rows of each class
constexpr const char* kSections[] = {"fonts", "games", "sound", "web"};

/// The files of a run, and what is wrong with their labels.
struct DemoData {
  std::map<std::string, std::string> files;  // by role
  nlohmann::json options;
};

/// Packages of some sections: of each section's different descriptions `kTrusted` to trust, a quarter to test, the others to train.
std::optional<DemoData> catalogue_data() {
  const auto packages = read_package_catalogue();
  if (!packages) return std::nullopt;
  std::map<std::string, std::vector<std::string>> of_section;
  std::set<std::string> seen;
  for (const CataloguePackage& package : *packages) {
    if (std::ranges::count(kSections, package.section) == 0 || !seen.insert(package.description).second)
      continue;
    of_section[package.section].push_back(package.description);
  }
  DemoData data{.files = {},
                .options = {{"text", "description"}, {"label", "section"}, {"inject_noise", kWrong}}};
  for (const char* role : {"train", "trusted", "test"}) data.files[role] = "section\tdescription\n";
  Streams streams(0);
  for (const char* section : kSections) {
    const std::vector<std::string>& texts = of_section[section];
    if (texts.size() < 4 * kTrusted) return std::nullopt;
    const torch::Tensor order = torch::randperm(static_cast<int64_t>(texts.size()), streams.stream("demo"));
    for (size_t i = 0; i < texts.size(); ++i) {
      std::string text = texts[static_cast<size_t>(order[static_cast<int64_t>(i)].item<int64_t>())];
      std::replace(text.begin(), text.end(), '\t', ' ');
      const char* role = i < kTrusted ? "trusted" : i < kTrusted + texts.size() / 4 ? "test" : "train";
      data.files[role] += fmt::format("{}\t{}\n", section, text);
    }
  }
  std::cerr << "one-line descriptions of packages of four sections, from this machine's package catalogue\n";
  return data;
}

DemoData generated_texts() {
  std::cerr
      << "there is no package catalogue on this machine (apt-cache knows too few packages); using generated "
         "texts\n";
  DemoData data{.files = {}, .options = {{"text", "text"}, {"label", "label"}, {"inject_noise", kWrong}}};
  for (const GeneratedFile& file : generate_data({.kind = "cleaning", .rows = 4000, .noise = 0}).files) {
    if (file.name != "truth.tsv") data.files[std::filesystem::path(file.name).stem().string()] = file.content;
  }
  return data;
}

}  // namespace

void add_demo(CLI::App& program, Body& body) {
  struct Given {
    std::string out;
    Presentation how;
  };
  auto given = std::make_shared<Given>();
  CLI::App* c = program.add_subcommand(
      "demo",
      "find wrong labels among descriptions of this machine's packages, two of five of which are made wrong");
  c->add_option("--out", given->out, "folder; default: ./bilevel-demo-N")->type_name("DIR");
  c->add_flag("--json", given->how.json, "print one JSON object on standard output");
  add_quiet_flag(*c, given->how);
  c->callback([given, &body] {
    body = [given] {
      const std::string out = given->out.empty() ? free_folder("bilevel-demo") : given->out;
      if (std::filesystem::exists(out)) throw InputError(out + " exists already; give another --out");
      std::optional<DemoData> found = catalogue_data();
      DemoData data = found ? std::move(*found) : generated_texts();
      create_folder(out);
      for (const auto& [role, content] : data.files) {
        data.options[role] = fmt::format("{}/{}.tsv", out, role);
        write_file_atomically(data.options[role], content);
      }
      const JobEntry& entry = job_registry().at("clean");
      const std::unique_ptr<Job> job = entry.make();
      fields_of(*job).from_json(data.options);
      const std::string run = out + "/run";
      if (!given->how.quiet) {
        const auto option = [&](const char* name) { return data.options.at(name).get<std::string>(); };
        std::cerr << fmt::format(
            "two of five training labels are replaced by others at random; a few checked rows are right\n"
            "this is: bilevel clean --train {} --trusted {} --test {} --text {} --label {} --inject-noise {} "
            "--out {}\n",
            option("train"), option("trusted"), option("test"), option("text"), option("label"), kWrong, run);
      }
      return show_job(
          entry, [&](const JobCallbacks& callbacks) { return start_job(entry, *job, run, callbacks); },
          given->how, run);
    };
  });
}

}  // namespace bilevel::cli
