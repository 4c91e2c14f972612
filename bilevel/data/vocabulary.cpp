#include "bilevel/data/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

#include "bilevel/core/error.h"
#include "bilevel/data/saved_state.h"
#include "bilevel/data/sparse_rows.h"

namespace bilevel {

Vocabulary::Vocabulary(std::vector<std::string> words) : words_(std::move(words)) {
  ids_.reserve(words_.size());
  for (size_t i = 0; i < words_.size(); ++i) {
    if (!ids_.try_emplace(words_[i], static_cast<int64_t>(i) + 2).second) {
      throw InputError(fmt::format("the word '{}' is in the vocabulary twice", words_[i]));
    }
  }
}

Vocabulary Vocabulary::fit(const std::vector<std::vector<std::string>>& texts,
                           const VocabularyOptions& options) {
  if (options.min_count < 1) {
    throw InputError(fmt::format("min_count is {}; it must be at least 1", options.min_count));
  }
  if (options.max_size < 1)
    throw InputError(fmt::format("max_size is {}; it must be at least 1", options.max_size));
  std::unordered_map<std::string, int64_t> counts;
  for (const auto& text : texts) {
    for (const std::string& word : text) ++counts[word];
  }
  std::vector<std::pair<std::string, int64_t>> ordered;
  for (auto& entry : counts) {
    if (entry.second >= options.min_count) ordered.emplace_back(entry.first, entry.second);
  }
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  std::vector<std::string> words;
  for (auto& [word, count] : ordered) {
    if (static_cast<int64_t>(words.size()) == options.max_size) break;
    words.push_back(std::move(word));
  }
  return Vocabulary(std::move(words));
}

int64_t Vocabulary::id(const std::string& word) const {
  const auto found = ids_.find(word);
  return found == ids_.end() ? kUnknown : found->second;
}

nlohmann::json Vocabulary::to_json() const { return {{"words", words_}}; }

Vocabulary Vocabulary::from_json(const nlohmann::json& state) {
  return read_state("vocabulary",
                    [&] { return Vocabulary(state.at("words").get<std::vector<std::string>>()); });
}

TokenRows encode(const std::vector<std::vector<std::string>>& texts, const Vocabulary& vocabulary,
                 int64_t max_length) {
  if (max_length < 1) throw InputError(fmt::format("max_length is {}; it must be at least 1", max_length));
  std::vector<int64_t> ids;
  TokenRows rows;
  rows.offsets.push_back(0);
  for (const auto& text : texts) {
    const size_t length = std::min(text.size(), static_cast<size_t>(max_length));
    for (size_t i = 0; i < length; ++i) ids.push_back(vocabulary.id(text[i]));
    if (length == 0) ids.push_back(Vocabulary::kUnknown);
    rows.offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  rows.ids = adopt(std::move(ids));
  return rows;
}

PaddedBatch collate(const TokenRows& texts, const std::vector<int64_t>& rows) {
  const auto count = static_cast<int64_t>(rows.size());
  PaddedBatch batch{{}, torch::empty({count}, torch::kInt64)};
  auto* lengths = batch.lengths.mutable_data_ptr<int64_t>();
  int64_t longest = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    lengths[i] = texts.length(rows[i]);
    longest = std::max(longest, lengths[i]);
  }
  batch.ids = torch::zeros({count, longest}, torch::kInt64);
  const auto* from = texts.ids.const_data_ptr<int64_t>();
  auto* to = batch.ids.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < rows.size(); ++i, to += longest) {
    std::copy_n(from + texts.offsets[static_cast<size_t>(rows[i])], lengths[i], to);
  }
  return batch;
}

}  // namespace bilevel
