#include "bilevel/task/clean/clean_baselines.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/report/metrics.h"
#include "bilevel/task/clean/clean_model.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kReferenceFolds = 5;

class Baselines {
 public:
  Baselines(const CleanSetup& setup, double drop, const std::function<void(const char*)>& step)
      : setup_(setup), drop_(drop), step_(step) {
    const bool tokens = setup.inputs().inputs.inputs.kind() == InputKind::tokens;
    const std::string encoder = tokens ? "bag" : "linear";
    own_ = tokens ? setup.fit(encoder) : CleanInputs{};
    options_ = setup.fit_options();
    options_.interrupt = nullptr;  // seen between the fits
    options_.network = NetworkOptions{.encoder = encoder, .outputs = setup.classes()};
    options_.l2 = *setup.options().baseline_l2;
  }

  Json measure() {
    const std::vector<int64_t>& train = setup_.train();
    const bool judged = !setup_.trusted().empty();
    Json result;
    result["noisy_and_trusted"] = fitted("noisy and trusted rows", train);
    WeightedRows all;
    all.add(train, 1);
    step_("self-confidence");
    const torch::Tensor self = of_given(out_of_fold(
        inputs(), setup_.given(), all,
        draw_folds(static_cast<int64_t>(train.size()), kReferenceFolds, options_.seed), options_));
    if (judged) {
      step_("trusted rows");
      WeightedRows trusted;
      trusted.add(setup_.trusted(), 1);
      const auto network = fit_weighted(inputs(), setup_.given(), trusted, options_);
      result["trusted_only"] = {{"test", test(*network)}};
      const torch::Tensor by_trusted =
          of_given(probabilities_of(*network, inputs().inputs, train, options_.device));
      result["self_confidence"] = dropping("rows by self-confidence", self);
      result["trusted_model"] = dropping("rows by the trusted model", by_trusted);
      result["product"] = dropping("rows by the product", self * by_trusted);
    } else {
      result["self_confidence"] = dropping("rows by self-confidence", self);
    }
    return result;
  }

 private:
  const FittedInputs& inputs() const { return own_.features ? own_.inputs : setup_.inputs().inputs; }

  torch::Tensor of_given(const torch::Tensor& probabilities) const {
    return probabilities.gather(1, setup_.classes_of(setup_.train()).unsqueeze(1)).squeeze(1);
  }

  Json test(Network& network) const {
    if (setup_.test().empty()) return nullptr;
    return class_scores(probabilities_of(network, inputs().inputs, setup_.test(), options_.device),
                        setup_.classes_of(setup_.test()))
        .to_json();
  }

  Json fitted(const char* what, const std::vector<int64_t>& rows) const {
    step_(what);
    WeightedRows both;
    both.add(rows, 1);
    both.add(setup_.trusted(), 1);
    return {{"test", test(*fit_weighted(inputs(), setup_.given(), both, options_))}};
  }

  Json dropping(const char* what, const torch::Tensor& score) const {
    const torch::Tensor order = score.argsort(/*stable=*/true, 0, /*descending=*/false);
    const auto* at = order.const_data_ptr<int64_t>();
    const auto first = static_cast<size_t>(std::llround(drop_ * static_cast<double>(setup_.train().size())));
    std::vector<int64_t> kept;
    for (size_t i = first; i < setup_.train().size(); ++i)
      kept.push_back(setup_.train()[static_cast<size_t>(at[i])]);
    std::sort(kept.begin(), kept.end());
    Json result = fitted(what, kept);
    if (setup_.flips()) result["flips"] = {{"auroc", auc(ScoredRows(-score, setup_.flips()->flipped))}};
    return result;
  }

  const CleanSetup& setup_;
  double drop_;
  const std::function<void(const char*)>& step_;
  CleanInputs own_;  // without features: those of the job
  WeightedFitOptions options_;
};

}  // namespace

Json measure_baselines(const CleanSetup& setup, double drop, const std::function<void(const char*)>& step) {
  return Baselines(setup, drop, step).measure();
}

}  // namespace bilevel
