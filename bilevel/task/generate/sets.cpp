#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/data/catalogue.h"
#include "bilevel/task/generate/parts.h"

namespace bilevel {

GeneratedSet generate_cleaning(const GenerateOptions& o) {
  Random model(o.seed, "model"), noise(o.seed, "noise");
  const TextWriter writer;
  const std::vector<int64_t> themes = model.choose(*o.columns == 0 ? 3 * *o.classes : 0, kThemes);
  std::vector<std::vector<double>> means(static_cast<size_t>(*o.classes));
  for (auto& mean : means) {
    for (int64_t i = 0; i < *o.columns; ++i) mean.push_back(0.6 * model.normal());
  }
  const auto name = [&](int64_t c) { return class_name(c, *o.classes); };
  const std::string ending = *o.columns == 0 ? ".tsv" : ".csv";
  const std::vector<bool> wrong = wrong_rows(*o.rows, *o.noise, noise);
  std::string truth = "row\ttrue_label\tgiven_label\tflipped\n";
  const auto part = [&](const std::string& file, int64_t rows) {
    Random random(o.seed, file);
    std::string content = *o.columns == 0 ? "label\ttext\n" : header_of("label", *o.columns);
    for (int64_t row = 0; row < rows; ++row) {
      // Every class occurs in every file that has as many rows.
      const int64_t c = row < *o.classes ? row : random.below(*o.classes);
      int64_t given = c;
      if (file == "train") {
        if (wrong[static_cast<size_t>(row)]) given = (c + 1 + noise.below(*o.classes - 1)) % *o.classes;
        truth += fmt::format("{}\t{}\t{}\t{}\n", row + 1, name(c), name(given), given != c ? 1 : 0);
      }
      content += name(given);
      if (*o.columns == 0) {
        const auto first = themes.begin() + 3 * c;
        content.append("\t").append(writer.write({first, first + 3}, random));
      }
      for (const double mean : means[static_cast<size_t>(c)])
        content += fmt::format(",{:.5g}", mean + random.normal());
      content += '\n';
    }
    return GeneratedFile{file + ending, content};
  };
  GeneratedSet set;
  set.files = {part("train", *o.rows), part("trusted", *o.trusted_rows), part("test", *o.test_rows)};
  set.files.push_back({"truth.tsv", truth});
  set.facts = {
      {"wrong labels", fmt::format("{} of {}", std::count(wrong.begin(), wrong.end(), true), *o.rows)}};
  set.command = fmt::format(
      "clean --train FOLDER/train{0} --trusted FOLDER/trusted{0} --test FOLDER/test{0} {1} --label label",
      ending, *o.columns == 0 ? "--text text" : "--features all");
  return set;
}

GeneratedSet generate_tuning(const GenerateOptions& o) {
  Random model(o.seed, "model"), noise(o.seed, "noise");
  std::vector<double> weights(static_cast<size_t>(*o.columns), 0.0);
  for (const int64_t column : model.choose(o.relevant, *o.columns))
    weights[static_cast<size_t>(column)] = (model.uniform() < 0.5 ? -1 : 1) * (0.5 + model.uniform());
  const std::vector<bool> wrong = wrong_rows(*o.rows, *o.noise, noise);
  const auto part = [&](const std::string& file, int64_t rows) {
    Random random(o.seed, file);
    std::string content = header_of("label", *o.columns);
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
      part("train", *o.rows), part("valid", *o.valid_rows), part("test", *o.test_rows), {"truth.tsv", truth}};
  set.facts = {{"columns that matter", fmt::format("{} of {}", o.relevant, *o.columns)}};
  set.command =
      "tune --train FOLDER/train.csv --valid FOLDER/valid.csv --test FOLDER/test.csv --features all --label "
      "label";
  return set;
}

namespace {

constexpr int64_t kMixedSources = 3;
constexpr double kRuleLength = 4;  // of the weights by which a source labels: 1 row in 8 against the sign

/// What the sources of a mixing set are: how each labels, and its share of the target's rows.
struct MixedRules {
  std::vector<std::vector<double>> weights;
  std::vector<double> shares;

  MixedRules(const GenerateOptions& o, Random& model) : shares(kMixedSources) {
    double sum = 0;
    for (double& share : shares) sum += share = 0.5 + model.uniform();
    for (double& share : shares) share /= sum;
    for (int64_t s = 0; s < kMixedSources; ++s) {
      std::vector<double> rule;
      double norm = 0;
      for (int64_t i = 0; i < *o.columns; ++i) {
        rule.push_back(model.normal());
        norm += rule.back() * rule.back();
      }
      for (double& part : rule) part *= kRuleLength / std::sqrt(norm);
      weights.push_back(std::move(rule));
    }
  }

  /// "label,cells" of a row that the source labels.
  std::string row(int64_t source, const std::string& between, Random& random) const {
    double score = 0;
    std::string cells;
    for (const double weight : weights[static_cast<size_t>(source)]) {
      const double value = random.normal();
      score += weight * value;
      cells += fmt::format(",{:.5g}", value);
    }
    return (random.uniform() < 1 / (1 + std::exp(-score)) ? "yes" : "no") + between + cells + "\n";
  }
};

}  // namespace

GeneratedSet generate_mixing(const GenerateOptions& o) {
  Random model(o.seed, "model");
  const MixedRules rules(o, model);
  const auto name = [](int64_t source) { return class_name(source, kMixedSources); };
  const auto mixed = [&](const std::string& file, int64_t rows) {
    Random random(o.seed, file);
    std::string content = header_of("label", *o.columns);
    int64_t source = 0;
    double due = 0;  // rows of the sources until this one; the shares are exact up to rounding
    for (int64_t row = 0; row < rows; ++row) {
      while (source + 1 < kMixedSources &&
             static_cast<double>(row) + 0.5 >
                 due + rules.shares[static_cast<size_t>(source)] * static_cast<double>(rows))
        due += rules.shares[static_cast<size_t>(source++)] * static_cast<double>(rows);
      content += rules.row(source, "", random);
    }
    return GeneratedFile{file + ".csv", content};
  };
  Random random(o.seed, "sources");
  std::string sources = header_of("label,source", *o.columns);
  std::string truth = "source\tweight\n";
  for (int64_t s = 0; s < kMixedSources; ++s) {
    for (int64_t row = 0; row < *o.rows; ++row) sources += rules.row(s, fmt::format(",{}", name(s)), random);
    truth += fmt::format("{}\t{:.6f}\n", name(s), rules.shares[static_cast<size_t>(s)]);
  }
  GeneratedSet set;
  set.files = {{"sources.csv", sources},
               mixed("target", *o.valid_rows),
               mixed("test", *o.test_rows),
               {"truth.tsv", truth}};
  set.facts = {{"best weights",
                fmt::format("{:.3f}, {:.3f}, {:.3f}", rules.shares[0], rules.shares[1], rules.shares[2])}};
  set.command =
      "mix --target FOLDER/target.csv --sources FOLDER/sources.csv --source source --test FOLDER/test.csv "
      "--features all "
      "--label label";
  return set;
}

GeneratedSet generate_meta(const GenerateOptions& o) {
  Random model(o.seed, "model"), random(o.seed, "data");
  const TextWriter writer;
  struct Group {
    std::string domain, label;
    std::vector<int64_t> themes;
  };
  std::vector<Group> groups;
  if (o.domains == 0) {
    for (int64_t c = 0; c < *o.classes; ++c)
      groups.push_back({"", class_name(c, *o.classes), model.choose(4, kThemes)});
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
  for (int64_t row = 0; row < *o.rows; ++row) {
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
      {o.domains > 0 ? "domains" : "classes", fmt::format("{}", o.domains > 0 ? o.domains : *o.classes)}};
  set.command = fmt::format("meta --data FOLDER/data.tsv --text text --label label {}--shots 5",
                            o.domains > 0 ? "--domain domain --ways 2 " : "--ways 5 ");
  return set;
}

namespace {

constexpr double kShift = 1.5;  // between the two classes of imbalanced columns

/// A random vector of length kShift.
std::vector<double> direction_of_shift(int64_t columns, uint64_t seed) {
  Random model(seed, "model");
  std::vector<double> direction;
  double norm = 0;
  for (int64_t i = 0; i < columns; ++i) {
    direction.push_back(model.normal());
    norm += direction.back() * direction.back();
  }
  for (double& part : direction) part *= kShift / std::sqrt(norm);
  return direction;
}

}  // namespace

GeneratedSet generate_imbalanced(const GenerateOptions& o) {
  const int64_t positives =
      std::max<int64_t>(2, std::llround(o.positive_share * static_cast<double>(*o.rows)));
  const int64_t test_positives =
      std::max<int64_t>(2, std::llround(o.positive_share * static_cast<double>(*o.test_rows)));
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
  const std::vector<double> direction = direction_of_shift(*o.columns, o.seed);
  const auto columns = [&](const std::string& file, int64_t rows, int64_t count) {
    Random random(o.seed, file);
    const std::vector<bool> positive = random.choose_rows(std::min(count, rows), rows);
    std::string content = header_of("class", *o.columns);
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
  if (*o.columns == 0) {
    set.files = {texts("train", *o.rows), texts("test", *o.test_rows)};
  } else {
    set.files = {columns("train", *o.rows, positives), columns("test", *o.test_rows, test_positives)};
  }
  set.files.push_back({"truth.tsv", truth});
  set.facts = {{"positive rows", fmt::format("{} of {}", positives, *o.rows)}};
  if (*o.columns > 0) set.facts.emplace_back("best AUC", fmt::format("{:.4f}", 0.5 * std::erfc(-kShift / 2)));
  set.command = *o.columns == 0 ? "auc --train FOLDER/train.tsv --test FOLDER/test.tsv --text description "
                                  "--label class --positive game"
                                : "auc --train FOLDER/train.csv --test FOLDER/test.csv --features all "
                                  "--label class --positive positive";
  return set;
}

}  // namespace bilevel
