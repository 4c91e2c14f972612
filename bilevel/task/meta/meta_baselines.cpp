#include <fmt/format.h>

#include <algorithm>

#include "bilevel/data/glove.h"
#include "bilevel/task/meta/baselines.h"
#include "bilevel/task/meta/meta_report.h"

namespace bilevel {
namespace {

/// [texts, dimension]: the mean GloVe vector of each text's words; words without one are left out.
torch::Tensor word_means(const std::vector<std::string_view>& texts, const Glove& glove) {
  torch::Tensor means = torch::zeros({static_cast<int64_t>(texts.size()), glove.dimension()});
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<int64_t> known;
    for (const std::string& word : tokenize(texts[i])) {
      const auto found = glove.index.find(word);
      if (found != glove.index.end()) known.push_back(found->second);
    }
    if (!known.empty()) {
      means[static_cast<int64_t>(i)] =
          glove.vectors.index_select(0, torch::tensor(known, torch::kInt64)).mean(0);
    }
  }
  return means;
}

/// A vector for every row that says what it is without any training, and its name; none where rows are texts
/// and there are no word vectors.
std::pair<torch::Tensor, std::string> plain_vectors(const MetaSetup& setup) {
  const MetaJobOptions& o = setup.options();
  const Inputs& inputs = setup.rows().inputs;
  if (inputs.kind() == InputKind::dense) return {inputs.gather(all_rows(inputs.rows()))[0].cpu(), "columns"};
  if (o.embedding.empty() || o.text.empty()) return {};
  const Glove glove = read_glove(o.embedding);
  const auto means = [&](const std::string& column) {
    std::vector<torch::Tensor> parts;
    for (const JobFile& file : setup.data_files().files())
      parts.push_back(word_means(texts_of(std::get<Table>(file.file), column), glove));
    return torch::cat(parts);
  };
  const torch::Tensor u = means(o.text);
  if (o.pair.empty()) return {u, "averaged word vectors"};
  const torch::Tensor v = means(o.pair);
  return {torch::cat({u, v, (u - v).abs(), u * v}, 1), "[u, v, |u-v|, u*v] of averaged word vectors"};
}

}  // namespace

std::optional<nlohmann::ordered_json> measure_baselines(MetaSetup& setup) {
  const MetaJobOptions& o = setup.options();
  nlohmann::ordered_json baselines = nlohmann::ordered_json::object();
  if (setup.measures("nearest-class-mean")) {
    const auto [vectors, what] = plain_vectors(setup);
    if (vectors.defined()) {
      auto& found = baselines["nearest_class_mean"] = {{"vectors", what}};
      found.update(accuracy_json(nearest_class_mean(vectors, setup.test(), 0, o.test_episodes)));
    }
  }
  if (setup.measures("untrained")) {
    // The head of the untrained encoder is solved in every case: a shared one would be of no use.
    const bool shared = o.head == HeadKind::shared;
    const std::unique_ptr<MetaModel> model =
        shared ? setup.model(HeadKind::ridge, 0, head_l2(*o.ways * o.shots)) : setup.model(o.head, 0, *o.l2);
    baselines["untrained"] = accuracy_json(setup.test_accuracy(*model));
  }
  for (const bool maml : {false, true}) {
    const std::string method = maml ? "maml" : "anil";
    if (!setup.measures(method)) continue;
    setup.context().say(fmt::format("training {}", maml ? "first-order MAML" : "ANIL"));
    const std::unique_ptr<MetaModel> model = setup.model(HeadKind::shared, *o.ways, 0);
    const InnerLoopOptions inner{.method = method,
                                 .steps = setup.default_steps(),
                                 .meta_batch = maml ? 4 : o.meta_batch,
                                 .inner_step_size = 0.1,
                                 .step_size = 1e-3,
                                 .valid_tasks = std::min<int64_t>(o.valid_episodes, maml ? 50 : 200),
                                 .interrupt = setup.context().callbacks.interrupt};
    const TaskAccuracy accuracy = train_inner_loop(*model, setup.rows(), setup.train(), setup.valid(),
                                                   setup.test(), o.test_episodes, inner, o.seed);
    if (accuracy.of_task.empty()) return std::nullopt;
    baselines[method] = accuracy_json(accuracy);
    baselines[method]["steps"] = inner.steps;
    baselines[method]["meta_batch"] = inner.meta_batch;
  }
  return baselines;
}

}  // namespace bilevel
