// `bilevel compare clean`: what a contest of solvers asks of the job.
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/task/clean/clean_weighing.h"

namespace bilevel {
namespace {

constexpr double kJudging = 0.7;     // share of the trusted rows that judge; the others rank the solvers
constexpr int64_t kFewTrusted = 10;  // with fewer there is no contest

class CleanAttempt : public Attempt {
 public:
  CleanAttempt(const Weighing& weighing, CleanModel model, const std::vector<int64_t>& judges,
               const std::vector<int64_t>& held, int64_t batch_size)
      : weighing_(weighing),
        model_(std::move(model)),
        judges_(judges),
        held_(held),
        batch_size_(batch_size) {}

  Problem problem() override { return model_.problem(batch_size_); }
  nlohmann::ordered_json measure(int64_t) override {
    const ClassScores held = scores(held_), judging = scores(judges_);
    return {{"held_loss", held.loss}, {"held_accuracy", held.accuracy}, {"judging_loss", judging.loss}};
  }

 private:
  ClassScores scores(const std::vector<int64_t>& rows) const {
    return class_scores(model_.probabilities(rows), weighing_.classes_of(rows));
  }

  const Weighing& weighing_;
  CleanModel model_;
  const std::vector<int64_t>&judges_, &held_;
  int64_t batch_size_;
};

}  // namespace

void Weighing::prepare_contest() {
  if (trusted().empty())
    throw InputError("--trusted FILE is needed: the problem that is solved is what trusted rows judge");
  const auto count = static_cast<int64_t>(trusted().size());
  if (count < kFewTrusted) {
    throw InputError(
        fmt::format("{}: {} trusted rows are too few to hold some back; solvers are measured on these",
                    o_.trusted, count));
  }
  Streams streams(o_.seed);
  const torch::Tensor order = torch::randperm(count, streams.stream("judges"), torch::kInt64);
  const auto* at = order.const_data_ptr<int64_t>();
  for (int64_t k = 0; k < count; ++k)
    (k < std::llround(kJudging * static_cast<double>(count)) ? judges_ : held_)
        .push_back(trusted()[static_cast<size_t>(at[k])]);
  std::ranges::sort(judges_);
  std::ranges::sort(held_);
  for (size_t k = 0; k < static_cast<size_t>(kFolds); ++k) opinions_.push_back(opinion(part(k)));
}

std::unique_ptr<Attempt> Weighing::attempt(uint64_t seed) {
  return std::make_unique<CleanAttempt>(*this, model(opinions_, judges_, seed), judges_, held_,
                                        *o_.batch_size);
}

void Weighing::describe(ContestFacts& facts) const {
  facts.metric = {.key = "held_loss", .name = "loss on the held-back rows"};
  facts.tuning_metric = {.key = "judging_loss", .name = "loss on the judging rows"};
  facts.further = {
      {.key = "held_accuracy", .name = "accuracy on the held-back rows", .higher_is_better = true},
      facts.tuning_metric};
  facts.traits = traits(model(opinions_, judges_, o_.seed).problem(*o_.batch_size));
  facts.last_tenth = true;
  facts.data.emplace_back("rows to weigh, judging, held back",
                          fmt::format("{}, {}, {}", unrepeated().size(), judges_.size(), held_.size()));
}

}  // namespace bilevel
