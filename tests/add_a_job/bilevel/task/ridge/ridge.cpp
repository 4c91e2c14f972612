// The job `ridge`: one L2 strength of a classifier, learned by gradient.
//
// Trains the classifier y and the logarithm x of its L2 strength together,
//     f = mean loss of the validation rows at y,  g = mean loss of the training rows + exp(x)/2 |weights of y|^2,
// and keeps the step of the least validation loss. `predict` is `predict_classes`.
#include <fmt/format.h>

#include "bilevel/core/streams.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/job_data.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/job_run.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

struct RidgeOptions : JobOptions {
  std::string split;  ///< see `part_shares`

  void fields(Fields& f) override {
    f.heading(kDataGroup);
    f.text("train", train, "training file").as("FILE");
    f.text("valid", valid, "validation file").as("FILE").or_else("a share of the training rows");
    f.text("test", test, "test file").as("FILE").or_else("a share of the training rows");
    column_fields(f);
    cut_fields(f);
    f.text("split", split, "shares of training, validation and test rows cut from the training file")
        .as("T,V,S")
        .or_else("a fifth for testing, a quarter of the rest for validation");
    f.heading(kModelGroup);
    model_fields(f, "L2 strength to start from");
    training_fields(f);
  }
};

/// The rows of a run and what they hold.
struct RidgeData {
  Inputs inputs;
  InputShape shape;
  ClassLabels labels;
  RowParts parts;
};

/// The two variables, and what they are worth.
class Ridge : public ChoosingAttempt {
 public:
  Ridge(const RidgeOptions& options, const NetworkOptions& network, const RidgeData& data, uint64_t seed)
      : data_(data),
        rows_(data_set(data.inputs, torch::tensor(data.labels.classes, torch::kInt64))),
        batch_size_(*options.batch_size),
        device_(options.torch_device()),
        network_(seeded_network(network, data.shape, seed, device_)),
        x_(torch::full({1}, std::log(*options.l2), torch::device(device_)).requires_grad_()) {
    network_->set_twice_differentiable(true);
  }

  Problem problem() override {
    return {.upper = {.parameters = {{"log_strength", x_}},
                      .loss = [this](const Batch& batch) { return loss(batch); },
                      .batches = {rows_, data_.parts.valid, {.batch_size = batch_size_}}},
            .lower = {.parameters = named(*network_),
                      .loss = [this](const Batch& batch) { return loss(batch) + penalty(); },
                      .batches = {rows_, data_.parts.train, {.batch_size = batch_size_}}}};
  }
  Evaluation evaluate() override {
    const ClassScores valid = scores(data_.parts.valid), test = scores(data_.parts.test);
    return {
        .score = -valid.loss,
        .fields = {{"valid_loss", valid.loss}, {"test_loss", test.loss}, {"test_accuracy", test.accuracy}}};
  }
  ClassScores scores(const std::vector<int64_t>& part) const {
    return class_scores(probabilities(part), classes_at(data_.labels.classes, part));
  }
  torch::Tensor probabilities(const std::vector<int64_t>& part) const {
    return probabilities_of(*network_, data_.inputs, part, device_);
  }

  Network& network() const { return *network_; }
  double strength() const { return x_.exp().item<double>(); }
  void set(const PassOutcome& outcome) {
    set_from_flat({x_}, outcome.upper);
    set_from_flat(named(*network_), outcome.lower);
  }

 private:
  torch::Tensor loss(const Batch& batch) const {
    const torch::Tensor log_p = network_->forward(batch.inputs()).log_softmax(1);
    return -log_p.gather(1, batch.targets().unsqueeze(1)).mean();
  }
  torch::Tensor penalty() const {
    const NetworkWeights weights = weights_of(*network_);
    torch::Tensor squares = torch::zeros({}, torch::device(device_));
    for (const auto* matrices : {&weights.linear, &weights.hidden}) {
      for (const torch::Tensor& matrix : *matrices) squares = squares + matrix.square().sum();
    }
    return 0.5 * x_.exp().squeeze() * squares;
  }

  const RidgeData& data_;
  std::shared_ptr<const DataSet> rows_;
  int64_t batch_size_;
  torch::Device device_;
  std::shared_ptr<Network> network_;
  torch::Tensor x_;
};

/// What a run and a contest start from.
class RidgeSetup : public JobSetup {
 public:
  RidgeSetup(RidgeOptions options, const JobContext& context) : JobSetup(context), o_(std::move(options)) {
    o_.check();
    read(o_, {{"train", o_.train}, {"valid", o_.valid}, {"test", o_.test}});
    data_.labels = files_.classes(o_.label);
    Streams streams(o_.seed);
    data_.parts =
        cut_parts(o_, o_.split, 0.25, data_.labels.classes, streams.stream("split"), data_.labels.names);
    network_ = resolve(o_, {.l2 = 1e-2, .batch_size = 64, .epochs = 20, .threads = 1});
    network_.outputs = static_cast<int64_t>(data_.labels.names.size());
    const auto [features, fitted] = files_.fit(
        feature_options(o_, o_.encoder, network_.set.value("max_length", 256)), data_.parts.train, o_.seed);
    features_ = features;
    data_.inputs = fitted.inputs;
    data_.shape = fitted.shape;
    o_.note(model(o_.seed).network().options());
    context_.say(fmt::format("{} rows to train, {} to validate, {} to test", data_.parts.train.size(),
                             data_.parts.valid.size(), data_.parts.test.size()));
  }

  const RidgeOptions& options() const override { return o_; }
  const RidgeData& data() const { return data_; }
  const Features& features() const { return *features_; }
  Ridge model(uint64_t seed) const { return Ridge(o_, network_, data_, seed); }

  std::unique_ptr<Attempt> attempt(uint64_t seed) override { return std::make_unique<Ridge>(model(seed)); }
  std::unique_ptr<Solver> solver(const std::string& name) const override {
    return make_job_solver(name,
                           {{"upper_step_size", 0.05}, {"lower_step_size", 0.5}, {"neumann_step_size", 0.5}},
                           encoder_registry().at(o_.encoder).linear);
  }
  int64_t default_steps() const override {
    const auto rows = static_cast<int64_t>(data_.parts.train.size());
    return o_.steps_for(rows, std::min(rows, *o_.batch_size));
  }

 protected:
  void describe(ContestFacts& facts) const override {
    facts.metric = {.key = "test_loss", .name = "test loss"};
    facts.tuning_metric = {.key = "valid_loss", .name = "validation loss"};
    facts.further = {{.key = "test_accuracy", .name = "test accuracy", .higher_is_better = true}};
    facts.traits.noise = batch_noise(model(o_.seed).problem());
    if (!encoder_registry().at(o_.encoder).linear) {
      facts.traits.convexity = Convexity::none;
      facts.traits.caveat = "the loss is not convex in the weights of a network";
    }
  }

 private:
  RidgeOptions o_;
  RidgeData data_;
  NetworkOptions network_;
  std::shared_ptr<const Features> features_;
};

JobResult run_ridge(RidgeSetup& setup) {
  const RidgeOptions& o = setup.options();
  const JobContext& context = setup.context();
  const RidgeData& data = setup.data();
  const std::unique_ptr<Solver> solver = setup.solver(o.solver);
  assign(*solver, o.set);
  Ridge model = setup.model(o.seed);
  const Problem problem = model.problem();
  { Oracles(problem, o.seed); }  // what is impossible is refused before there is a folder

  const FolderLock lock = context.open(o, setup.files());
  Passes passes = context.passes();
  const PassOutcome* learned = passes.run(
      {.name = "learn", .steps = setup.default_steps(), .max_seconds = o.seconds_allowed(), .seed = o.seed},
      problem, *solver, [&] { return model.evaluate(); });
  if (learned == nullptr) return unfinished(context, o, passes);
  model.set(*learned);

  nlohmann::ordered_json summary = summary_of(context, o, passes);
  summary["best_step"] = learned->chosen_step;
  summary["strength"] = model.strength();
  summary["metrics"] = {{"train", model.scores(data.parts.train).to_json()},
                        {"valid", model.scores(data.parts.valid).to_json()},
                        {"test", model.scores(data.parts.test).to_json()}};
  save_model(context, o, model.network(), setup.features(), {}, {{"classes", data.labels.names}});
  write_test_predictions(context, setup.data_files(), data.parts.test, model.probabilities(data.parts.test),
                         data.labels.names, classes_at(data.labels.classes, data.parts.test));
  ReportPage page = job_page(title_of(o, "ridge"), summary, provenance_of(context.out));
  page.verdict = "Whether the learned strength is better than another is not known: there is no baseline.";
  page.sections = {{"Result", table_of("Scores", summary["metrics"])}, use_section(summary)};
  write_page(context, page);
  return finished(
      context, passes, summary,
      fmt::format("L2 strength {:.3g}, test accuracy {}\nreport: {}/report.html\n", model.strength(),
                  percent_text(model.scores(data.parts.test).accuracy), context.out));
}

}  // namespace

JobEntry ridge_entry() {
  return {.name = "ridge",
          .summary = "learn one L2 strength of a classifier by gradient",
          .first_try = "--train rows.csv --label class",
          .score = "loss",
          .score_is_loss = true,
          .make = [] { return std::make_unique<JobOf<RidgeOptions, RidgeSetup>>(run_ridge); },
          .predict = predict_classes};
}

}  // namespace bilevel
