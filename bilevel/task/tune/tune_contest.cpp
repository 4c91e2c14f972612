#include "bilevel/task/tune/tune_setup.h"

namespace bilevel {
namespace {

class TuneAttempt : public ChoosingAttempt {
 public:
  TuneAttempt(const TuneSetup& setup, TuneModel model) : setup_(setup), model_(std::move(model)) {}

  Problem problem() override { return setup_.problem(model_); }

 protected:
  Evaluation evaluate() override {
    const ClassScores valid = setup_.scores(model_, setup_.data().valid),
                      test = setup_.scores(model_, setup_.test());
    return {
        .score = -valid.loss,
        .fields = {{"test_loss", test.loss}, {"test_accuracy", test.accuracy}, {"valid_loss", valid.loss}}};
  }

 private:
  const TuneSetup& setup_;
  TuneModel model_;
};

}  // namespace

void TuneSetup::prepare_contest() {
  started_ = model(o_.seed);
  if (convex()) start(*started_);
}

std::unique_ptr<Attempt> TuneSetup::attempt(uint64_t seed) {
  TuneModel fresh = model(seed);
  if (convex()) {
    fresh.set_x(started_->x().detach().clone());
    fresh.set_y(started_->flat_y());
  }
  return std::make_unique<TuneAttempt>(*this, std::move(fresh));
}

void TuneSetup::describe(ContestFacts& facts) const {
  facts.metric = {.key = "test_loss", .name = "test loss"};
  facts.tuning_metric = {.key = "valid_loss", .name = "validation loss"};
  facts.further = {{.key = "test_accuracy", .name = "test accuracy", .higher_is_better = true},
                   facts.tuning_metric};
  facts.traits = traits(problem(*started_));
  facts.data.emplace_back("learned", o_.tune);
}

}  // namespace bilevel
