#include <fmt/format.h>

#include "bilevel/core/error.h"
#include "bilevel/task/clean/clean_weighing.h"

namespace bilevel {
namespace {

class CleanAttempt : public Attempt {
 public:
  CleanAttempt(const Weighing& weighing, uint64_t seed)
      : weighing_(weighing), part_(weighing.parts().front()), model_(weighing.model(part_, seed)) {}

  Problem problem() override { return weighing_.problem(model_, part_); }
  nlohmann::ordered_json measure(int64_t) override {
    const ClassScores held = weighing_.scores(model_, part_.held),
                      judging = weighing_.scores(model_, part_.upper);
    return {{"held_loss", held.loss}, {"held_accuracy", held.accuracy}, {"judging_loss", judging.loss}};
  }

 private:
  const Weighing& weighing_;
  const CleanPart& part_;
  CleanModel model_;
};

}  // namespace

void Weighing::prepare_contest() {
  prepare(parts_.front());
  if (parts_.front().held.empty()) {
    throw InputError(
        fmt::format("{}: too few trusted rows to hold some back; solvers are measured on these", o_.trusted));
  }
}

std::unique_ptr<Attempt> Weighing::attempt(uint64_t seed) {
  return std::make_unique<CleanAttempt>(*this, seed);
}

void Weighing::describe(ContestFacts& facts) const {
  const CleanPart& part = parts_.front();
  facts.metric = {.key = "held_loss", .name = "loss on the held-back rows"};
  facts.tuning_metric = {.key = "judging_loss", .name = "loss on the judging rows"};
  facts.further = {
      {.key = "held_accuracy", .name = "accuracy on the held-back rows", .higher_is_better = true},
      facts.tuning_metric};
  facts.traits = traits(problem(model(part, o_.seed), part));
  facts.last_tenth = true;
  facts.data.emplace_back("rows to weigh, judging, held back",
                          fmt::format("{}, {}, {}", part.lower.size(), part.upper.size(), part.held.size()));
}

}  // namespace bilevel
