#include "bilevel/model/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/model/checks.h"
#include "bilevel/model/linear.h"
#include "bilevel/model/mlp.h"
#include "bilevel/model/recurrent.h"
#include "bilevel/model/transformer.h"

namespace bilevel {
namespace {

/// Calls visit(name, field) for every optional field.
template <typename Options, typename Visitor>
void visit_optional_fields(Options& options, Visitor visit) {
  visit("hidden", options.hidden);
  visit("layers", options.layers);
  visit("embedding_size", options.embedding_size);
  visit("freeze_embedding", options.freeze_embedding);
  visit("max_length", options.max_length);
  visit("dropout", options.dropout);
  visit("bidirectional", options.bidirectional);
  visit("pooling", options.pooling);
  visit("heads", options.heads);
  visit("feed_forward", options.feed_forward);
  visit("positions", options.positions);
  visit("token_mean", options.token_mean);
  visit("activation", options.activation);
  visit("linear_skip", options.linear_skip);
}

template <typename T>
std::string shown(const T& value) {
  return fmt::format("{}", value);
}

/// Every rule on values that the encoders check when they are built, without building them.
void check_values(const NetworkOptions& options) {
  check_at_least("outputs", options.outputs, 1);
  if (options.hidden) check_at_least("hidden", *options.hidden, 1);
  if (options.layers) check_at_least("layers", *options.layers, 1);
  if (options.embedding_size) check_at_least("embedding_size", *options.embedding_size, 1);
  if (options.max_length) check_at_least("max_length", *options.max_length, 1);
  if (options.feed_forward) check_at_least("feed_forward", *options.feed_forward, 1);
  if (options.dropout) check_dropout(*options.dropout);
  if (options.pooling) pooling_from_string(*options.pooling);
  if (options.activation) activation_from_string(*options.activation);
  if (options.positions && positions_from_string(*options.positions) == Positions::sinusoidal &&
      *options.hidden % 2 != 0) {
    throw InputError(fmt::format("hidden = {}: must be even for sinusoidal positions.", *options.hidden));
  }
  if (options.heads) {
    check_at_least("heads", *options.heads, 1);
    if (*options.hidden % *options.heads != 0) {
      throw InputError(fmt::format("heads = {}: must divide hidden = {}.", *options.heads, *options.hidden));
    }
  }
}

NetworkOptions no_options(const InputShape&) { return {}; }

std::shared_ptr<Encoder> make_linear(const NetworkOptions& options, const InputShape& input) {
  return std::make_shared<LinearEncoder>(input.kind, input.width, options.outputs);
}

NetworkOptions mlp_defaults(const InputShape&) {
  return {.hidden = 128, .layers = 2, .dropout = 0.1, .activation = "gelu", .linear_skip = true};
}

std::shared_ptr<Encoder> make_mlp(const NetworkOptions& options, const InputShape& input) {
  return std::make_shared<MlpEncoder>(MlpOptions{.input = input.kind,
                                                 .width = input.width,
                                                 .hidden = *options.hidden,
                                                 .layers = *options.layers,
                                                 .activation = activation_from_string(*options.activation),
                                                 .dropout = *options.dropout});
}

/// What all encoders of words have.
NetworkOptions word_defaults(const InputShape& input) {
  const bool given = input.pretrained.defined() && input.pretrained.dim() == 2;
  return {.hidden = 128,
          .embedding_size = given ? input.pretrained.size(1) : 128,
          .freeze_embedding = given,
          .max_length = 256,
          .dropout = 0.1,
          .token_mean = false};
}

EncoderEntry recurrent(const std::string& name, RecurrentCell cell, const std::string& summary) {
  return {.name = name,
          .summary = summary + " over tokens, pooled over time",
          .reads = Reads::words,
          .inputs = {InputKind::tokens},
          .defaults =
              [](const InputShape& input) {
                NetworkOptions defaults = word_defaults(input);
                defaults.layers = 1;
                defaults.bidirectional = false;
                defaults.pooling = "max";
                return defaults;
              },
          .make =
              [cell](const NetworkOptions& options, const InputShape& input) {
                return std::make_shared<RecurrentEncoder>(
                    RecurrentOptions{.cell = cell,
                                     .vocabulary = input.width,
                                     .embedding_size = *options.embedding_size,
                                     .pretrained = input.pretrained,
                                     .freeze_embedding = *options.freeze_embedding,
                                     .hidden = *options.hidden,
                                     .layers = *options.layers,
                                     .bidirectional = *options.bidirectional,
                                     .pooling = pooling_from_string(*options.pooling),
                                     .dropout = *options.dropout,
                                     .max_length = *options.max_length,
                                     .token_mean = *options.token_mean});
              }};
}

NetworkOptions transformer_defaults(const InputShape& input) {
  NetworkOptions defaults = word_defaults(input);
  defaults.layers = 2;
  defaults.heads = 4;
  defaults.feed_forward = 4;
  defaults.positions = "learned";
  return defaults;
}

std::shared_ptr<Encoder> make_transformer(const NetworkOptions& options, const InputShape& input) {
  return std::make_shared<TransformerEncoder>(
      TransformerOptions{.vocabulary = input.width,
                         .embedding_size = *options.embedding_size,
                         .pretrained = input.pretrained,
                         .freeze_embedding = *options.freeze_embedding,
                         .hidden = *options.hidden,
                         .layers = *options.layers,
                         .heads = *options.heads,
                         .feed_forward = *options.feed_forward,
                         .positions = positions_from_string(*options.positions),
                         .dropout = *options.dropout,
                         .max_length = *options.max_length,
                         .token_mean = *options.token_mean});
}

}  // namespace

Registry<EncoderEntry>& encoder_registry() {
  static Registry<EncoderEntry> registry("encoder",
                                         {{.name = "bag",
                                           .summary = "one weight per hashed n-gram, summed",
                                           .reads = Reads::ngrams,
                                           .inputs = {InputKind::sparse},
                                           .linear = true,
                                           .defaults = no_options,
                                           .make = make_linear},
                                          {.name = "linear",
                                           .summary = "one weight per column",
                                           .inputs = {InputKind::dense, InputKind::sparse},
                                           .linear = true,
                                           .defaults = no_options,
                                           .make = make_linear},
                                          {.name = "mlp",
                                           .summary = "multilayer perceptron, with a linear skip",
                                           .inputs = {InputKind::dense, InputKind::sparse},
                                           .defaults = mlp_defaults,
                                           .make = make_mlp},
                                          recurrent("rnn", RecurrentCell::rnn, "tanh recurrent network"),
                                          recurrent("lstm", RecurrentCell::lstm, "LSTM"),
                                          recurrent("gru", RecurrentCell::gru, "GRU"),
                                          {.name = "transformer",
                                           .summary = "norm-first transformer over tokens, mean over time",
                                           .reads = Reads::words,
                                           .inputs = {InputKind::tokens},
                                           .delicate = true,
                                           .defaults = transformer_defaults,
                                           .make = make_transformer}});
  return registry;
}

NetworkOptions resolved(const NetworkOptions& options, const InputShape& input) {
  const EncoderEntry& entry = encoder_registry().at(options.encoder);
  if (std::find(entry.inputs.begin(), entry.inputs.end(), input.kind) == entry.inputs.end()) {
    throw InputError(
        fmt::format("encoder = '{}': does not read {} inputs.", options.encoder, to_string(input.kind)));
  }
  check_at_least("width", input.width, 1);
  if (input.pretrained.defined() && (input.kind != InputKind::tokens || input.pretrained.dim() != 2)) {
    throw InputError("pretrained embedding: must be a matrix [vocabulary, width], for token inputs only.");
  }

  NetworkOptions full = entry.defaults(input);
  full.encoder = options.encoder;
  full.outputs = options.outputs;
  visit_optional_fields(options, [&](const char* name, const auto& given) {
    if (!given) return;
    visit_optional_fields(full, [&](const char* other, auto& field) {
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(field)>,
                                   std::remove_cvref_t<decltype(given)>>) {
        if (std::string(name) != other) return;
        if (!field) {
          throw InputError(fmt::format("{} = {}: the encoder '{}' has no such option.", name, shown(*given),
                                       options.encoder));
        }
        field = given;
      }
    });
  });
  check_values(full);
  if (input.pretrained.defined() && *full.embedding_size != input.pretrained.size(1)) {
    throw InputError(fmt::format("embedding_size = {}: the pretrained vectors have width {}.",
                                 *full.embedding_size, input.pretrained.size(1)));
  }
  return full;
}

void to_json(nlohmann::json& json, const NetworkOptions& options) {
  json = {{"encoder", options.encoder}, {"outputs", options.outputs}};
  visit_optional_fields(options, [&](const char* name, const auto& field) {
    if (field) json[name] = *field;
  });
}

void from_json(const nlohmann::json& json, NetworkOptions& options) {
  NetworkOptions read;
  std::set<std::string> known{"encoder", "outputs"};
  json.at("encoder").get_to(read.encoder);
  if (json.contains("outputs")) json.at("outputs").get_to(read.outputs);
  visit_optional_fields(read, [&](const char* name, auto& field) {
    known.insert(name);
    if (json.contains(name))
      field = json.at(name).get<typename std::remove_cvref_t<decltype(field)>::value_type>();
  });
  for (const auto& [key, value] : json.items()) {
    if (!known.contains(key))
      throw InputError(fmt::format("{} = {}: is no option of a network.", key, value.dump()));
  }
  options = read;
}

void to_json(nlohmann::json& json, const InputShape& input) {
  json = {{"kind", to_string(input.kind)}, {"width", input.width}};
}

void from_json(const nlohmann::json& json, InputShape& input) {
  input = {input_kind_from_string(json.at("kind").get<std::string>()), json.at("width").get<int64_t>(), {}};
}

Network::Network(const NetworkOptions& options, const InputShape& input)
    : options_(resolved(options, input)), input_{input.kind, input.width, {}} {
  const EncoderEntry& entry = encoder_registry().at(options_.encoder);
  encoder_ = register_module("encoder", entry.make(options_, input));
  if (options_.linear_skip.value_or(false)) {
    skip_ = register_module(
        "skip", std::make_shared<LinearEncoder>(input.kind, input.width, options_.outputs, /*bias=*/false));
  }
  if (!entry.linear) {
    head_ = register_module("head", torch::nn::Linear(encoder_->features(), options_.outputs));
  }
}

torch::Tensor Network::forward(const std::vector<torch::Tensor>& inputs) { return head(encode(inputs)); }

torch::Tensor Network::encode(const std::vector<torch::Tensor>& inputs) {
  const torch::Tensor features = encoder_->forward(inputs);
  return skip_ ? torch::cat({features, skip_->forward(inputs)}, 1) : features;
}

torch::Tensor Network::head(const torch::Tensor& features) {
  if (head_.is_empty()) return features;
  if (!skip_) return head_->forward(features);
  const int64_t width = encoder_->features();
  return head_->forward(features.narrow(1, 0, width)) + features.narrow(1, width, options_.outputs);
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

void Network::set_twice_differentiable(bool on) {
  if (on && !encoder_registry().at(options_.encoder).twice_differentiable)
    throw InputError(fmt::format("encoder = {}: has no second derivatives", options_.encoder));
  encoder_->set_twice_differentiable(on);
  if (skip_) skip_->set_twice_differentiable(on);
}

std::string Network::twice_differentiable_note() const { return encoder_->twice_differentiable_note(); }

std::shared_ptr<Network> make_network(const NetworkOptions& options, const InputShape& input) {
  return std::make_shared<Network>(options, input);
}

}  // namespace bilevel
