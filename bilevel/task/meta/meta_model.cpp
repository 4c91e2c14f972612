#include "bilevel/task/meta/meta_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "bilevel/core/device.h"
#include "bilevel/core/error.h"
#include "bilevel/core/parameters.h"
#include "bilevel/core/streams.h"
#include "bilevel/problem/single_level.h"
#include "bilevel/report/intervals.h"
#include "bilevel/task/job/job_data.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

constexpr int64_t kTasksTogether = 50;  // tasks whose heads are solved together in an evaluation

torch::Tensor index_of(const std::vector<int64_t>& rows) { return index_on(torch::kCPU, rows); }

}  // namespace

std::vector<torch::Tensor> MetaRows::gather(const std::vector<int64_t>& rows) const {
  if (pair_offset == 0) return inputs.gather(rows);
  std::vector<int64_t> both = rows;
  for (const int64_t row : rows) both.push_back(row + pair_offset);
  return inputs.gather(both);
}

TaskAccuracy::TaskAccuracy(std::vector<double> accuracies) : of_task(std::move(accuracies)) {
  if (of_task.empty()) return;
  const MeanInterval interval = mean_interval(of_task);
  mean = low = high = interval.mean;
  if (std::all_of(of_task.begin(), of_task.end(), [&](double a) { return a == of_task.front(); })) return;
  low = interval.low;
  high = interval.high;
  double square = 0;
  for (const double a : of_task) square += (a - mean) * (a - mean);
  const auto n = static_cast<double>(of_task.size());
  standard_error = std::sqrt(square / (n - 1) / n);
}

MetaModel::MetaModel(const MetaModelOptions& options, const InputShape& shape, int64_t outputs, uint64_t seed,
                     const torch::Device& device)
    : options_(options), device_(device) {
  const std::string& encoder = options.network.encoder;
  const EncoderEntry& entry = encoder_registry().at(encoder);
  if (entry.linear) {
    throw InputError(
        fmt::format("encoder = {}: gives one number per class instead of features that tasks could share; "
                    "take {}",
                    encoder, encoder_names([](const EncoderEntry& one) { return !one.linear; })));
  }
  options_.network.outputs = 1;
  if (entry.reads == Reads::columns) options_.network.prefer("linear_skip", false);
  network_ = seeded_network(options_.network, shape, seed, device);
  options_.network = network_->options();
  const auto scalar = [&] { return torch::zeros({1}, torch::device(device)).requires_grad_(); };
  log_lambda_ = scalar();
  log_scale_ = scalar();
  if (!shared()) return;
  const int64_t width = network_->head_parameters()[0].size(1) * (options.pair ? 4 : 1);
  const DefaultGeneratorScope randomness(derive_seed(seed, "init.head"));
  const double bound = 1 / std::sqrt(static_cast<double>(width));
  weight_ = torch::empty({outputs, width}).uniform_(-bound, bound).to(device).requires_grad_();
  bias_ = torch::zeros({outputs}).to(device).requires_grad_();
}

torch::Tensor MetaModel::encode(const std::vector<torch::Tensor>& inputs) const {
  const torch::Tensor features = network_->encode(inputs);
  if (!options_.pair) return features;
  const int64_t rows = features.size(0) / 2;
  const torch::Tensor u = features.narrow(0, 0, rows), v = features.narrow(0, rows, rows);
  return torch::cat({u, v, (u - v).abs(), u * v}, 1);
}

void MetaModel::set_head(const MetaRows& rows, const EpisodeSource& source) {
  if (shared()) return;
  const Episodes some = source.draw(0, 20);
  const torch::NoGradGuard no_grad;
  const torch::Tensor h =
      features(rows, some.support).view({some.tasks, source.options().ways * source.options().shots, -1});
  const double square = (h - h.mean(1, true)).square().sum(2).mean().item<double>();
  log_lambda_.fill_(std::log(options_.l2 * std::max(square, 1e-6)));
  log_scale_.fill_(options_.head == HeadKind::ridge ? std::log(10.0) : 0.0);
}

Problem MetaModel::problem(const MetaRows& rows, const EpisodeSource& source, int64_t meta_batch,
                           int64_t tasks, const std::vector<int64_t>& labels) const {
  if (meta_batch < 1) throw InputError(fmt::format("meta_batch = {}: must be at least 1", meta_batch));
  if (tasks < meta_batch) {
    throw InputError(fmt::format("episodes = {}: must be at least meta_batch = {}", tasks, meta_batch));
  }
  return shared() ? shared_problem(rows, source, meta_batch, tasks, labels)
                  : solved_problem(rows, source, meta_batch, tasks);
}

Problem MetaModel::solved_problem(const MetaRows& rows, const EpisodeSource& source, int64_t meta_batch,
                                  int64_t tasks) const {
  const auto rows_of = [source](const Rows& some) {
    Episodes episodes = source.draw(some);
    Rows all = std::move(episodes.support);
    all.insert(all.end(), episodes.query.begin(), episodes.query.end());
    return all;
  };
  const MetaModel model = *this;
  const EpisodeOptions o = source.options();
  return single_level(
      {.parameters = upper_parameters(),
       .loss =
           [model, o](const Batch& batch) {
             const torch::Tensor h = model.encode(batch.inputs());
             const int64_t count = h.size(0) / (o.ways * (o.shots + o.queries));
             const int64_t support = count * o.ways * o.shots;
             const torch::Tensor scores = model.task_scores(
                 h.narrow(0, 0, support).view({count, o.ways * o.shots, -1}),
                 one_hot_targets(count, o.ways, o.shots, h),
                 h.narrow(0, support, h.size(0) - support).view({count, o.ways * o.queries, -1}), 0);
             const torch::Tensor labels =
                 to_device(episode_labels(o.ways, o.queries), h.device()).repeat({count});
             return torch::cross_entropy_loss(scores.reshape({-1, o.ways}), labels);
           },
       .batches = BatchSource(
           std::make_shared<DataSet>(DataSet{.inputs = [rows](const Rows& some) { return rows.gather(some); },
                                             .moved_inputs = moved_inputs(rows.inputs.kind())}),
           all_rows(tasks), {.batch_size = meta_batch}, {}, rows_of)});
}

Problem MetaModel::shared_problem(const MetaRows& rows, const EpisodeSource& source, int64_t meta_batch,
                                  int64_t tasks, const std::vector<int64_t>& labels) const {
  const auto set = std::make_shared<DataSet>(DataSet{
      [rows](const Rows& some) { return rows.gather(some); },
      [classes = index_of(labels)](const Rows& some) { return classes.index_select(0, index_of(some)); },
      moved_inputs(rows.inputs.kind())});
  const auto tasks_of = [&](bool query) {
    const auto rows_of = [source, query](const Rows& some) {
      const Episodes episodes = source.draw(some);
      return query ? episodes.query : episodes.support;
    };
    return BatchSource(set, all_rows(tasks), {.batch_size = meta_batch}, {}, rows_of);
  };
  const MetaModel model = *this;
  const auto fit = [model](const torch::Tensor& h, const Batch& batch) {
    return torch::cross_entropy_loss(torch::linear(h, model.weight_, model.bias_), batch.targets());
  };
  return {.upper = {.parameters = upper_parameters(), .feature_loss = fit, .batches = tasks_of(true)},
          .lower = {.parameters = lower_parameters(),
                    .feature_loss =
                        [fit, model](const torch::Tensor& h, const Batch& batch) {
                          return fit(h, batch) + model.options_.l2 * squared_norm(model.lower_parameters());
                        },
                    .batches = tasks_of(false)},
          .encode = [model](const Batch& batch) { return model.encode(batch.inputs()); }};
}

torch::Tensor MetaModel::features(const MetaRows& rows, const std::vector<int64_t>& numbers) const {
  return over_rows(
             *network_, numbers, device_, [&](const std::vector<int64_t>& some) { return rows.gather(some); },
             [&](const std::vector<torch::Tensor>& inputs) { return encode(inputs); })
      .to(device_);
}

torch::Tensor MetaModel::task_scores(const torch::Tensor& support, const torch::Tensor& targets,
                                     const torch::Tensor& query, int64_t adapt_steps) const {
  if (!shared()) {
    return head_scores(options_.head, support, targets, query, log_lambda_.exp().squeeze(),
                       log_scale_.exp().squeeze());
  }
  return with_one(query).matmul(adapted_heads(weight_, bias_, support, targets, adapt_steps, options_.l2));
}

TaskAccuracy MetaModel::evaluate(const MetaRows& rows, const EpisodeSource& source, int64_t begin,
                                 int64_t count, const std::vector<int64_t>& labels,
                                 int64_t adapt_steps) const {
  const torch::NoGradGuard no_grad;
  const Episodes all = source.draw(begin, count);
  std::vector<int64_t> distinct = all.support;
  distinct.insert(distinct.end(), all.query.begin(), all.query.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  const torch::Tensor table = features(rows, distinct);
  std::unordered_map<int64_t, int64_t> place;
  for (size_t i = 0; i < distinct.size(); ++i) place[distinct[i]] = static_cast<int64_t>(i);

  const EpisodeOptions& o = source.options();
  std::vector<double> accuracies;
  std::vector<torch::Tensor> by_class;
  for (int64_t first = 0; first < count; first += kTasksTogether) {
    const int64_t tasks = std::min(kTasksTogether, count - first);
    const auto part = [&](const std::vector<int64_t>& numbers, int64_t of_task) {
      std::vector<int64_t> places;
      std::vector<int64_t> classes;
      for (int64_t i = first * of_task; i < (first + tasks) * of_task; ++i) {
        const int64_t row = numbers[static_cast<size_t>(i)];
        places.push_back(place.at(row));
        if (shared()) classes.push_back(labels.at(static_cast<size_t>(row)));
      }
      const torch::Tensor h = table.index_select(0, index_on(device_, places)).view({tasks, of_task, -1});
      const torch::Tensor targets =
          shared()
              ? torch::one_hot(index_of(classes), bias_.size(0)).to(h.options()).view({tasks, of_task, -1})
              : one_hot_targets(tasks, o.ways, of_task / o.ways, h);
      return std::pair{h, targets};
    };
    const auto [support, targets] = part(all.support, o.ways * o.shots);
    const auto [query, truth] = part(all.query, o.ways * o.queries);
    const torch::Tensor scores = task_scores(support, targets, query, adapt_steps);
    const torch::Tensor right = (scores.argmax(2) == truth.argmax(2)) & scores.isfinite().all(2);
    const torch::Tensor share = right.to(torch::kFloat64).mean(1).cpu().contiguous();
    accuracies.insert(accuracies.end(), share.data_ptr<double>(), share.data_ptr<double>() + tasks);
    by_class.push_back(right.view({-1, o.queries}).to(torch::kFloat64).mean(1).cpu());
  }
  TaskAccuracy accuracy(std::move(accuracies));
  const torch::Tensor units = std::get<1>(at::_unique(index_of(all.units), true, true));
  const torch::Tensor sums = torch::zeros({units.max().item<int64_t>() + 1}, torch::kFloat64);
  const torch::Tensor means = sums.scatter_add(0, units, torch::cat(by_class)) / units.bincount();
  accuracy.of_unit.assign(means.data_ptr<double>(), means.data_ptr<double>() + means.numel());
  return accuracy;
}

torch::Tensor MetaModel::adapted_scores(const MetaRows& support, const std::vector<int64_t>& targets,
                                        int64_t classes, const MetaRows& query, int64_t adapt_steps) const {
  const torch::NoGradGuard no_grad;
  const auto all = [&](const MetaRows& rows) {
    return features(rows, all_rows(rows.pair_offset > 0 ? rows.pair_offset : rows.inputs.rows()))
        .unsqueeze(0);
  };
  const torch::Tensor h = all(support);
  const torch::Tensor y = torch::one_hot(index_of(targets), classes).to(h.options()).unsqueeze(0);
  return task_scores(h, y, all(query), adapt_steps).squeeze(0).cpu();
}

ParameterList MetaModel::upper_parameters() const {
  ParameterList parameters;
  for (const torch::Tensor& parameter : network_->encoder_parameters()) {
    for (const auto& named : network_->named_parameters()) {
      if (named.value().is_same(parameter)) parameters.add(named.key(), parameter);
    }
  }
  const ParameterList head = head_parameters();
  for (size_t i = 0; !shared() && i < head.size(); ++i) parameters.add(head.names[i], head[i]);
  return parameters;
}

ParameterList MetaModel::lower_parameters() const { return shared() ? head_parameters() : ParameterList(); }

double MetaModel::lambda() const { return std::exp(log_lambda_.item<double>()); }
double MetaModel::scale() const { return std::exp(log_scale_.item<double>()); }

std::map<std::string, torch::Tensor> MetaModel::tensors() const {
  std::map<std::string, torch::Tensor> tensors = tensors_of(*network_);
  const ParameterList head = head_parameters();
  for (size_t i = 0; i < head.size(); ++i) tensors[head.names[i]] = head[i].detach().cpu().clone();
  return tensors;
}

void MetaModel::load(const std::map<std::string, torch::Tensor>& tensors) {
  load_network(tensors, *network_);
  const ParameterList head = head_parameters();
  for (size_t i = 0; i < head.size(); ++i) load_tensor(tensors, head.names[i], head[i]);
}

ParameterList MetaModel::head_parameters() const {
  if (shared()) return {{"task_head.weight", weight_}, {"task_head.bias", bias_}};
  return {{"task_head.log_lambda", log_lambda_}, {"task_head.log_scale", log_scale_}};
}

}  // namespace bilevel
