#include "bilevel/task/features.h"

#include <fmt/format.h>

#include <algorithm>

#include "bilevel/core/error.h"
#include "bilevel/data/glove.h"
#include "bilevel/data/idx_rows.h"

namespace bilevel {
namespace {

const Table& named_columns(const DataFile& file, const std::string& what) {
  if (const auto* table = std::get_if<Table>(&file)) return *table;
  throw InputError(fmt::format("{}: libsvm and idx files have no columns by name, but {}",
                               std::get<SparseTable>(file).path, what));
}

std::vector<std::vector<std::string>> tokenized(const std::vector<std::string_view>& texts) {
  std::vector<std::vector<std::string>> rows;
  rows.reserve(texts.size());
  for (const std::string_view text : texts) rows.push_back(tokenize(text));
  return rows;
}

size_t text_column_of(const Table& table, const std::string& column) {
  const size_t index = table.column(column);
  table.check_cells(index);
  return index;
}

std::vector<std::string_view> texts_of(const std::vector<FileRows>& parts, const std::string& column) {
  std::vector<std::string_view> texts;
  for (const auto& [file, rows] : parts) {
    const Table& table = named_columns(*file, "the text column is '" + column + "'");
    const size_t index = text_column_of(table, column);
    for (const int64_t row : rows) texts.push_back(table.cell(static_cast<size_t>(row), index));
  }
  return texts;
}

}  // namespace

DataFile read_data_file(const std::string& path, const TableOptions& options, bool labels_required) {
  const Format format = format_of(path, options.format);
  if (format == Format::libsvm) return read_libsvm(path, {.labels_required = labels_required});
  if (format == Format::idx) return read_idx_rows(path, {.labels_required = labels_required});
  return read_table(path, options);
}

int64_t rows_of(const DataFile& file) {
  return std::visit([](const auto& rows) { return static_cast<int64_t>(rows.rows()); }, file);
}

Position position_of(const DataFile& file, int64_t row) {
  return std::visit([&](const auto& rows) { return rows.position(static_cast<size_t>(row)); }, file);
}

std::vector<std::string_view> texts_of(const Table& table, const std::string& column) {
  const size_t index = text_column_of(table, column);
  std::vector<std::string_view> texts;
  texts.reserve(table.rows());
  for (size_t row = 0; row < table.rows(); ++row) texts.push_back(table.cell(row, index));
  return texts;
}

Features Features::fit(const FeatureOptions& options, const std::vector<FileRows>& rows,
                       at::Generator& generator) {
  Features features;
  features.text_column_ = options.text;
  features.pair_column_ = options.pair;
  features.max_length_ = options.max_length;
  const Reads reads = encoder_registry().at(options.encoder).reads;
  if (options.sentences) {
    features.fit_sentences(options, rows);
    return features;
  }
  if (reads == Reads::columns && !options.text.empty()) {
    throw InputError(
        fmt::format("encoder = {}: reads columns, not text; for text take {}", options.encoder,
                    encoder_names([](const EncoderEntry& entry) { return entry.reads != Reads::columns; })));
  }
  if (reads != Reads::columns && options.text.empty()) {
    throw InputError(
        fmt::format("encoder = {}: reads text, but no text column is given (--text)", options.encoder));
  }
  if (reads == Reads::ngrams) {
    features.fit_ngrams(rows);
  } else if (reads == Reads::words) {
    features.fit_words(options, rows, generator);
  } else if (const auto* sparse = std::get_if<SparseTable>(rows.at(0).file)) {
    features.fit_sparse(*sparse, rows[0].rows);
  } else {
    features.fit_table(options, std::get<Table>(*rows.at(0).file), rows[0].rows);
  }
  return features;
}

void Features::fit_sentences(const FeatureOptions& options, const std::vector<FileRows>& rows) {
  const bool alone = options.sentences->alone();
  if (options.text.empty())
    throw InputError("a sentence encoder reads a text, but no text column is given (--text)");
  const auto fits = [&](const EncoderEntry& entry) {
    return entry.reads != Reads::words &&
           std::ranges::count(entry.inputs, alone ? InputKind::dense : InputKind::sparse) > 0;
  };
  if (!fits(encoder_registry().at(options.encoder)))
    throw InputError(fmt::format("encoder = {}: does not read features from {}; take {}", options.encoder,
                                 alone ? "a sentence encoder alone" : "n-grams and a sentence encoder",
                                 encoder_names(fits)));
  sentences_ = options.sentences;
  if (alone) {
    shape_ = {.kind = InputKind::dense, .width = sentences_->width()};
  } else {
    fit_ngrams(rows);
    shape_.width += sentences_->width();
  }
  facts_.emplace_back(alone ? "features" : "further features", sentences_->fact());
}

void Features::fit_ngrams(const std::vector<FileRows>& rows) {
  NgramHasher hasher;
  hasher.fit(texts_of(rows, text_column_));
  shape_ = {.kind = InputKind::sparse, .width = hasher.options().buckets};
  facts_.emplace_back("features",
                      fmt::format("word 1- and 2-grams and character 2- to 4-grams, hashed into {} buckets",
                                  hasher.options().buckets));
  transform_ = std::move(hasher);
}

void Features::fit_words(const FeatureOptions& options, const std::vector<FileRows>& rows,
                         at::Generator& generator) {
  auto texts = tokenized(texts_of(rows, options.text));
  if (!options.pair.empty()) {
    for (auto& second : tokenized(texts_of(rows, options.pair))) texts.push_back(std::move(second));
  }
  Vocabulary vocabulary = Vocabulary::fit(texts);
  if (options.all_words && !options.embedding.empty()) {
    std::vector<std::string> words = vocabulary.words();
    for (const std::string& word : read_glove(options.embedding).words) {
      if (vocabulary.id(word) == Vocabulary::kUnknown) words.push_back(word);
    }
    vocabulary = Vocabulary(std::move(words));
  }
  shape_ = {.kind = InputKind::tokens, .width = vocabulary.size()};
  if (!options.embedding.empty()) {
    const Glove glove = read_glove(options.embedding, &vocabulary);
    int64_t known = 0;
    for (const std::string& word : vocabulary.words()) known += glove.contains(word) ? 1 : 0;
    shape_.pretrained = embedding_matrix(vocabulary, glove, generator);
    facts_.emplace_back("words with a pretrained vector",
                        fmt::format("{} of {}", known, vocabulary.words().size()));
  }
  facts_.emplace_back("vocabulary", fmt::format("{} words", vocabulary.words().size()));
  transform_ = std::move(vocabulary);
}

void Features::fit_sparse(const SparseTable& table, const std::vector<int64_t>& rows) {
  // Pixels are neither skewed nor of different units.
  SparseTransform transform =
      SparseTransform::fit_rows(table.features, rows, {.numbers = {.rank = !table.pixels}});
  shape_ = {.kind = transform.is_dense() ? InputKind::dense : InputKind::sparse, .width = transform.width()};
  if (transform.is_dense()) shape_.numbers = transform.numbers();
  facts_.emplace_back("features", fmt::format("{} from {} indices", transform.width(), table.features.width));
  transform_ = std::move(transform);
}

void Features::fit_table(const FeatureOptions& options, const Table& table,
                         const std::vector<int64_t>& rows) {
  const ColumnPlan plan = options.plan != nullptr ? *options.plan
                                                  : plan_columns(table, {.features = options.columns,
                                                                         .categorical = options.categorical,
                                                                         .label = options.label,
                                                                         .excluded = options.excluded});
  ColumnTransform transform =
      ColumnTransform::fit(table, plan.indices(ColumnUse::feature), rows,
                           {.categorical = options.categorical, .recognized = plan.recognized()});
  shape_ = {.kind = transform.is_sparse() ? InputKind::sparse : InputKind::dense, .width = transform.width()};
  if (!transform.is_sparse()) shape_.numbers = transform.numbers();
  facts_.emplace_back("features", fmt::format("{} from {} columns", transform.width(), transform.columns()));
  facts_.emplace_back("missing values in the rows fitted on", fmt::format("{}", transform.missing()));
  if (transform.dropped() > 0)
    facts_.emplace_back("constant columns", fmt::format("{}", transform.dropped()));
  transform_ = std::move(transform);
}

Inputs Features::apply(const DataFile& file) const {
  const auto texts = [&] { return texts_of(named_columns(file, "the model reads text"), text_column_); };
  if (const auto* hasher = std::get_if<NgramHasher>(&transform_)) {
    const SparseRows ngrams = hasher->apply(texts());
    return Inputs::sparse(sentences_ ? sentences_->behind(ngrams, texts()) : ngrams);
  }
  if (sentences_) return Inputs::dense(sentences_->dense(texts()));
  if (std::holds_alternative<Vocabulary>(transform_)) return tokens_of(file, text_column_);
  if (const auto* columns = std::get_if<ColumnTransform>(&transform_)) {
    const Table& table = named_columns(file, "the model reads columns");
    return columns->is_sparse() ? Inputs::sparse(columns->apply_sparse(table))
                                : Inputs::dense(columns->apply(table));
  }
  const auto& transform = std::get<SparseTransform>(transform_);
  const auto* sparse = std::get_if<SparseTable>(&file);
  if (sparse == nullptr)
    throw InputError(std::get<Table>(file).path() +
                     ": the model reads libsvm or idx rows, but this is a table");
  return transform.is_dense() ? Inputs::dense(transform.apply_dense(sparse->features))
                              : Inputs::sparse(transform.apply_sparse(sparse->features));
}

std::vector<UnreadableCells> Features::unreadable(const DataFile& file) const {
  const auto* columns = std::get_if<ColumnTransform>(&transform_);
  const auto* table = std::get_if<Table>(&file);
  return columns == nullptr || table == nullptr ? std::vector<UnreadableCells>()
                                                : columns->unreadable(*table);
}

std::vector<UnseenCategories> Features::unseen(const Table& table) const {
  const auto* columns = std::get_if<ColumnTransform>(&transform_);
  return columns == nullptr ? std::vector<UnseenCategories>() : columns->unseen(table);
}

Inputs Features::apply_pair(const DataFile& file) const { return tokens_of(file, pair_column_); }

Inputs Features::tokens_of(const DataFile& file, const std::string& column) const {
  const auto texts = tokenized(texts_of(named_columns(file, "the model reads text"), column));
  return Inputs::tokens(encode(texts, std::get<Vocabulary>(transform_), max_length_));
}

std::vector<std::string> Features::names(const std::vector<FileRows>& rows) const {
  if (const auto* columns = std::get_if<ColumnTransform>(&transform_)) return columns->feature_names();
  std::vector<std::string> names;
  if (const auto* hasher = std::get_if<NgramHasher>(&transform_))
    names = hasher->names(texts_of(rows, text_column_));
  if (sentences_) {
    for (std::string& name : sentences_->names()) names.push_back(std::move(name));
  }
  if (!names.empty()) return names;
  if (const auto* vocabulary = std::get_if<Vocabulary>(&transform_)) {
    names = {"(padding)", "(unknown word)"};
    names.insert(names.end(), vocabulary->words().begin(), vocabulary->words().end());
    return names;
  }
  return std::get<SparseTransform>(transform_).feature_names();
}

nlohmann::json Features::to_json() const {
  nlohmann::json state{{"text_column", text_column_}, {"max_length", max_length_}, {"shape", shape_}};
  if (!pair_column_.empty()) state["pair_column"] = pair_column_;
  if (sentences_) state["sentences"] = sentences_->to_json();
  if (const auto* hasher = std::get_if<NgramHasher>(&transform_)) state["ngrams"] = hasher->to_json();
  if (const auto* vocabulary = std::get_if<Vocabulary>(&transform_))
    state["vocabulary"] = vocabulary->to_json();
  if (const auto* columns = std::get_if<ColumnTransform>(&transform_)) state["columns"] = columns->to_json();
  if (const auto* sparse = std::get_if<SparseTransform>(&transform_)) state["libsvm"] = sparse->to_json();
  return state;
}

std::map<std::string, torch::Tensor> Features::tensors() const {
  const auto* hasher = std::get_if<NgramHasher>(&transform_);
  if (hasher == nullptr || !hasher->idf().defined()) return {};
  return {{"features.idf", hasher->idf()}};
}

Features Features::from_json(const nlohmann::json& state, const std::map<std::string, torch::Tensor>& tensors,
                             const SentenceSource& source) {
  Features features;
  try {
    features.text_column_ = state.at("text_column").get<std::string>();
    features.pair_column_ = state.value("pair_column", "");
    features.max_length_ = state.at("max_length").get<int64_t>();
    features.shape_ = state.at("shape").get<InputShape>();
    if (state.contains("sentences"))
      features.sentences_ = SentenceFeatures::from_json(state["sentences"], source);
    if (state.contains("ngrams")) {
      const auto idf = tensors.find("features.idf");
      features.transform_ =
          NgramHasher::from_json(state["ngrams"], idf == tensors.end() ? torch::Tensor() : idf->second);
    } else if (state.contains("vocabulary")) {
      features.transform_ = Vocabulary::from_json(state["vocabulary"]);
    } else if (state.contains("columns")) {
      features.transform_ = ColumnTransform::from_json(state["columns"]);
    } else if (!features.sentences_) {
      features.transform_ = SparseTransform::from_json(state.at("libsvm"));
    }
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("the model's description is not complete: {}", error.what()));
  }
  return features;
}

}  // namespace bilevel
