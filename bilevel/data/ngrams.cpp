#include "bilevel/data/ngrams.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include "bilevel/core/error.h"
#include "bilevel/data/saved_state.h"
#include "bilevel/data/tokenizer.h"

namespace bilevel {
namespace {

constexpr uint64_t kFnvStart = 0xCBF29CE484222325ULL;
constexpr uint64_t kFnvPrime = 0x100000001B3ULL;

uint64_t absorb(uint64_t state, char byte) { return (state ^ static_cast<unsigned char>(byte)) * kFnvPrime; }

uint64_t absorb(uint64_t state, std::string_view bytes) {
  for (const char byte : bytes) state = absorb(state, byte);
  return state;
}

uint64_t finish(uint64_t state) {
  state ^= state >> 33;
  state *= 0xFF51AFD7ED558CCDULL;
  state ^= state >> 33;
  state *= 0xC4CEB9FE1A85EC53ULL;
  return state ^ (state >> 33);
}

void check_range(const char* what, int64_t low, int64_t high) {
  if (high < 0) throw InputError(fmt::format("{}_max is {}; it must not be negative", what, high));
  if (high > 0 && (low < 1 || low > high)) {
    throw InputError(
        fmt::format("{0}_min is {1}; it must be from 1 to {0}_max, which is {2}", what, low, high));
  }
}

struct BucketValue {
  uint32_t bucket;
  float value;
};

}  // namespace

uint64_t stable_hash(std::string_view bytes) { return finish(absorb(kFnvStart, bytes)); }

// The buckets of one text's n-grams, per block, one entry per occurrence.
struct NgramHasher::Counts {
  std::array<std::vector<uint32_t>, 2> blocks;
};

NgramHasher::NgramHasher(const NgramOptions& options) : options_(options) {
  check_range("word", options.word_min, options.word_max);
  check_range("char", options.char_min, options.char_max);
  if (options.word_max == 0 && options.char_max == 0) {
    throw InputError("word_max and char_max are both 0; at least one kind of n-gram is needed");
  }
  if (options.buckets < 1 || options.buckets > (int64_t{1} << 30) ||
      !std::has_single_bit(static_cast<uint64_t>(options.buckets))) {
    throw InputError(fmt::format("buckets is {}; it must be a power of two up to 2^30", options.buckets));
  }
  for (const double weight : {options.word_weight, options.char_weight}) {
    if (!(weight > 0.0) || !std::isfinite(weight)) {
      throw InputError(fmt::format("a block weight is {}; weights must be positive", weight));
    }
  }
}

uint32_t NgramHasher::bucket_of(uint64_t state) const {
  return static_cast<uint32_t>(finish(state) & static_cast<uint64_t>(options_.buckets - 1));
}

template <typename Visit>
void NgramHasher::each_word_ngram(std::string_view text, const Visit& visit) const {
  std::vector<std::string_view> words;
  size_t begin = 0;
  int64_t length = 0;  // characters of the word that starts at begin
  const auto close = [&](size_t end) {
    if (length > 0 && length >= options_.min_word_length) words.push_back(text.substr(begin, end - begin));
    length = 0;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const CharacterKind kind = kind_of(next_code_point(text, at));
    if (kind == CharacterKind::word) {
      if (length++ == 0) begin = start;
      continue;
    }
    close(start);
    if (kind == CharacterKind::ideograph) {
      begin = start;
      length = 1;
      close(at);
    }
  }
  close(text.size());
  for (size_t first = 0; first < words.size(); ++first) {
    uint64_t state = absorb(kFnvStart, 'w');
    for (size_t n = 1; n <= static_cast<size_t>(options_.word_max) && first + n <= words.size(); ++n) {
      if (n > 1) state = absorb(state, ' ');
      state = absorb(state, words[first + n - 1]);
      if (n >= static_cast<size_t>(options_.word_min))
        visit(state, words.begin() + static_cast<std::ptrdiff_t>(first),
              words.begin() + static_cast<std::ptrdiff_t>(first + n));
    }
  }
}

template <typename Visit>
void NgramHasher::each_character_ngram(std::string_view text, const Visit& visit) const {
  std::vector<std::string_view> characters;  // of one piece, with a blank at both ends
  const auto close = [&] {
    if (characters.size() > 1) {
      characters.emplace_back(" ");
      for (size_t first = 0; first < characters.size(); ++first) {
        uint64_t state = absorb(kFnvStart, 'c');
        const size_t longest = std::min(static_cast<size_t>(options_.char_max), characters.size() - first);
        for (size_t n = 1; n <= longest; ++n) {
          state = absorb(state, characters[first + n - 1]);
          if (n >= static_cast<size_t>(options_.char_min))
            visit(state, characters.begin() + static_cast<std::ptrdiff_t>(first),
                  characters.begin() + static_cast<std::ptrdiff_t>(first + n));
        }
      }
    }
    characters.assign(1, " ");
  };
  characters.assign(1, " ");
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    if (kind_of(next_code_point(text, at)) != CharacterKind::blank) {
      characters.push_back(text.substr(start, at - start));
    } else if (options_.within_words) {
      close();
    } else if (characters.back() != " ") {
      characters.emplace_back(" ");
    }
  }
  if (characters.size() > 1 && characters.back() == " ")
    characters.pop_back();  // close() adds the last blank
  close();
}

void NgramHasher::count(std::string_view text, Counts& counts) const {
  for (auto& block : counts.blocks) block.clear();
  const std::string used = options_.lower_case ? bilevel::lower_case(text) : composed(text);
  const auto into = [&](std::vector<uint32_t>& buckets) {
    return
        [this, &buckets](uint64_t state, const auto&, const auto&) { buckets.push_back(bucket_of(state)); };
  };
  if (options_.word_max > 0) each_word_ngram(used, into(counts.blocks[0]));
  if (options_.char_max > 0) each_character_ngram(used, into(counts.blocks[1]));
  for (auto& block : counts.blocks) std::sort(block.begin(), block.end());
}

void NgramHasher::fit(const std::vector<std::string_view>& texts) {
  if (!options_.idf) return;
  torch::Tensor frequency = torch::zeros({2, options_.buckets});
  auto* rows = frequency.mutable_data_ptr<float>();
  Counts counts;
  for (const std::string_view text : texts) {
    count(text, counts);
    for (size_t block = 0; block < 2; ++block) {
      auto& buckets = counts.blocks[block];
      buckets.erase(std::unique(buckets.begin(), buckets.end()), buckets.end());
      float* row = rows + static_cast<int64_t>(block) * options_.buckets;
      for (const uint32_t bucket : buckets) row[bucket] += 1.0F;
    }
  }
  idf_ = ((1.0 + static_cast<double>(texts.size())) / (1.0 + frequency)).log() + 1.0;
}

SparseRows NgramHasher::apply(const std::vector<std::string_view>& texts) const {
  const float* idf = idf_.defined() ? idf_.const_data_ptr<float>() : nullptr;
  const std::array<double, 2> weights{options_.word_weight, options_.char_weight};
  const std::array<bool, 2> used{options_.word_max > 0, options_.char_max > 0};
  double squares = 0.0;
  for (size_t block = 0; block < 2; ++block) squares += used[block] ? weights[block] * weights[block] : 0.0;

  SparseRowsBuilder builder;
  Counts counts;
  std::vector<BucketValue> row;
  for (const std::string_view text : texts) {
    count(text, counts);
    row.clear();
    for (size_t block = 0; block < 2; ++block) {
      const std::vector<uint32_t>& buckets = counts.blocks[block];
      const size_t first = row.size();
      double length = 0.0;
      for (size_t begin = 0, end = 0; begin < buckets.size(); begin = end) {
        while (end < buckets.size() && buckets[end] == buckets[begin]) ++end;
        const auto occurrences = static_cast<double>(end - begin);
        double value = options_.sublinear_tf ? 1.0 + std::log(occurrences) : occurrences;
        if (idf != nullptr) value *= idf[static_cast<int64_t>(block) * options_.buckets + buckets[begin]];
        length += value * value;
        row.push_back({buckets[begin], static_cast<float>(value)});
      }
      const double norm = options_.normalize && length > 0.0 ? std::sqrt(length) : 1.0;
      const auto factor = static_cast<float>(weights[block] / (norm * std::sqrt(squares)));
      for (size_t i = first; i < row.size(); ++i) row[i].value *= factor;
    }
    // Both blocks are sorted; a bucket that both have gets their sum.
    std::stable_sort(row.begin(), row.end(),
                     [](const BucketValue& a, const BucketValue& b) { return a.bucket < b.bucket; });
    for (size_t i = 0; i < row.size(); ++i) {
      float value = row[i].value;
      if (i + 1 < row.size() && row[i + 1].bucket == row[i].bucket) value += row[++i].value;
      builder.add_entry(row[i].bucket, value);
    }
    builder.end_row();
  }
  return builder.finish(options_.buckets);
}

std::vector<std::string> NgramHasher::names(const std::vector<std::string_view>& texts) const {
  struct Found {
    int64_t count = 0;
    std::string text;
  };
  std::unordered_map<uint64_t, Found> found;  // by hash
  for (const std::string_view text : texts) {
    const std::string lowered = options_.lower_case ? bilevel::lower_case(text) : composed(text);
    const auto note = [&](const char* between, const char* open, const char* close) {
      return [&found, between, open, close](uint64_t state, auto begin, auto end) {
        Found& ngram = found[state];
        if (ngram.count++ == 0)
          ngram.text = fmt::format("{}{}{}", open, fmt::join(begin, end, between), close);
      };
    };
    if (options_.word_max > 0) each_word_ngram(lowered, note(" ", "", ""));
    if (options_.char_max > 0) each_character_ngram(lowered, note("", "[", "]"));
  }
  std::vector<const Found*> best(static_cast<size_t>(options_.buckets), nullptr);
  for (const auto& [state, ngram] : found) {
    const Found*& other = best[bucket_of(state)];
    if (other == nullptr || std::pair(-ngram.count, ngram.text) < std::pair(-other->count, other->text))
      other = &ngram;
  }
  std::vector<std::string> names;
  for (const Found* ngram : best) names.push_back(ngram == nullptr ? "" : ngram->text);
  return names;
}

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NgramOptions, word_min, word_max, char_min, char_max, within_words,
                                   buckets, min_word_length, lower_case, sublinear_tf, idf, normalize,
                                   word_weight, char_weight)

nlohmann::json NgramHasher::to_json() const { return options_; }

NgramHasher NgramHasher::from_json(const nlohmann::json& state, const torch::Tensor& idf) {
  return read_state("n-gram hasher", [&] {
    const NgramOptions options = state.get<NgramOptions>();
    NgramHasher hasher(options);
    if (idf.defined()) {
      if (idf.dim() != 2 || idf.size(0) != 2 || idf.size(1) != options.buckets) {
        throw FileError("its idf table does not have the shape [2, buckets]");
      }
      hasher.idf_ = idf.to(torch::kCPU, torch::kFloat32).contiguous();
    }
    return hasher;
  });
}

}  // namespace bilevel
