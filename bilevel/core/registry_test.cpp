#include "bilevel/core/registry.h"

#include "tests/support.h"

namespace bilevel {
namespace {

struct Letter {
  std::string name;
  int number = 0;
};

TEST(Registry, FindsByNameAndKeepsOrderAndReferences) {
  Registry<Letter> letters("letter", {{"b", 2}, {"a", 1}});
  const Letter& b = letters.at("b");
  for (int i = 0; i < 100; ++i) letters.add({"c" + std::to_string(i), i});
  EXPECT_EQ(b.number, 2);
  EXPECT_EQ(&b, letters.find("b"));
  EXPECT_EQ(letters.find("z"), nullptr);
  EXPECT_EQ(letters.size(), 102u);
  EXPECT_EQ(letters.names()[1], "a");
  EXPECT_EQ(letters.at("c99").number, 99);
}

TEST(Registry, RefusesUnknownNamesAndASecondEntryOfOne) {
  Registry<Letter> letters("letter", {{"b", 2}, {"a", 1}});
  EXPECT_EQ(message_of<InputError>([&] { letters.at("z"); }), "there is no letter 'z'; known: b, a");
  EXPECT_EQ(message_of<InputError>([&] { letters.add({"a", 3}); }), "there is a letter 'a' already");
  EXPECT_EQ(letters.at("a").number, 1);
}

}  // namespace
}  // namespace bilevel
