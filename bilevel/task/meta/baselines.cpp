#include "bilevel/task/meta/baselines.h"

#include <fmt/format.h>
#include <torch/autograd.h>

#include "bilevel/core/error.h"
#include "bilevel/core/parameters.h"
#include "bilevel/core/streams.h"
#include "bilevel/solver/parts/adam.h"
#include "bilevel/task/meta/heads.h"

namespace bilevel {
namespace {

std::vector<double> shares(const torch::Tensor& right) {  // [T, Q] -> T numbers
  const torch::Tensor share = right.to(torch::kFloat64).mean(1).cpu().contiguous();
  return {share.data_ptr<double>(), share.data_ptr<double>() + share.numel()};
}

class InnerLoop {
 public:
  InnerLoop(MetaModel& model, const MetaRows& rows, const EpisodeOptions& episodes,
            const InnerLoopOptions& options)
      : model_(model),
        rows_(rows),
        episodes_(episodes),
        o_(options),
        all_(parameters_of(model), {}, "upper") {
    for (const torch::Tensor& parameter : all_.tensors()) {
      if (model.network()->kind_of(parameter) != WeightKind::vectors) adapted_.push_back(parameter);
    }
  }

  Parameters& parameters() { return all_; }

  /// Gradient of the query loss of some tasks, first order, flat.
  torch::Tensor gradient(const Episodes& tasks) {
    if (o_.method == "maml") return maml_gradient(tasks);
    std::vector<int64_t> rows = tasks.support;
    rows.insert(rows.end(), tasks.query.begin(), tasks.query.end());
    const torch::Tensor h = model_.encode(rows_.gather(rows));
    const auto count = static_cast<int64_t>(tasks.support.size());
    const torch::Tensor support =
        h.narrow(0, 0, count).view({tasks.tasks, episodes_.ways * episodes_.shots, -1});
    const torch::Tensor query =
        h.narrow(0, count, h.size(0) - count).view({tasks.tasks, episodes_.ways * episodes_.queries, -1});
    const std::vector<torch::Tensor> head = model_.lower_parameters();
    const torch::Tensor start = torch::cat({head[0], head[1].unsqueeze(1)}, 1).t();
    const torch::Tensor change = adapted(support) - start.detach();
    const torch::Tensor scores = with_one(query).matmul(start + change);
    return all_.pack(torch::autograd::grad({query_loss(scores)}, all_.tensors(), {}, false, false, true));
  }

  /// Share of right answers of each task; the model is afterwards what it was.
  std::vector<double> accuracies(const EpisodeSource& source, int64_t count) {
    if (o_.method == "anil") return anil_accuracies(source, count);
    const auto evaluation = evaluating();
    std::vector<double> found;
    for (int64_t task = 0; task < count && !interrupted(); ++task) {
      const Episodes one = source.draw(task, 1);
      const torch::Tensor before = all_.flat().clone();
      adapt(one.support);
      torch::Tensor scores;
      {
        const torch::NoGradGuard no_grad;
        scores = logits(one.query);
      }
      all_.assign(before);
      found.push_back(
          shares(scores.argmax(1).eq(episode_labels(episodes_.ways, episodes_.queries)).unsqueeze(0))[0]);
    }
    return found;
  }

  bool interrupted() const { return o_.interrupt != nullptr && *o_.interrupt; }

 private:
  static std::vector<torch::Tensor> parameters_of(const MetaModel& model) {
    std::vector<torch::Tensor> parameters = model.upper_parameters();
    for (const torch::Tensor& t : model.lower_parameters()) parameters.push_back(t);
    return parameters;
  }

  struct Evaluating {
    explicit Evaluating(Network& network) : network_(network), training_(network.is_training()) {
      network_.eval();
    }
    ~Evaluating() { network_.train(training_); }
    Network& network_;
    bool training_;
  };
  Evaluating evaluating() { return Evaluating(*model_.network()); }

  torch::Tensor logits(const std::vector<int64_t>& rows) const {
    const std::vector<torch::Tensor> head = model_.lower_parameters();
    return torch::linear(model_.encode(rows_.gather(rows)), head[0], head[1]);
  }

  torch::Tensor query_loss(const torch::Tensor& scores) const {
    const torch::Tensor flat = scores.reshape({-1, episodes_.ways});
    const torch::Tensor labels = episode_labels(episodes_.ways, episodes_.queries);
    return torch::cross_entropy_loss(flat, labels.repeat({flat.size(0) / labels.size(0)}));
  }

  torch::Tensor adapted(const torch::Tensor& support) const {
    const std::vector<torch::Tensor> head = model_.lower_parameters();
    return adapted_heads(head[0].detach(), head[1].detach(), support.detach(),
                         one_hot_targets(support.size(0), episodes_.ways, episodes_.shots, support),
                         o_.inner_steps, 0, o_.inner_step_size);
  }

  /// Inner gradient steps on one task's support rows, in place.
  void adapt(const std::vector<int64_t>& support) {
    const torch::Tensor labels = episode_labels(episodes_.ways, episodes_.shots);
    for (int64_t step = 0; step < o_.inner_steps; ++step) {
      const torch::Tensor loss = torch::cross_entropy_loss(logits(support), labels);
      const auto gradients = torch::autograd::grad({loss}, adapted_, {}, false, false, true);
      const torch::NoGradGuard no_grad;
      for (size_t i = 0; i < adapted_.size(); ++i) {
        if (gradients[i].defined()) adapted_[i].sub_(gradients[i], o_.inner_step_size);
      }
    }
  }

  torch::Tensor maml_gradient(const Episodes& tasks) {
    const torch::Tensor before = all_.flat().clone();
    torch::Tensor sum = torch::zeros_like(before);
    const auto part = [&](const std::vector<int64_t>& rows, int64_t task, int64_t count) {
      return std::vector<int64_t>(rows.begin() + task * count, rows.begin() + (task + 1) * count);
    };
    for (int64_t task = 0; task < tasks.tasks; ++task) {
      adapt(part(tasks.support, task, episodes_.ways * episodes_.shots));
      const torch::Tensor loss =
          query_loss(logits(part(tasks.query, task, episodes_.ways * episodes_.queries)));
      sum += all_.pack(torch::autograd::grad({loss}, all_.tensors(), {}, false, false, true));
      all_.assign(before);
    }
    return sum / static_cast<double>(tasks.tasks);
  }

  std::vector<double> anil_accuracies(const EpisodeSource& source, int64_t count) {
    const auto evaluation = evaluating();
    const torch::NoGradGuard no_grad;
    std::vector<double> found;
    constexpr int64_t kTogether = 20;
    for (int64_t first = 0; first < count; first += kTogether) {
      const Episodes some = source.draw(first, std::min(kTogether, count - first));
      const auto features = [&](const std::vector<int64_t>& rows) {
        return model_.encode(rows_.gather(rows))
            .view({some.tasks, static_cast<int64_t>(rows.size()) / some.tasks, -1});
      };
      const torch::Tensor scores = with_one(features(some.query)).matmul(adapted(features(some.support)));
      const auto part = shares(scores.argmax(2).eq(episode_labels(episodes_.ways, episodes_.queries)));
      found.insert(found.end(), part.begin(), part.end());
    }
    return found;
  }

  MetaModel& model_;
  const MetaRows& rows_;
  EpisodeOptions episodes_;
  const InnerLoopOptions& o_;
  Parameters all_;
  std::vector<torch::Tensor> adapted_;
};

}  // namespace

namespace {

/// The accuracy of `scores` [T, Q, C] made of the rows of `table` in the support [T, S, d] and query part [T, Q, d] of tasks.
TaskAccuracy accuracy_on(
    const torch::Tensor& table, const EpisodeSource& source, int64_t begin, int64_t count,
    const std::function<torch::Tensor(const torch::Tensor&, const torch::Tensor&)>& scores) {
  const torch::NoGradGuard no_grad;
  const EpisodeOptions& o = source.options();
  std::vector<double> accuracies;
  constexpr int64_t kTogether = 50;
  for (int64_t first = begin; first < begin + count; first += kTogether) {
    const Episodes some = source.draw(first, std::min(kTogether, begin + count - first));
    const auto pick = [&](const std::vector<int64_t>& rows) {
      return table.index_select(0, torch::tensor(rows, torch::kInt64)).view({some.tasks, -1, table.size(1)});
    };
    const auto part =
        shares(scores(pick(some.support), pick(some.query)).argmax(2).eq(episode_labels(o.ways, o.queries)));
    accuracies.insert(accuracies.end(), part.begin(), part.end());
  }
  return TaskAccuracy(std::move(accuracies));
}

}  // namespace

TaskAccuracy nearest_class_mean(const torch::Tensor& table, const EpisodeSource& source, int64_t begin,
                                int64_t count) {
  const EpisodeOptions& o = source.options();
  return accuracy_on(
      table, source, begin, count, [&](const torch::Tensor& support, const torch::Tensor& query) {
        return -torch::cdist(query, support.view({support.size(0), o.ways, o.shots, -1}).mean(2));
      });
}

TaskAccuracy logistic_regression(const torch::Tensor& table, const EpisodeSource& source, int64_t begin,
                                 int64_t count) {
  const EpisodeOptions& o = source.options();
  const torch::Tensor one = torch::ones({}, table.options());
  return accuracy_on(table, source, begin, count,
                     [&](const torch::Tensor& support, const torch::Tensor& query) {
                       return head_scores(HeadKind::softmax, support,
                                          one_hot_targets(support.size(0), o.ways, o.shots, support), query,
                                          one / support.size(1), one);
                     });
}

TaskAccuracy train_inner_loop(MetaModel& model, const MetaRows& rows, const EpisodeSource& train,
                              const EpisodeSource& valid, const EpisodeSource& test, int64_t test_tasks,
                              const InnerLoopOptions& options, uint64_t seed) {
  InnerLoop loop(model, rows, train.options(), options);
  Adam adam({}, loop.parameters().flat());
  torch::Tensor best = loop.parameters().flat().clone();
  double best_accuracy = -1;
  const int64_t every = std::max<int64_t>(1, options.steps / std::max<int64_t>(1, options.evaluations));
  // A task of a step is worth about two that are measured: those are not differentiated through.
  const auto training =
      static_cast<double>(2 * options.steps * options.meta_batch + options.evaluations * options.valid_tasks);
  const double of_steps = training / (training + static_cast<double>(test_tasks));
  for (int64_t step = 1; step <= options.steps; ++step) {
    if (loop.interrupted()) return {};
    torch::Tensor gradient;
    {
      const DefaultGeneratorScope randomness(derive_seed(seed, fmt::format("{}.{}", options.method, step)));
      gradient = loop.gradient(train.draw((step - 1) * options.meta_batch, options.meta_batch));
    }
    adam.step(loop.parameters(), gradient, options.step_size);
    if (options.advance)
      options.advance(of_steps * static_cast<double>(step) / static_cast<double>(options.steps));
    if (step % every != 0 && step != options.steps) continue;
    const TaskAccuracy now(loop.accuracies(valid, options.valid_tasks));
    if (now.mean > best_accuracy) {
      best_accuracy = now.mean;
      best = loop.parameters().flat().clone();
    }
  }
  loop.parameters().assign(best);
  TaskAccuracy tested(loop.accuracies(test, test_tasks));
  return loop.interrupted() ? TaskAccuracy() : tested;
}

}  // namespace bilevel
