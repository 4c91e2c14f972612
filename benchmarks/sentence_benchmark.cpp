// What a sentence encoder makes of the lines of a file: tokens and vectors, and the processor time that it takes.
//
//   OMP_NUM_THREADS=1 build/benchmarks/sentence_benchmark FOLDER TEXTS OUT
//
// OUT is a safetensors file: tokens int64 [all], offsets int64 [texts + 1], vectors float32 [texts, width]. Prints the number of
// different texts, their tokens, and the seconds from texts to vectors.
#include <fmt/format.h>
#include <torch/types.h>

#include <ctime>
#include <iostream>
#include <string_view>
#include <vector>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/data/sparse_rows.h"
#include "bilevel/task/sentence_encoder.h"

constexpr int64_t kLayers = 3;  // the default of the jobs

int main(int argc, char** argv) {
  using namespace bilevel;
  if (argc != 4) {
    std::cerr << "usage: sentence_benchmark FOLDER TEXTS OUT\n";
    return 2;
  }
  try {
    const std::string content = read_file(argv[2]);
    std::vector<std::string_view> texts;
    for (std::string_view rest = content; !rest.empty();) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      texts.push_back(rest.substr(0, end));
      rest.remove_prefix(std::min(rest.size(), end + 1));
    }
    SentenceEncoder encoder(argv[1], torch::kCPU, kLayers);
    int64_t different = 0;
    encoder.tell = [&](int64_t count) { different = count; };
    const std::clock_t start = std::clock();
    const torch::Tensor vectors = encoder.encode(texts);
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    const WordPiece tokenizer = WordPiece::of_folder(sentence_encoder_folder(argv[1]));
    std::vector<int64_t> tokens, offsets{0};
    for (const std::string_view text : texts) {
      for (const int64_t token : tokenizer.encode(text, static_cast<size_t>(encoder.max_tokens())))
        tokens.push_back(token);
      offsets.push_back(static_cast<int64_t>(tokens.size()));
    }
    fmt::print("{}\t{}\t{:.3f}\n", different, tokens.size(), seconds);
    save_safetensors(
        argv[3],
        {{"tokens", adopt(std::move(tokens))}, {"offsets", adopt(std::move(offsets))}, {"vectors", vectors}});
    return 0;
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}
