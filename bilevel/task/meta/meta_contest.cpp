#include <fmt/format.h>

#include "bilevel/task/meta/meta_setup.h"

namespace bilevel {
namespace {

class MetaAttempt : public ChoosingAttempt {
 public:
  MetaAttempt(const MetaSetup& setup, uint64_t seed) : setup_(setup), model_(setup.model(seed)) {}
  Problem problem() override { return setup_.problem(*model_); }

 protected:
  Evaluation evaluate() override {
    const TaskAccuracy test = setup_.test_accuracy(*model_);
    Evaluation valid = setup_.evaluate(*model_);
    valid.fields = {{"test_accuracy", test.mean}, {"valid_accuracy", valid.score}};
    return valid;
  }

 private:
  const MetaSetup& setup_;
  std::unique_ptr<MetaModel> model_;
};

}  // namespace

std::unique_ptr<Attempt> MetaSetup::attempt(uint64_t seed) {
  return std::make_unique<MetaAttempt>(*this, seed);
}

void MetaSetup::describe(ContestFacts& facts) const {
  facts.metric = {.key = "test_accuracy", .name = "test accuracy", .higher_is_better = true};
  facts.tuning_metric = {.key = "valid_accuracy", .name = "validation accuracy", .higher_is_better = true};
  facts.further = {facts.tuning_metric};
  facts.traits = traits(problem(*model(o_.seed)));
  facts.data.emplace_back("tasks",
                          fmt::format("{} ways, {} shots, {} a step", *o_.ways, o_.shots, o_.meta_batch));
}

}  // namespace bilevel
