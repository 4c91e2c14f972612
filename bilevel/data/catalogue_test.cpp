#include "bilevel/data/catalogue.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
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
}

}  // namespace
}  // namespace bilevel
