// Cosines of linear maps of the columns, whose frequencies are trained: an encoder that the library does not have.
#include <numbers>

#include "bilevel/model/encoder.h"

namespace bilevel {
namespace {

class CosinesEncoder : public Encoder {
 public:
  void fields(Fields& f) override {
    f.integer("hidden", hidden_, kAtLeastOne, "number of cosines");
    f.number("scale", scale_, kPositive, "standard deviation of the frequencies at the start");
  }

  void build(const InputShape& input, int64_t) override {
    frequencies_ = register_parameter("frequencies", scale_ * torch::randn({input.width, hidden_}));
    phases_ = register_parameter("phases", 2 * std::numbers::pi * torch::rand({hidden_}));
  }

  torch::Tensor forward(const std::vector<torch::Tensor>& inputs) override {
    return torch::cos(inputs[0].mm(frequencies_) + phases_);
  }

  int64_t features() const override { return hidden_; }
  torch::Tensor input_weight() const override { return frequencies_; }

 private:
  int64_t hidden_ = 32;
  double scale_ = 1;
  torch::Tensor frequencies_, phases_;
};

}  // namespace

EncoderEntry cosines_entry() {
  return {.name = "cosines",
          .summary = "cosines of linear maps, with trained frequencies",
          .inputs = {InputKind::dense},
          .make = [] { return std::make_shared<CosinesEncoder>(); }};
}

}  // namespace bilevel
