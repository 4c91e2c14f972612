// From texts to the tokens of a pretrained encoder: BERT's tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace bilevel {

/// What a folder's tokenizer does to a text before it looks for words.
struct WordPieceOptions {
  bool clean = true;            ///< control characters are left out, white space of all kinds is a blank
  bool part_ideographs = true;  ///< blanks around every Chinese character
  bool strip_accents = true;    ///< decomposed (NFD), without what then are marks
  bool lower_case = true;
};

/// The tokenizer of BERT (Devlin et al. 2019, appendix; the parts of words by Schuster & Nakajima 2012 and Wu et al. 2016): a text
/// is cleaned by `WordPieceOptions`, parted at blanks and around each punctuation mark, and each word is cut from the left into
/// the longest pieces that the vocabulary holds, where a piece inside a word has "##" in front. A word of more than 100
/// characters, or with a rest that no piece begins, is [UNK]. The names of BERT's five tokens ([CLS], [MASK], [PAD], [SEP],
/// [UNK]) in a text stand for these tokens, as far as the vocabulary holds them.
class WordPiece {
 public:
  /// @param vocabulary the tokens by number. Throws InputError where it lacks [CLS], [SEP] or [UNK].
  explicit WordPiece(const std::vector<std::string>& vocabulary, const WordPieceOptions& options = {});

  /// Of a folder in the usual layout: vocab.txt, or else tokenizer.json with the model WordPiece; the options of tokenizer.json or
  /// of tokenizer_config.json, where there are such. Throws InputError, naming the file, for a folder without a vocabulary and
  /// for a tokenizer of another kind, FileError for a file that cannot be read.
  static WordPiece of_folder(const std::string& folder);

  /// [CLS], the tokens of the text, [SEP]: at most `most` numbers in [0, size()), of which the text's last tokens are left out
  /// where they are more. A byte that is not UTF-8 counts as U+FFFD. `most` is at least 2. Cost: a few look-ups a character.
  std::vector<int64_t> encode(std::string_view text, size_t most) const;

  /// Tokens of the vocabulary.
  int64_t size() const { return size_; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Numbers = std::unordered_map<std::string, int64_t, Hash, std::equal_to<>>;

  /// Adds the tokens of a text without BERT's own, until there are `most`.
  void add_words(std::string_view text, size_t most, std::vector<int64_t>& tokens) const;
  void add_pieces(std::string_view word, std::vector<int64_t>& tokens) const;
  std::string cleaned(std::string_view text) const;

  WordPieceOptions options_;
  Numbers begins_, goes_on_,
      own_;             // pieces at the beginning of a word, inside one (without "##"), BERT's own
  size_t longest_ = 0;  // bytes of a piece
  int64_t size_ = 0, first_ = 0, last_ = 0, unknown_ = 0;
};

}  // namespace bilevel
