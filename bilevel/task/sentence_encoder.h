// A pretrained sentence encoder on disk: from texts to their vectors.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bilevel/data/word_piece.h"
#include "bilevel/model/bert.h"

namespace bilevel {

/// The folder of a sentence encoder: `name`, where that is a folder; else `name` in one of the folders of $BILEVEL_ENCODERS
/// (separated by ':'), or in `encoder/` beside the program or one folder above it. Throws InputError, naming where it was looked
/// for.
std::string sentence_encoder_folder(const std::string& name);

/// The files of such a folder on which its vectors depend, as far as they are there.
std::vector<std::string> sentence_encoder_files(const std::string& folder);

/// Texts as vectors of a BERT encoder: the mean of the last layer over a text's tokens (Reimers & Gurevych 2019), of length 1
/// where the folder says so; with several layers the means of the last ones beside each other, the last one first, each so. The folder has the usual layout: config.json (model_type bert), model.safetensors, and vocab.txt or
/// tokenizer.json (see `WordPiece`); of modules.json the modules Pooling, which must be mean pooling, and Normalize are heeded, of
/// sentence_bert_config.json max_seq_length. It holds every vector that it has made, so that a text is encoded once; where the
/// environment variable BILEVEL_ENCODER_CACHE names a folder, vectors are also kept there, for later runs with the same encoder. Not
/// to be used in two threads at a time.
class SentenceEncoder {
 public:
  /// Reads the folder of a name (see `sentence_encoder_folder`). Throws InputError, naming file and tensor, for one that is
  /// missing or does not fit, for another type of model, pooling or module; FileError for a file that is broken.
  /// @param layers at least 1; of an encoder with fewer layers all
  explicit SentenceEncoder(const std::string& name, const torch::Device& device = torch::kCPU,
                           int64_t layers = 1);

  /// float32 [texts, width()], on the CPU; finite. Texts are encoded in batches of one length, each different text once in the
  /// life of this object; so a vector does not depend, up to rounding, on the texts beside it. The last tokens of a text that is
  /// longer than the encoder reads are left out. Memory: 4 width() bytes a text. Throws FileError where the cache cannot be written.
  torch::Tensor encode(const std::vector<std::string_view>& texts);

  int64_t width() const { return layers_ * bert_.config().hidden; }
  int64_t layers() const { return layers_; }
  /// The most tokens of a text that are read, [CLS] and [SEP] among them.
  int64_t max_tokens() const { return max_tokens_; }
  const std::string& name() const { return name_; }
  const std::string& folder() const { return folder_; }
  /// Size and checksum of the files on which vectors depend.
  std::string fingerprint() const;

  /// Called before new texts are encoded, with their number.
  std::function<void(int64_t texts)> tell = nullptr;

 private:
  /// A text by two hashes of 64 bits: two texts of a billion have the same with a probability below 1e-20.
  struct Key {
    int64_t first = 0, second = 0;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const { return static_cast<size_t>(key.first); }
  };
  static Key key_of(std::string_view text);

  void read_modules();
  void read_cache();
  void write_cache(const std::vector<Key>& keys, const torch::Tensor& vectors) const;
  void remember(const std::vector<Key>& keys, const torch::Tensor& vectors);
  torch::Tensor vectors_of(const std::vector<std::string_view>& texts) const;

  std::string name_, folder_;
  WordPiece tokenizer_;
  Bert bert_;
  int64_t layers_;
  int64_t max_tokens_ = 0;
  bool unit_length_ = false;
  std::string cache_;                             // a folder; empty: none
  std::unordered_map<Key, int64_t, Hash> known_;  // row of each text
  torch::Tensor vectors_;
};

}  // namespace bilevel
