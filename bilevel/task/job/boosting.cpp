#include "bilevel/task/job/boosting.h"

#include <fmt/format.h>

#include <algorithm>

#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/parts.h"

namespace bilevel {

int64_t rows_in_memory(const Inputs& inputs) {
  const double most =
      inputs.kind() == InputKind::sparse ? 1e7 : 5e7;  // of entries; sparse ones have an index too
  double entries = 1;
  for (const torch::Tensor& part : inputs.matrix())
    entries = std::max(entries, static_cast<double>(part.numel()));
  const auto rows = static_cast<double>(inputs.rows());
  return std::max<int64_t>(1, static_cast<int64_t>(rows * std::min(1.0, most / entries)));
}

torch::Tensor scores_in_parts(
    const Inputs& inputs, const std::vector<int64_t>& rows,
    const std::function<torch::Tensor(const std::vector<torch::Tensor>& inputs)>& score) {
  const int64_t most = rows_in_memory(inputs);
  std::vector<torch::Tensor> scores;
  for (size_t begin = 0; begin < rows.size(); begin += static_cast<size_t>(most)) {
    const size_t end = std::min(rows.size(), begin + static_cast<size_t>(most));
    scores.push_back(score(inputs.gather({rows.begin() + static_cast<std::ptrdiff_t>(begin),
                                          rows.begin() + static_cast<std::ptrdiff_t>(end)})));
  }
  return torch::cat(scores);
}

bool wants_boosting(const JobOptions& options) {
  return encoder_registry().at(options.encoder).reads == Reads::columns;
}

bool has_boosting(const JobOptions& options) {
  return wants_boosting(options) && gradient_boosting_lacks().empty();
}

std::string lacks_boosting(const JobOptions& options) {
  const std::string lacks = wants_boosting(options) ? gradient_boosting_lacks() : "";
  return lacks.empty() ? "" : "not compared with gradient boosting: " + lacks;
}

torch::Tensor Boosted::scores(const Inputs& inputs, const std::vector<int64_t>& rows) const {
  return scores_in_parts(inputs, rows,
                         [&](const std::vector<torch::Tensor>& of) { return trees.scores(of); });
}

Boosted boost(JobSetup& setup, const FittedInputs& read, const torch::Tensor& classes, int64_t count,
              const BoostedParts& rows,
              const std::function<double(const torch::Tensor& scores, const torch::Tensor& classes)>& score) {
  const int64_t most = rows_in_memory(read.inputs);
  if (const auto all = static_cast<int64_t>(rows.train.size()); all > most)
    setup.note(fmt::format(
        "gradient boosting is fitted on {} of the {} training rows: it keeps them in memory", most, all));
  const auto labelled = [&](const std::vector<int64_t>& part) {
    const std::vector<int64_t> some = evenly(part, most);
    return BoostedRows{read.inputs.gather(some), at_rows(classes, some)};
  };
  GradientBoostingOptions options =
      affordable_boosting(read, std::min(most, static_cast<int64_t>(rows.train.size())), count);
  options.seed = setup.options().seed;
  options.threads = *setup.options().threads;
  const BoostedRows valid = labelled(rows.valid);
  int64_t round = 0;
  const auto score_round = [&](const torch::Tensor& scores) {
    if (setup.context().interrupted()) throw Interrupted{};
    setup.context().phases->advance((rows.refit.empty() ? 1 : 0.8) * static_cast<double>(++round) /
                                    static_cast<double>(options.most_rounds));
    return score(scores, valid.classes);
  };
  Boosted made{.trees = fit_gradient_boosting(labelled(rows.train), read.shape.width, count, &valid,
                                              score_round, options),
               .valid = {}};
  made.valid = made.scores(read.inputs, rows.valid);
  if (rows.refit.empty()) return made;
  options.most_rounds = made.trees.rounds();
  made.trees =
      fit_gradient_boosting(labelled(rows.refit), read.shape.width, count, nullptr, nullptr, options);
  return made;
}

GradientBoostingOptions affordable_boosting(const FittedInputs& read, int64_t rows, int64_t classes) {
  // Of a tree, in seconds of a core: measured on MNIST, 784 columns of 256 values.
  constexpr double kColumn = 45e-6, kEntry = 6e-9, kMinute = 60;
  const double share =
      static_cast<double>(rows) / static_cast<double>(std::max<int64_t>(1, read.inputs.rows()));
  const double round = static_cast<double>(classes > 2 ? classes : 1) *
                       (kColumn * static_cast<double>(read.shape.width) +
                        kEntry * share * static_cast<double>(read.inputs.entries()));
  GradientBoostingOptions options;
  const auto all = static_cast<double>(options.most_rounds);
  options.most_rounds = static_cast<int64_t>(std::clamp(kMinute / round, 50.0, all));
  options.step_size = std::min(0.3, options.step_size * all / static_cast<double>(options.most_rounds));
  return options;
}

torch::Tensor boosted_probabilities(const torch::Tensor& scores) {
  if (scores.dim() == 2) return torch::softmax(scores, 1);
  return torch::stack({torch::sigmoid(-scores), torch::sigmoid(scores)}, 1);
}

double boosted_fit(const torch::Tensor& scores, const torch::Tensor& classes) {
  return -class_losses(boosted_probabilities(scores), classes).mean().item<double>();
}

}  // namespace bilevel
