#include "bilevel/task/job/job_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bilevel {

void JobSetup::note(const std::string& line, bool say) {
  if (line.empty()) return;
  latest_notes_.push_back(line);
  if (std::find(notes_.begin(), notes_.end(), line) != notes_.end()) return;
  if (say) context_.say(line);
  notes_.push_back(line);
}

void JobSetup::read(const JobOptions& options,
                    const std::vector<std::pair<std::string, std::string>>& files) {
  context_.say("reading " + options.train);
  files_.add(files, options);
  for (const JobFile& file : files_.files()) {
    const auto* table = std::get_if<Table>(&file.file);
    const std::optional<size_t> label = table != nullptr ? table->find_column(options.label) : std::nullopt;
    const int64_t count = label ? cells_with_blanks(*table, *label) : 0;
    if (count == 0) continue;
    context_.say(fmt::format("{}: {} label{} had blanks around {}, which are left out", file.path, count,
                             count == 1 ? "" : "s", count == 1 ? "it" : "them"));
  }
}

NetworkOptions JobSetup::resolve(JobOptions& options, const JobDefaults& defaults) {
  NetworkOptions network = options.resolve(defaults);
  threads_.emplace(*options.threads);
  return network;
}

Inputs JobSetup::placed(const Inputs& inputs) const {
  std::string line;
  Inputs found = bilevel::placed(inputs, options().torch_device(), line);
  if (!line.empty()) context_.say(line);
  return found;
}

ContestFacts JobSetup::facts() const {
  const JobOptions& o = options();
  ContestFacts facts{.task = context_.command,
                     .title = fmt::format("{} on {}, {} encoder", context_.command,
                                          std::filesystem::path(o.train).filename().string(), o.encoder),
                     .seeds_mean =
                         "The seeds change initial weights and batches; data, parts and features are the "
                         "same in all runs. So the intervals say how much the training varies, not how much "
                         "another sample of test rows would change.",
                     .last_tenth = false,
                     .data = {{"training file", o.train},
                              {"encoder", o.encoder},
                              {"batch size", std::to_string(*o.batch_size)},
                              {"threads", std::to_string(*o.threads)},
                              {"device", o.device},
                              {"seed of the parts", std::to_string(o.seed)}}};
  describe(facts);
  return facts;
}

nlohmann::ordered_json ChoosingAttempt::measure(int64_t step) {
  const Evaluation now = evaluate();
  if (result_.is_null()) {
    for (const auto& [key, unused] : now.fields.items()) result_[key] = nullptr;
  }
  if (std::isfinite(now.score) && rule_.consider(now)) {
    result_ = now.fields;
    result_["chosen_step"] = step;
  }
  return now.fields;
}

}  // namespace bilevel
