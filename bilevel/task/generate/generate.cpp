#include "bilevel/task/generate/generate.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <random>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/catalogue.h"

namespace bilevel {
namespace {

constexpr int64_t kThemes = 60, kThemeWords = 12, kBackground = 1000;
constexpr double kThemeShare = 0.3;  // of the words of a text
constexpr double kShift = 1.5;       // between the two classes of imbalanced columns

/// Draws that are the same everywhere.
class Random {
 public:
  Random(uint64_t seed, const std::string& name) : engine_(derive_seed(seed, name)) {}

  double uniform() { return static_cast<double>(engine_() >> 11U) * 0x1p-53; }
  int64_t below(int64_t count) { return static_cast<int64_t>(uniform() * static_cast<double>(count)); }
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }
  /// `count` different numbers below `total`, in random order.
  std::vector<int64_t> choose(int64_t count, int64_t total) {
    std::vector<int64_t> all(static_cast<size_t>(total));
    std::iota(all.begin(), all.end(), 0);
    for (int64_t i = 0; i < count; ++i)
      std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(i + below(total - i))]);
    all.resize(static_cast<size_t>(count));
    return all;
  }

 private:
  std::mt19937_64 engine_;
};

/// A made-up word; different for every number below 4900.
std::string word(int64_t number) {
  constexpr std::string_view kConsonants = "bdfgklmnprstvz", kVowels = "aeiou";
  constexpr int64_t kSyllables = 70;
  const int64_t mixed = number * 1543 % (kSyllables * kSyllables);  // neighbours do not look alike
  std::string text;
  for (const int64_t s : {mixed / kSyllables, mixed % kSyllables}) {
    text += kConsonants[static_cast<size_t>(s % 14)];
    text += kVowels[static_cast<size_t>(s / 14)];
  }
  return text;
}

std::string theme_word(int64_t theme, int64_t i) { return word(kBackground + theme * kThemeWords + i); }

std::string words_of(int64_t theme) {
  std::string words;
  for (int64_t i = 0; i < kThemeWords; ++i)
    words += fmt::format("{}{}", i > 0 ? " " : "", theme_word(theme, i));
  return words;
}

/// A text of 6 to 18 words: some from the themes, the others as frequent as words are (1 / rank).
class TextWriter {
 public:
  TextWriter() {
    double sum = 0;
    for (int64_t i = 0; i < kBackground; ++i) cumulative_.push_back(sum += 1.0 / static_cast<double>(i + 3));
  }

  std::string write(const std::vector<int64_t>& themes, Random& random) const {
    std::string text;
    for (int64_t left = 6 + random.below(13); left > 0; --left) {
      if (!text.empty()) text += ' ';
      if (random.uniform() < kThemeShare) {
        const int64_t theme = themes[static_cast<size_t>(random.below(static_cast<int64_t>(themes.size())))];
        text += theme_word(theme, random.below(kThemeWords));
      } else {
        const auto found =
            std::lower_bound(cumulative_.begin(), cumulative_.end(), random.uniform() * cumulative_.back());
        text += word(found - cumulative_.begin());
      }
    }
    return text;
  }

 private:
  std::vector<double> cumulative_;
};

std::string class_name(int64_t number, int64_t count) {
  return fmt::format("c{:0{}}", number + 1, fmt::format("{}", count).size());
}

std::string header_of(const std::string& label, int64_t columns) {
  std::string header = label;
  for (int64_t i = 1; i <= columns; ++i) header += fmt::format(",x{}", i);
  return header + "\n";
}

void refuse(const char* name, double value, const char* rule) {
  throw InputError(fmt::format("{} = {}: {}", name, value, rule));
}

/// The options with their defaults filled in.
GenerateOptions completed(GenerateOptions o) {
  const bool cleaning = o.kind == "cleaning", tuning = o.kind == "tuning", meta = o.kind == "meta",
             imbalanced = o.kind == "imbalanced";
  if (!cleaning && !tuning && !meta && !imbalanced)
    throw InputError(
        fmt::format("unknown kind '{}'; the kinds are cleaning, tuning, meta and imbalanced", o.kind));
  if (o.rows == 0) o.rows = tuning ? 400 : meta ? 4000 : imbalanced ? 5000 : 2000;
  if (o.test_rows < 0) o.test_rows = o.rows;
  if (o.trusted_rows < 0) o.trusted_rows = std::max<int64_t>(o.rows / 10, 1);
  if (o.valid_rows < 0) o.valid_rows = std::max<int64_t>(o.rows / 2, 1);
  if (o.classes == 0) o.classes = meta ? 30 : 4;
  if (o.columns < 0) o.columns = tuning ? 100 : 0;
  if (o.noise < 0) o.noise = tuning ? 0.05 : 0.3;
  if (o.rows < 20) refuse("rows", static_cast<double>(o.rows), "must be at least 20");
  if (o.test_rows < 1) refuse("test_rows", static_cast<double>(o.test_rows), "must be at least 1");
  if (cleaning && o.trusted_rows < 1)
    refuse("trusted_rows", static_cast<double>(o.trusted_rows), "must be at least 1");
  if (tuning && o.valid_rows < 1)
    refuse("valid_rows", static_cast<double>(o.valid_rows), "must be at least 1");
  const int64_t most_classes = cleaning && o.columns == 0 ? kThemes / 3 : 1000;
  if (o.classes < 2 || o.classes > most_classes || o.classes > o.rows)
    refuse("classes", static_cast<double>(o.classes),
           fmt::format("must be 2 to {}", std::min(most_classes, o.rows)).c_str());
  if (tuning && o.columns < 1)
    refuse("columns", static_cast<double>(o.columns), "must be at least 1 for tuning");
  if (meta && o.columns > 0)
    refuse("columns", static_cast<double>(o.columns), "must be 0: meta sets hold texts");
  if (tuning && (o.relevant < 1 || o.relevant > o.columns))
    refuse("relevant", static_cast<double>(o.relevant), "must be 1 to the number of columns");
  if (o.domains < 0 || o.domains == 1 || o.domains > 28)
    refuse("domains", static_cast<double>(o.domains), "must be 0, or 2 to 28");
  if (!(o.noise < 1)) refuse("noise", o.noise, "must be >= 0 and < 1");
  if (!(o.positive_share > 0 && o.positive_share < 1))
    refuse("positive_share", o.positive_share, "must be between 0 and 1");
  return o;
}

/// The numbers of the rows whose labels are wrong: exactly the share, rounded.
std::vector<bool> wrong_rows(int64_t rows, double share, Random& random) {
  std::vector<bool> wrong(static_cast<size_t>(rows), false);
  const int64_t count = std::llround(share * static_cast<double>(rows));
  for (const int64_t row : random.choose(count, rows)) wrong[static_cast<size_t>(row)] = true;
  return wrong;
}

GeneratedSet cleaning(const GenerateOptions& o) {
  Random model(o.seed, "model"), noise(o.seed, "noise");
  const TextWriter writer;
  const std::vector<int64_t> themes = model.choose(o.columns == 0 ? 3 * o.classes : 0, kThemes);
  std::vector<std::vector<double>> means(static_cast<size_t>(o.classes));
  for (auto& mean : means) {
    for (int64_t i = 0; i < o.columns; ++i) mean.push_back(0.6 * model.normal());
  }
  const auto name = [&](int64_t c) { return class_name(c, o.classes); };
  const std::string ending = o.columns == 0 ? ".tsv" : ".csv";
  const std::vector<bool> wrong = wrong_rows(o.rows, o.noise, noise);
  std::string truth = "row\ttrue_label\tgiven_label\tflipped\n";
  const auto part = [&](const std::string& file, int64_t rows) {
    Random random(o.seed, file);
    std::string content = o.columns == 0 ? "label\ttext\n" : header_of("label", o.columns);
    for (int64_t row = 0; row < rows; ++row) {
      // Every class occurs in every file that has as many rows.
      const int64_t c = row < o.classes ? row : random.below(o.classes);
      int64_t given = c;
      if (file == "train") {
        if (wrong[static_cast<size_t>(row)]) given = (c + 1 + noise.below(o.classes - 1)) % o.classes;
        truth += fmt::format("{}\t{}\t{}\t{}\n", row + 1, name(c), name(given), given != c ? 1 : 0);
      }
      content += name(given);
      if (o.columns == 0) {
        const auto first = themes.begin() + 3 * c;
        content += "\t" + writer.write({first, first + 3}, random);
      }
      for (const double mean : means[static_cast<size_t>(c)])
        content += fmt::format(",{:.5g}", mean + random.normal());
      content += '\n';
    }
    return GeneratedFile{file + ending, content};
  };
  GeneratedSet set;
  set.files = {part("train", o.rows), part("trusted", o.trusted_rows), part("test", o.test_rows)};
  set.files.push_back({"truth.tsv", truth});
  set.facts = {
      {"wrong labels", fmt::format("{} of {}", std::count(wrong.begin(), wrong.end(), true), o.rows)}};
  set.command = fmt::format(
      "clean --train FOLDER/train{0} --trusted FOLDER/trusted{0} --test FOLDER/test{0} {1} --label label",
      ending, o.columns == 0 ? "--text text" : "--features all");
  return set;
}

GeneratedSet tuning(const GenerateOptions& o) {
  Random model(o.seed, "model"), noise(o.seed, "noise");
  std::vector<double> weights(static_cast<size_t>(o.columns), 0.0);
  for (const int64_t column : model.choose(o.relevant, o.columns))
    weights[static_cast<size_t>(column)] = (model.uniform() < 0.5 ? -1 : 1) * (0.5 + model.uniform());
  const std::vector<bool> wrong = wrong_rows(o.rows, o.noise, noise);
  const auto part = [&](const std::string& file, int64_t rows) {
    Random random(o.seed, file);
    std::string content = header_of("label", o.columns);
    for (int64_t row = 0; row < rows; ++row) {
      double score = 0;
      std::string cells;
      for (const double weight : weights) {
        const double value = random.normal();
        score += weight * value;
        cells += fmt::format(",{:.5g}", value);
      }
      bool label = random.uniform() < 1 / (1 + std::exp(-score));
      if (file == "train" && wrong[static_cast<size_t>(row)]) label = !label;
      content += (label ? "1" : "0") + cells + "\n";
    }
    return GeneratedFile{file + ".csv", content};
  };
  std::string truth = "column\tweight\n";
  for (size_t i = 0; i < weights.size(); ++i) truth += fmt::format("x{}\t{}\n", i + 1, weights[i]);
  GeneratedSet set;
  set.files = {
      part("train", o.rows), part("valid", o.valid_rows), part("test", o.test_rows), {"truth.tsv", truth}};
  set.facts = {{"columns that matter", fmt::format("{} of {}", o.relevant, o.columns)}};
  set.command =
      "tune --train FOLDER/train.csv --valid FOLDER/valid.csv --test FOLDER/test.csv --features all --label "
      "label";
  return set;
}

GeneratedSet meta(const GenerateOptions& o) {
  Random model(o.seed, "model"), random(o.seed, "data");
  const TextWriter writer;
  struct Group {
    std::string domain, label;
    std::vector<int64_t> themes;
  };
  std::vector<Group> groups;
  if (o.domains == 0) {
    for (int64_t c = 0; c < o.classes; ++c)
      groups.push_back({"", class_name(c, o.classes), model.choose(4, kThemes)});
  } else {
    const std::vector<int64_t> order = model.choose(kThemes, kThemes);
    const auto theme = [&](int64_t i) { return order[static_cast<size_t>(i)]; };
    for (int64_t d = 0; d < o.domains; ++d) {
      for (int64_t c = 0; c < 2; ++c) {
        groups.push_back({fmt::format("d{:02}", d + 1),
                          c == 0 ? "negative" : "positive",
                          {theme(2 * c), theme(2 * c + 1), theme(4 + 2 * d + c),
                           theme(4 + (2 * d + c + 3) % (2 * o.domains))}});
      }
    }
  }
  GeneratedSet set;
  std::string content = o.domains > 0 ? "domain\tlabel\ttext\n" : "label\ttext\n";
  for (int64_t row = 0; row < o.rows; ++row) {
    const auto count = static_cast<int64_t>(groups.size());
    const Group& group = groups[static_cast<size_t>(row < count ? row : random.below(count))];
    if (!group.domain.empty()) content += group.domain + "\t";
    content += group.label + "\t" + writer.write(group.themes, random) + "\n";
  }
  std::string truth = o.domains > 0 ? "domain\tclass\ttheme\twords\n" : "class\ttheme\twords\n";
  for (const Group& group : groups) {
    for (const int64_t theme : group.themes)
      truth += (group.domain.empty() ? "" : group.domain + "\t") +
               fmt::format("{}\t{}\t{}\n", group.label, theme, words_of(theme));
  }
  set.files = {{"data.tsv", content}, {"truth.tsv", truth}};
  set.facts = {
      {o.domains > 0 ? "domains" : "classes", fmt::format("{}", o.domains > 0 ? o.domains : o.classes)}};
  set.command = fmt::format("meta --data FOLDER/data.tsv --text text --label label {}--shots 5",
                            o.domains > 0 ? "--domain domain --ways 2 " : "--ways 5 ");
  return set;
}

GeneratedSet imbalanced(const GenerateOptions& o) {
  const int64_t positives =
      std::max<int64_t>(2, std::llround(o.positive_share * static_cast<double>(o.rows)));
  const int64_t test_positives =
      std::max<int64_t>(2, std::llround(o.positive_share * static_cast<double>(o.test_rows)));
  std::string truth = "row\tlog_odds\n";
  const double prior = std::log(o.positive_share / (1 - o.positive_share));
  const auto note = [&](const std::string& file, int64_t row, double odds) {
    if (file == "test") truth += fmt::format("{}\t{}\n", row + 1, odds + prior);
  };
  const auto texts = [&](const std::string& file, int64_t rows) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(derive_seed(o.seed, file));
    std::string content = "class\tdescription\n";
    int64_t row = 0;
    for (const LabelledText& entry : generated_corpus(rows, generator, o.positive_share)) {
      content += fmt::format("{}\t{}\n", entry.is_positive != 0 ? "game" : "other", entry.text);
      note(file, row++, entry.log_odds);
    }
    return GeneratedFile{file + ".tsv", content};
  };
  Random model(o.seed, "model");
  std::vector<double> direction;
  double norm = 0;
  for (int64_t i = 0; i < o.columns; ++i) {
    direction.push_back(model.normal());
    norm += direction.back() * direction.back();
  }
  for (double& part : direction) part *= kShift / std::sqrt(norm);
  const auto columns = [&](const std::string& file, int64_t rows, int64_t count) {
    Random random(o.seed, file);
    const std::vector<bool> positive = [&] {
      std::vector<bool> chosen(static_cast<size_t>(rows), false);
      for (const int64_t row : random.choose(std::min(count, rows), rows))
        chosen[static_cast<size_t>(row)] = true;
      return chosen;
    }();
    std::string content = header_of("class", o.columns);
    for (int64_t row = 0; row < rows; ++row) {
      const bool is_positive = positive[static_cast<size_t>(row)];
      content += is_positive ? "positive" : "negative";
      double odds = -kShift * kShift / 2;
      for (const double part : direction) {
        const double value = (is_positive ? part : 0) + random.normal();
        odds += part * value;
        content += fmt::format(",{:.5g}", value);
      }
      content += '\n';
      note(file, row, odds);
    }
    return GeneratedFile{file + ".csv", content};
  };
  GeneratedSet set;
  if (o.columns == 0) {
    set.files = {texts("train", o.rows), texts("test", o.test_rows)};
  } else {
    set.files = {columns("train", o.rows, positives), columns("test", o.test_rows, test_positives)};
  }
  set.files.push_back({"truth.tsv", truth});
  set.facts = {{"positive rows", fmt::format("{} of {}", positives, o.rows)}};
  if (o.columns > 0) set.facts.emplace_back("best AUC", fmt::format("{:.4f}", 0.5 * std::erfc(-kShift / 2)));
  set.command = o.columns == 0 ? "auc --train FOLDER/train.tsv --test FOLDER/test.tsv --text description "
                                 "--label class --positive game"
                               : "auc --train FOLDER/train.csv --test FOLDER/test.csv --features all --label "
                                 "class --positive positive";
  return set;
}

}  // namespace

GeneratedSet generate_data(const GenerateOptions& options) {
  const GenerateOptions o = completed(options);
  return o.kind == "cleaning" ? cleaning(o)
         : o.kind == "tuning" ? tuning(o)
         : o.kind == "meta"   ? meta(o)
                              : imbalanced(o);
}

}  // namespace bilevel
