#include "bilevel/model/network.h"

#include <ATen/autocast_mode.h>
#include <fmt/format.h>

#include "bilevel/core/error.h"
#include "bilevel/model/encoder/linear/linear.h"

namespace bilevel {
namespace {

NetworkOptions with_all_options(const NetworkOptions& options, Encoder& encoder) {
  if (options.outputs < 1)
    throw InputError(fmt::format("outputs = {}: must be at least 1.", options.outputs));
  return {.encoder = options.encoder,
          .outputs = options.outputs,
          .set = nlohmann::json(fields_of(encoder).to_json()),
          .precision = options.precision};
}

/// For its lifetime LibTorch computes in bfloat16 what gains by it on this kind of device. What it rounds it does not keep,
/// since parameters move.
class Bfloat16Scope {
 public:
  explicit Bfloat16Scope(c10::DeviceType kind)
      : kind_(kind),
        enabled_(at::autocast::is_autocast_enabled(kind)),
        cache_(at::autocast::is_autocast_cache_enabled()),
        dtype_(at::autocast::get_autocast_dtype(kind)) {
    set(true, false, torch::kBFloat16);
  }
  ~Bfloat16Scope() { set(enabled_, cache_, dtype_); }
  Bfloat16Scope(const Bfloat16Scope&) = delete;
  Bfloat16Scope& operator=(const Bfloat16Scope&) = delete;

 private:
  void set(bool enabled, bool cache, torch::ScalarType dtype) const {
    at::autocast::set_autocast_enabled(kind_, enabled);
    at::autocast::set_autocast_cache_enabled(cache);
    at::autocast::set_autocast_dtype(kind_, dtype);
  }
  c10::DeviceType kind_;
  bool enabled_, cache_;
  torch::ScalarType dtype_;
};

}  // namespace

void NetworkOptions::set_text(const std::string& assignment) {
  const std::shared_ptr<Encoder> made = encoder_registry().at(encoder).make();
  const Fields fields = fields_of(*made);
  fields.set_text(assignment);
  const std::string name = assignment.substr(0, assignment.find('='));
  set[name] = fields.find(name)->get();
}

void NetworkOptions::prefer(const std::string& option, const nlohmann::json& value) {
  const std::shared_ptr<Encoder> made = encoder_registry().at(encoder).make();
  if (fields_of(*made).find(option) != nullptr) set[option] = value;
}

NetworkOptions resolved(const NetworkOptions& options, const InputShape& input) {
  return with_all_options(options, *prepared_encoder(options.encoder, options.set, input));
}

void to_json(nlohmann::json& json, const NetworkOptions& options) {
  json = options.set;
  json["encoder"] = options.encoder;
  json["outputs"] = options.outputs;
}

void from_json(const nlohmann::json& json, NetworkOptions& options) {
  options = {.encoder = json.at("encoder").get<std::string>(),
             .outputs = json.value("outputs", int64_t{1}),
             .set = json};
  options.set.erase("encoder");
  options.set.erase("outputs");
}

Network::Network(const NetworkOptions& options, const InputShape& input)
    : input_{input.kind, input.width, {}}, encoder_(prepared_encoder(options.encoder, options.set, input)) {
  options_ = with_all_options(options, *encoder_);
  encoder_->build(input, options_.outputs);
  register_module("encoder", encoder_);
  if (encoder_->linear_skip()) {
    skip_ = register_module("skip", std::make_shared<LinearEncoder>(/*bias=*/false));
    skip_->build(input, options_.outputs);
  }
  const EncoderEntry& entry = encoder_registry().at(options_.encoder);
  if (entry.ensemble) {
    shares_ = register_buffer("shares", torch::tensor(encoder_->shares(), torch::get_default_dtype()));
  } else if (!entry.linear) {
    head_ = register_module("head", torch::nn::Linear(encoder_->features(), options_.outputs));
  }
}

torch::Tensor Network::forward(const std::vector<torch::Tensor>& inputs) { return head(encode(inputs)); }

torch::Tensor Network::encode(const std::vector<torch::Tensor>& inputs) {
  if (options_.precision == Precision::float32 || head_.is_empty()) return encoded(inputs);
  const torch::Tensor first = parameters().front();
  const Bfloat16Scope scope(first.device().type());
  return encoded(inputs).to(first.scalar_type());
}

torch::Tensor Network::encoded(const std::vector<torch::Tensor>& inputs) {
  const torch::Tensor features = encoder_->forward(inputs);
  return skip_ ? torch::cat({features, skip_->forward(inputs)}, 1) : features;
}

torch::Tensor Network::head(const torch::Tensor& features) {
  if (shares_.defined()) return members(features).transpose(1, 2).matmul(shares_);
  if (head_.is_empty()) return features;
  if (!skip_) return head_->forward(features);
  const int64_t width = encoder_->features();
  return head_->forward(features.narrow(1, 0, width)) + features.narrow(1, width, options_.outputs);
}

torch::Tensor Network::members(const torch::Tensor& features) {
  return shares_.defined() ? features.unflatten(1, {shares_.numel(), options_.outputs})
                           : head(features).unsqueeze(1);
}

std::vector<torch::Tensor> Network::encoder_parameters() const {
  std::vector<torch::Tensor> found = encoder_->parameters();
  if (skip_) {
    const std::vector<torch::Tensor> more = skip_->parameters();
    found.insert(found.end(), more.begin(), more.end());
  }
  return found;
}

std::vector<torch::Tensor> Network::head_parameters() const {
  return head_.is_empty() ? std::vector<torch::Tensor>{} : head_->parameters();
}

WeightKind Network::kind_of(const torch::Tensor& parameter) const {
  if (parameter.dim() < 2) return WeightKind::other;
  if (skip_ && parameter.is_same(skip_->input_weight())) return WeightKind::direct;
  if (shares_.defined())
    return parameter.is_same(encoder_->head_weight()) ? WeightKind::head : WeightKind::hidden;
  if (head_.is_empty()) return WeightKind::direct;
  if (parameter.is_same(head_->weight)) return WeightKind::head;
  if (!parameter.is_same(encoder_->input_weight())) return WeightKind::hidden;
  return input_.kind == InputKind::tokens ? WeightKind::vectors : WeightKind::input;
}

std::vector<torch::Tensor> Network::input_matrices() const {
  std::vector<torch::Tensor> found;
  if (const torch::Tensor own = encoder_->input_matrix(); own.defined()) found.push_back(own);
  if (skip_) found.push_back(skip_->input_matrix());
  return found;
}

bool Network::is_linear_map() const {
  const std::vector<torch::Tensor> own = parameters();
  return head_.is_empty() && !skip_ && own.size() == 2 && own[0].is_same(encoder_->input_weight()) &&
         own[1].dim() == 1;
}

void Network::set_twice_differentiable(bool on) {
  if (on && !encoder_registry().at(options_.encoder).twice_differentiable)
    throw InputError(fmt::format("encoder = {}: has no second derivatives", options_.encoder));
  encoder_->set_twice_differentiable(on);
}

std::shared_ptr<Network> make_network(const NetworkOptions& options, const InputShape& input) {
  return std::make_shared<Network>(options, input);
}

}  // namespace bilevel
