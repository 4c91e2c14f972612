#include "bilevel/task/sentence_encoder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <unordered_set>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/json_file.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/data/ngrams.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

// Of a batch: so many that the matrices of one layer stay in the caches of a core.
constexpr size_t kTokensOfBatch = 2048;

/// Null for a file that is not there.
nlohmann::json optional_json(const fs::path& path) {
  return fs::exists(path) ? parse_json_file(path.string()) : nlohmann::json();
}

std::map<std::string, torch::Tensor> weights_of(const std::string& folder) {
  const fs::path path = fs::path(folder) / "model.safetensors";
  if (!fs::exists(path)) throw InputError(fmt::format("{}: there is no model.safetensors", folder));
  std::map<std::string, torch::Tensor> tensors = load_safetensors(path.string()).tensors;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.is_floating_point() && !tensor.isfinite().all().item<bool>())
      throw InputError(fmt::format("tensor {} holds NaN or infinity: the file is damaged", name));
  }
  return tensors;
}

Bert bert_of(const std::string& folder, const torch::Device& device) {
  const BertConfig config = BertConfig::of_folder(folder);
  return in_context((fs::path(folder) / "model.safetensors").string(),
                    [&] { return Bert(config, weights_of(folder), device); });
}

}  // namespace

std::string sentence_encoder_folder(const std::string& name) {
  if (fs::is_directory(name)) return name;
  std::vector<std::string> places;
  if (const char* given = std::getenv("BILEVEL_ENCODERS"); given != nullptr) {
    for (std::string_view rest = given; !rest.empty();) {
      const size_t end = std::min(rest.find(':'), rest.size());
      if (end > 0) places.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(rest.size(), end + 1));
    }
  }
  std::error_code ignored;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !ignored) {
    for (const fs::path& beside : {program.parent_path(), program.parent_path().parent_path()})
      places.push_back((beside / "encoder").string());
  }
  for (const std::string& place : places) {
    if (const fs::path folder = fs::path(place) / name; fs::is_directory(folder)) return folder.string();
  }
  throw InputError(
      fmt::format("sentence_encoder = {}: there is no such folder, nor one of this name in {} "
                  "('make encoder' fetches minilm)",
                  name, fmt::join(places, ", ")));
}

std::vector<std::string> sentence_encoder_files(const std::string& folder) {
  std::vector<std::string> files;
  for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json",
                           "tokenizer_config.json", "modules.json", "sentence_bert_config.json"}) {
    if (const fs::path path = fs::path(folder) / name; fs::exists(path)) files.push_back(path.string());
  }
  return files;
}

SentenceEncoder::SentenceEncoder(const std::string& name, const torch::Device& device, int64_t layers)
    : name_(name),
      folder_(sentence_encoder_folder(name)),
      tokenizer_(WordPiece::of_folder(folder_)),
      bert_(bert_of(folder_, device)),
      layers_(std::min(layers, bert_.config().layers)) {
  if (tokenizer_.size() > bert_.config().vocabulary)
    throw InputError(fmt::format("{}: the vocabulary has {} tokens, but config.json says {}", folder_,
                                 tokenizer_.size(), bert_.config().vocabulary));
  read_modules();
  vectors_ = torch::empty({0, width()});
  read_cache();
}

void SentenceEncoder::read_modules() {
  try {
    const nlohmann::json limits = optional_json(fs::path(folder_) / "sentence_bert_config.json");
    max_tokens_ = bert_.config().positions;
    if (limits.is_object() && limits.contains("max_seq_length") && limits["max_seq_length"].is_number())
      max_tokens_ = std::clamp<int64_t>(limits["max_seq_length"].get<int64_t>(), 2, max_tokens_);
    for (const nlohmann::json& module : optional_json(fs::path(folder_) / "modules.json")) {
      const auto type = module.at("type").get<std::string>();
      if (type.ends_with(".Normalize")) {
        unit_length_ = true;
      } else if (type.ends_with(".Pooling")) {
        const fs::path path = fs::path(folder_) / module.at("path").get<std::string>() / "config.json";
        const nlohmann::json modes = optional_json(path);
        for (const auto& [mode, value] : modes.items()) {
          if (mode.starts_with("pooling_mode") && (value == true || value.is_string()) &&
              mode != "pooling_mode_mean_tokens" && value != "mean")
            throw InputError(
                fmt::format("{}: {} = {}; only mean pooling is read", path.string(), mode, value.dump()));
        }
      } else if (!type.ends_with(".Transformer")) {
        throw InputError(fmt::format("{}/modules.json: the module {} is not read", folder_, type));
      }
    }
  } catch (const nlohmann::json::exception& error) {
    throw InputError(
        fmt::format("{}: is not the description of a sentence encoder: {}", folder_, error.what()));
  }
}

SentenceEncoder::Key SentenceEncoder::key_of(std::string_view text) {
  return {static_cast<int64_t>(stable_hash(text)),
          static_cast<int64_t>(stable_hash("second hash of " + std::string(text)))};
}

void SentenceEncoder::read_cache() {
  const char* given = std::getenv("BILEVEL_ENCODER_CACHE");
  if (given == nullptr || *given == '\0') return;
  cache_ =
      (fs::path(given) / (fingerprint() + (layers_ > 1 ? fmt::format("-{}-layers", layers_) : ""))).string();
  if (!fs::is_directory(cache_)) return;
  std::set<std::string> paths;  // in an order that is the same everywhere
  for (const auto& entry : fs::directory_iterator(cache_)) {
    if (entry.path().extension() == ".safetensors") paths.insert(entry.path().string());
  }
  for (const std::string& path : paths) {
    auto tensors = load_safetensors(path).tensors;
    const torch::Tensor keys = tensors["keys"], vectors = tensors["vectors"];
    if (!keys.defined() || !vectors.defined() || keys.scalar_type() != torch::kInt64 ||
        keys.sizes() != std::vector<int64_t>{vectors.size(0), 2} || vectors.size(1) != width())
      throw FileError(path + ": does not hold the vectors of this sentence encoder");
    std::vector<Key> all;
    const auto* key = keys.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < keys.size(0); ++i) all.push_back({key[2 * i], key[2 * i + 1]});
    remember(all, vectors);
  }
}

void SentenceEncoder::remember(const std::vector<Key>& keys, const torch::Tensor& vectors) {
  const int64_t before = vectors_.size(0);
  for (size_t i = 0; i < keys.size(); ++i) known_.insert_or_assign(keys[i], before + static_cast<int64_t>(i));
  vectors_ = torch::cat({vectors_, vectors});
}

void SentenceEncoder::write_cache(const std::vector<Key>& keys, const torch::Tensor& vectors) const {
  std::vector<int64_t> numbers;
  for (const Key& key : keys) numbers.insert(numbers.end(), {key.first, key.second});
  create_folder(cache_);
  // The same texts have the same file, whoever writes it.
  const std::string name =
      fmt::format("{}-{:016x}{:016x}.safetensors", keys.size(), static_cast<uint64_t>(keys.front().first),
                  static_cast<uint64_t>(keys.back().first));
  save_safetensors((fs::path(cache_) / name).string(),
                   {{"keys", torch::tensor(numbers, torch::kInt64).view({-1, 2})}, {"vectors", vectors}});
}

torch::Tensor SentenceEncoder::encode(const std::vector<std::string_view>& texts) {
  std::vector<std::string_view> fresh;
  std::vector<Key> keys, fresh_keys;
  std::unordered_set<Key, Hash> seen;
  for (const std::string_view text : texts) {
    keys.push_back(key_of(text));
    if (known_.contains(keys.back()) || !seen.insert(keys.back()).second) continue;
    fresh.push_back(text);
    fresh_keys.push_back(keys.back());
  }
  if (!fresh.empty()) {
    if (tell) tell(static_cast<int64_t>(fresh.size()));
    const torch::Tensor made = vectors_of(fresh);
    if (!cache_.empty()) write_cache(fresh_keys, made);
    remember(fresh_keys, made);
  }
  std::vector<int64_t> rows;
  for (const Key& key : keys) rows.push_back(known_.at(key));
  return vectors_.index_select(0, torch::tensor(rows, torch::kInt64));
}

torch::Tensor SentenceEncoder::vectors_of(const std::vector<std::string_view>& texts) const {
  std::map<size_t, std::vector<int64_t>> by_length;  // of tokens
  std::vector<std::vector<int64_t>> tokens;
  for (const std::string_view text : texts) {
    tokens.push_back(tokenizer_.encode(text, static_cast<size_t>(max_tokens_)));
    by_length[tokens.back().size()].push_back(static_cast<int64_t>(tokens.size()) - 1);
  }
  torch::Tensor all = torch::empty({static_cast<int64_t>(texts.size()), width()});
  for (const auto& [length, group] : by_length) {
    const size_t most = std::max<size_t>(1, kTokensOfBatch / length);
    for (size_t begin = 0; begin < group.size(); begin += most) {
      const size_t end = std::min(group.size(), begin + most);
      const std::vector<int64_t> rows(group.begin() + static_cast<std::ptrdiff_t>(begin),
                                      group.begin() + static_cast<std::ptrdiff_t>(end));
      std::vector<int64_t> batch;
      for (const int64_t row : rows) {
        const std::vector<int64_t>& of_text = tokens[static_cast<size_t>(row)];
        batch.insert(batch.end(), of_text.begin(), of_text.end());
      }
      torch::Tensor vectors = bert_.mean_vectors(
          torch::tensor(batch, torch::kInt64).view({-1, static_cast<int64_t>(length)}), layers_);
      if (unit_length_) vectors = vectors / vectors.norm(2, 2, /*keepdim=*/true).clamp_min(1e-12);
      all.index_copy_(0, torch::tensor(rows, torch::kInt64), vectors.flatten(1).to(torch::kCPU));
    }
  }
  return all;
}

std::string SentenceEncoder::fingerprint() const {
  std::string text;
  for (const auto& file : fingerprints(sentence_encoder_files(folder_)))
    text += fmt::format("{}{}-{:08x}", text.empty() ? "" : ".", file.at("bytes").get<int64_t>(),
                        file.at("crc32").get<uint32_t>());
  return text;
}

}  // namespace bilevel
