#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bilevel/data/glove.h"
#include "bilevel/task/meta/baselines.h"
#include "bilevel/task/meta/meta_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

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
/// and there are neither a sentence encoder nor word vectors.
std::pair<torch::Tensor, std::string> plain_vectors(const MetaSetup& setup) {
  const MetaJobOptions& o = setup.options();
  const Inputs& inputs = setup.rows().inputs;
  const auto of_texts = [&](const std::string& column, const auto& vectors) {
    std::vector<torch::Tensor> parts;
    for (const JobFile& file : setup.data_files().files())
      parts.push_back(vectors(texts_of(std::get<Table>(file.file), column)));
    return torch::cat(parts);
  };
  if (const auto& sentences = setup.data_files().sentences())
    return {of_texts(o.text, [&](const auto& texts) { return sentences->dense(texts); }),
            "vectors of the sentence encoder"};
  if (inputs.kind() == InputKind::dense) return {inputs.gather(all_rows(inputs.rows()))[0].cpu(), "columns"};
  if (o.embedding.empty() || o.text.empty()) return {};
  const Glove glove = read_glove(o.embedding);
  const auto means = [&](const std::string& column) {
    return of_texts(column, [&](const auto& texts) { return word_means(texts, glove); });
  };
  const torch::Tensor u = means(o.text);
  if (o.pair.empty()) return {u, "averaged word vectors"};
  const torch::Tensor v = means(o.pair);
  return {torch::cat({u, v, (u - v).abs(), u * v}, 1), "[u, v, |u-v|, u*v] of averaged word vectors"};
}

Json measured_of(const TaskAccuracy& accuracy) {
  Json found = accuracy_json(accuracy);
  found["of_task"] = accuracy.of_task;
  return found;
}

using PlainBaseline = TaskAccuracy (*)(const torch::Tensor& table, const EpisodeSource& source, int64_t begin,
                                       int64_t count);

/// {} without vectors.
Json of_plain_vectors(const MetaSetup& setup, const char* name, PlainBaseline accuracy) {
  const auto [vectors, what] = plain_vectors(setup);
  if (!vectors.defined()) return Json::object();
  Json found{{"vectors", what}};
  found.update(measured_of(accuracy(vectors, setup.test(), 0, setup.options().test_episodes)));
  return {{name, found}};
}

TaskAccuracy of_untrained(const MetaSetup& setup) {
  const MetaJobOptions& o = setup.options();
  // The head of the untrained encoder is solved in every case: a shared one would be of no use.
  const bool shared = o.head == HeadKind::shared;
  const std::unique_ptr<MetaModel> model =
      shared ? setup.model(HeadKind::ridge, 0, head_l2(*o.ways * o.shots)) : setup.model(o.head, 0, *o.l2);
  return setup.test_accuracy(*model);
}

Json of_inner_loop(const MetaSetup& setup, const std::string& method) {
  const MetaJobOptions& o = setup.options();
  const bool maml = method == "maml";
  const std::unique_ptr<MetaModel> model = setup.model(HeadKind::shared, *o.ways, 0);
  const InnerLoopOptions inner{.method = method,
                               .steps = setup.default_steps(),
                               .meta_batch = maml ? 4 : o.meta_batch,
                               .inner_step_size = 0.1,
                               .step_size = 1e-3,
                               .valid_tasks = std::min<int64_t>(o.valid_episodes, maml ? 50 : 200),
                               .interrupt = setup.context().callbacks.interrupt,
                               .advance = [&](double share) { setup.context().phases->advance(share); }};
  const TaskAccuracy accuracy = train_inner_loop(*model, setup.rows(), setup.train(), setup.valid(),
                                                 setup.test(), o.test_episodes, inner, o.seed);
  if (accuracy.of_task.empty()) throw Interrupted{};
  Json found = measured_of(accuracy);
  found["steps"] = inner.steps;
  found["meta_batch"] = inner.meta_batch;
  return found;
}

}  // namespace

std::vector<Part> baseline_parts(const MetaSetup& setup) {
  std::vector<Part> parts;
  const auto add = [&](const char* name, const char* shown, double cost) {
    if (setup.measures(name))
      parts.push_back({.name = name, .shown = shown, .request = {{"baseline", name}}, .cost = cost});
  };
  add("nearest-class-mean", "measuring the nearest class mean", 0.1);
  add("logistic-regression", "measuring logistic regression", 0.2);
  add("untrained", "measuring the untrained encoder", 0.1);
  add("anil", "training ANIL", 1.1);
  add("maml", "training first-order MAML", 1.3);
  return parts;
}

Json measure_baseline(const MetaSetup& setup, const std::string& name) {
  if (name == "nearest-class-mean") return of_plain_vectors(setup, "nearest_class_mean", nearest_class_mean);
  if (name == "logistic-regression")
    return of_plain_vectors(setup, "logistic_regression", logistic_regression);
  return {{name, name == "untrained" ? measured_of(of_untrained(setup)) : of_inner_loop(setup, name)}};
}

void note_absent_baselines(const MetaSetup& setup, Json& summary) {
  std::vector<std::string> absent;
  for (const auto& [name, key] : {std::pair{"nearest-class-mean", "nearest_class_mean"},
                                  {"logistic-regression", "logistic_regression"}}) {
    if (setup.measures(name) && !summary["baselines"].contains(key))
      absent.push_back(fmt::format("no {}", name));
  }
  if (!absent.empty())
    summary["notes"].push_back(fmt::format("{}: that needs word vectors (--embedding) or a sentence encoder",
                                           fmt::join(absent, ", ")));
}

}  // namespace bilevel
