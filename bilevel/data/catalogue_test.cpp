#include "bilevel/data/catalogue.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

TEST(Catalogue, ParsesStanzas) {
  const auto packages = parse_package_catalogue(
      "Package: a\nDescription: first line\n Description: of a long text\nDescription-md5: 0\nSection: "
      "contrib/games\n\n"
      "Package: b\nSection: libs\n\n"                        // no description
      "Package: a\nSection: libs\nDescription: again\n\n\n"  // repeated
      "Package: c\nSection: net\nDescription-en: in \xFF"
      "English\n");
  ASSERT_EQ(packages.size(), 2U);
  EXPECT_EQ(packages[0].name, "a");
  EXPECT_EQ(packages[0].section, "games");
  EXPECT_EQ(packages[0].description, "first line");
  EXPECT_EQ(packages[1].name, "c");
  EXPECT_EQ(packages[1].description, "in English");
  EXPECT_TRUE(parse_package_catalogue("").empty());
}

TEST(Catalogue, OfThisMachineHasNoPackageTwice) {
  const auto packages = read_package_catalogue();
  if (!packages) GTEST_SKIP() << "this machine has no package catalogue";
  std::set<std::string> names;
  for (const CataloguePackage& package : *packages) {
    names.insert(package.name);
    EXPECT_FALSE(package.section.empty() || package.description.empty()) << package.name;
  }
  EXPECT_EQ(names.size(), packages->size());
}

TEST(GeneratedCorpus, IsImbalancedAndNotSeparable) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  const auto corpus = generated_corpus(5000, generator);
  ASSERT_EQ(corpus.size(), 5000U);
  std::set<std::string> games;
  for (const LabelledText& entry : corpus) {
    if (entry.is_positive == 1) games.insert(entry.text);
  }
  EXPECT_EQ(std::count_if(corpus.begin(), corpus.end(), [](const auto& e) { return e.is_positive == 1; }),
            85);
  // A game whose words are all of tools, or the reverse, exists.
  const auto says_game = [](const LabelledText& e) { return e.text.find(" game ") != std::string::npos; };
  EXPECT_TRUE(std::any_of(corpus.begin(), corpus.end(),
                          [&](const auto& e) { return says_game(e) && !e.is_positive; }));
  EXPECT_TRUE(std::any_of(corpus.begin(), corpus.end(),
                          [&](const auto& e) { return says_game(e) && e.is_positive; }));
  EXPECT_TRUE(std::any_of(corpus.begin(), corpus.end(),
                          [&](const auto& e) { return !says_game(e) && e.is_positive; }));
  at::Generator same = at::make_generator<at::CPUGeneratorImpl>(5);
  const auto again = generated_corpus(5000, same);
  EXPECT_TRUE(std::equal(corpus.begin(), corpus.end(), again.begin(), [](const auto& a, const auto& b) {
    return a.text == b.text && a.is_positive == b.is_positive;
  }));
  EXPECT_THROW(generated_corpus(10, generator), InputError);
  EXPECT_THROW(generated_corpus(100, generator, 0), InputError);
  EXPECT_THROW(generated_corpus(100, generator, 1), InputError);
}

TEST(GeneratedCorpus, KnowsTheBestScore) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(6);
  const auto corpus = generated_corpus(20000, generator, 0.5);
  // Where the log-odds are r, positives are e^r times as frequent as negatives: in every band of r.
  std::map<int64_t, std::array<double, 3>> bands;  // positives, expected positives, variance
  int64_t positives = 0;
  for (const LabelledText& entry : corpus) {
    const double p = 1 / (1 + std::exp(-entry.log_odds));
    auto& [found, expected, variance] = bands[std::llround(entry.log_odds)];
    found += entry.is_positive;
    expected += p;
    variance += p * (1 - p);
    positives += entry.is_positive;
  }
  EXPECT_EQ(positives, 10000);
  EXPECT_GE(bands.size(), 4U);
  for (const auto& [band, sums] : bands)
    EXPECT_NEAR(sums[0], sums[1], 4 * std::sqrt(sums[2]) + 1) << "log-odds about " << band;
}

}  // namespace
}  // namespace bilevel
