#include "bilevel/task/sentence_features.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

// The length of a vector beside n-grams, whose row has length 1 too. Of .5, 1 and 2 it gave logistic regression the best AUC on
// held-out rows of AG News (business against science, .9405, .9408, .9373) and SST-2 (.8632, .8689, .8622), 5 % positive rows in
// training, each with the best of four strengths; .8979 and .7462 without vectors.
constexpr double kLength = 1;

/// Each layer's part of a row divided by its length and the root of their number: rows of length 1.
torch::Tensor directions(const torch::Tensor& vectors, int64_t layers) {
  const torch::Tensor parts = vectors.view({vectors.size(0), layers, -1});
  const torch::Tensor lengths = parts.norm(2, 2, /*keepdim=*/true).clamp_min(1e-12);
  return (parts / (lengths * std::sqrt(static_cast<double>(layers)))).flatten(1);
}

}  // namespace

torch::Tensor SentenceFeatures::dense(const std::vector<std::string_view>& texts) const {
  return directions(encoder_->encode(texts), encoder_->layers());
}

SparseRows SentenceFeatures::behind(const SparseRows& ngrams,
                                    const std::vector<std::string_view>& texts) const {
  const torch::Tensor vectors =
      (directions(encoder_->encode(texts), encoder_->layers()) * kLength).contiguous();
  const auto* vector = vectors.const_data_ptr<float>();
  const auto* offsets = ngrams.offsets.const_data_ptr<int64_t>();
  const auto* indices = ngrams.indices.const_data_ptr<int64_t>();
  const auto* values = ngrams.values.const_data_ptr<float>();
  SparseRowsBuilder builder;
  for (int64_t row = 0; row < ngrams.rows(); ++row) {
    for (int64_t i = offsets[row]; i < offsets[row + 1]; ++i) builder.add_entry(indices[i], values[i]);
    for (int64_t i = 0; i < width(); ++i) builder.add_entry(ngrams.width + i, *vector++);
    builder.end_row();
  }
  return builder.finish(ngrams.width + width());
}

std::vector<std::string> SentenceFeatures::names() const {
  std::vector<std::string> names;
  for (int64_t i = 0; i < width(); ++i) names.push_back(fmt::format("sentence {}", i));
  return names;
}

std::string SentenceFeatures::fact() const {
  const int64_t layers = encoder_->layers();
  return fmt::format("{} numbers of the sentence encoder {}, of its last {}", width(), encoder_->name(),
                     layers == 1 ? "layer" : fmt::format("{} layers", layers));
}

nlohmann::json SentenceFeatures::to_json() const {
  return {{"name", encoder_->name()},
          {"path", std::filesystem::absolute(encoder_->folder()).string()},
          {"fingerprint", encoder_->fingerprint()},
          {"layers", encoder_->layers()},
          {"from", name_of(from_)}};
}

SentenceFeatures SentenceFeatures::from_json(const nlohmann::json& state, const SentenceSource& source) {
  const auto path = state.at("path").get<std::string>(), name = state.at("name").get<std::string>(),
             fingerprint = state.at("fingerprint").get<std::string>();
  const std::string& from = !source.encoder.empty()               ? source.encoder
                            : std::filesystem::is_directory(path) ? path
                                                                  : name;
  std::shared_ptr<SentenceEncoder> encoder;
  try {
    encoder = std::make_shared<SentenceEncoder>(from, source.device, state.value("layers", 1));
  } catch (const InputError& error) {
    throw InputError(
        fmt::format("the model reads texts by the sentence encoder '{}', which was in {}: {}; "
                    "--sentence-encoder DIR names its folder",
                    name, path, error.what()));
  }
  if (const std::string found = encoder->fingerprint(); found != fingerprint)
    throw InputError(
        fmt::format("the sentence encoder in {} is not the one that the model was trained with "
                    "(fingerprint {}, not {}); --sentence-encoder DIR names another folder",
                    encoder->folder(), found, fingerprint));
  return {std::move(encoder), value_named<FeaturesFrom>(state.at("from").get<std::string>(), "from")};
}

}  // namespace bilevel
