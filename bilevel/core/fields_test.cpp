#include "bilevel/core/fields.h"

#include <cmath>

#include "bilevel/core/error.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using nlohmann::json;

struct Options {
  double rate = 0.5;
  int64_t count = 3;
  bool fast = false;
  std::string kind = "one";
  StepSize step = {};

  void fields(Fields& fields) {
    fields.number("rate", rate, kWeight, "a weight");
    fields.integer("count", count, kAtLeastOne, "how many");
    fields.flag("fast", fast, "whether fast");
    fields.choice("kind", kind, {"one", "two"}, "which");
    fields.step_size("step", step, "how far");
  }
};

TEST(Range, ContainsItsClosedEndsAlone) {
  EXPECT_FALSE(kPositive.contains(0));
  EXPECT_TRUE(kPositive.contains(1e-300));
  EXPECT_TRUE(kNonNegative.contains(0));
  EXPECT_TRUE(kWeight.contains(1));
  EXPECT_FALSE(kWeight.contains(0));
  EXPECT_FALSE(kWeight.contains(1.0000001));
  EXPECT_FALSE(kAny.contains(std::nan("")));
  EXPECT_FALSE((Range{.low = 0, .high = 1, .high_open = true}.contains(1)));
  EXPECT_EQ(kPositive.describe(), "> 0");
  EXPECT_EQ(kAtLeastOne.describe(), ">= 1");
  EXPECT_EQ(kWeight.describe(), "in (0, 1]");
  EXPECT_EQ((Range{.high = 1, .high_open = true}.describe()), "< 1");
}

TEST(Fields, TextSetsEveryType) {
  Options options;
  const Fields fields = fields_of(options);
  for (const char* assignment : {"rate=0.25", "count=1e3", "fast=true", "kind=two", "step=1e-2"}) {
    fields.set_text(assignment);
  }
  EXPECT_EQ(options.rate, 0.25);
  EXPECT_EQ(options.count, 1000);
  EXPECT_TRUE(options.fast);
  EXPECT_EQ(options.kind, "two");
  EXPECT_EQ(options.step.value, 1e-2);
  fields.set_text("step=auto");
  EXPECT_TRUE(options.step.automatic());
}

TEST(Fields, ANumberNeedNotBeWrittenAsInJson) {
  Options options;
  const Fields fields = fields_of(options);
  const auto rate = [&](const std::string& text) {
    fields.set_text("rate=" + text);
    return options.rate;
  };
  EXPECT_EQ(rate(".2"), 0.2);
  EXPECT_EQ(rate("1."), 1);
  EXPECT_EQ(rate("+.5"), 0.5);
  EXPECT_EQ(rate("+1"), 1);
  EXPECT_EQ(rate("0025e-2"), 0.25);
  EXPECT_EQ(rate("5.E-1"), 0.5);
  fields.set_text("count=+20.");
  EXPECT_EQ(options.count, 20);
  fields.set_text("step=.5");
  EXPECT_EQ(options.step.value, 0.5);
  for (const char* text : {".", "+", "0x1p-1", "1_0", "--1", "+-1", "1e", "infinity", "+nan"})
    EXPECT_CONTAINS(message_of<InputError>([&] { rate(text); }), "must be a number") << text;
}

TEST(Fields, ImpossibleValuesAreRefusedWithFieldValueAndRule) {
  Options options;
  const Fields fields = fields_of(options);
  const auto refusal = [&](const std::string& text) {
    return message_of<InputError>([&] { fields.set_text(text); });
  };
  EXPECT_EQ(refusal("rate=0"), "rate = 0: must be in (0, 1]");
  EXPECT_EQ(refusal("rate=1.5"), "rate = 1.5: must be in (0, 1]");
  EXPECT_EQ(refusal("rate=fast"), "rate = fast: must be a number");
  EXPECT_EQ(refusal("rate=nan"), "rate = nan: must be a number");
  EXPECT_EQ(refusal("rate="), "rate = : must be a number");
  EXPECT_EQ(refusal("rate=true"), "rate = true: must be a number");
  EXPECT_EQ(refusal("rate=1e999"), "rate = 1e999: must be a number");
  EXPECT_EQ(refusal("count=0"), "count = 0: must be >= 1");
  EXPECT_EQ(refusal("count=1.5"), "count = 1.5: must be a whole number");
  EXPECT_EQ(refusal("count=1e19"), "count = 1e+19: must be at most 2^53");
  EXPECT_EQ(refusal("fast=1"), "fast = 1: must be true or false");
  EXPECT_EQ(refusal("kind=three"), "kind = three: must be one of one, two");
  EXPECT_EQ(refusal("kind=1"), "kind = 1: must be one of one, two");
  EXPECT_EQ(refusal("step=often"), "step = often: must be a number or auto");
  EXPECT_EQ(refusal("step=-1"), "step = -1: must be > 0");
  EXPECT_EQ(refusal("speed=1"), "there is no option 'speed'; known: rate, count, fast, kind, step");
  EXPECT_EQ(message_of<InputError>([] { Fields().set_text("speed=1"); }),
            "there is no option 'speed'; there are no options");
  EXPECT_EQ(refusal("rate"), "'rate' is not of the form key=value");
  EXPECT_EQ(refusal("=1"), "'=1' is not of the form key=value");
  EXPECT_EQ(fields.to_json(), fields_of(*std::make_unique<Options>()).to_json()) << "nothing was set";
}

TEST(Fields, ValidateChecksWhatCodeAssigned) {
  const auto refusal = [](const std::function<void(Options&)>& change) {
    Options options;
    change(options);
    return message_of<InputError>([&] { fields_of(options).validate(); });
  };
  Options good;
  EXPECT_NO_THROW(fields_of(good).validate());
  EXPECT_EQ(refusal([](Options& o) { o.rate = std::nan(""); }), "rate = nan: must be in (0, 1]");
  EXPECT_EQ(refusal([](Options& o) { o.rate = HUGE_VAL; }), "rate = inf: must be in (0, 1]");
  EXPECT_EQ(refusal([](Options& o) { o.count = -4; }), "count = -4: must be >= 1");
  EXPECT_EQ(refusal([](Options& o) { o.kind = ""; }), "kind = : must be one of one, two");
  EXPECT_EQ(refusal([](Options& o) { o.step = 0.0; }), "step = 0: must be > 0");
}

TEST(Fields, JsonGoesThereAndBack) {
  Options options{.rate = 1.0 / 3, .count = 9007199254740992, .fast = true, .kind = "two", .step = 0.1};
  const std::string text = fields_of(options).to_json().dump();
  EXPECT_EQ(text.find("\"rate\""), 1u) << "in order of declaration: " << text;
  Options read;
  fields_of(read).from_json(json::parse(text));
  EXPECT_EQ(fields_of(read).to_json().dump(), text);
  EXPECT_EQ(read.rate, 1.0 / 3);
  EXPECT_EQ(read.count, 9007199254740992);
  read.step = {};
  EXPECT_EQ(fields_of(read).to_json()["step"], "auto");
  EXPECT_THROW(fields_of(read).from_json({{"rates", 1}}), InputError);
}

TEST(Fields, DescribeThemselves) {
  Options options;
  const Fields fields = fields_of(options);
  const Field& kind = fields.list()[3];
  EXPECT_EQ(kind.name, "kind");
  EXPECT_EQ(kind.type, "one|two");
  EXPECT_EQ(fields.list()[0].rule, "in (0, 1]");
  EXPECT_EQ(fields.list()[4].type, "number|auto");
  EXPECT_EQ(fields.list()[4].rule, "> 0");
}

/// A struct with a course, a text and search ranges.
struct Searched {
  double rate = 0.5;
  int64_t count = 3;
  StepSize step = {};
  std::string schedule = "constant";
  std::string file;

  void fields(Fields& fields) {
    fields.number("rate", rate, kWeight, "a weight").search(0.01, 1);
    fields.integer("count", count, kAtLeastOne, "how many").search(1, 20);
    fields.step_size("step", step, "how far").search(1e-3, 1);
    fields.course("schedule", schedule, {"constant", "polynomial", "cosine", "warm-up"}, "course");
    fields.text("file", file, "where");
  }
};

TEST(Fields, ACourseIsAWordWithANumberWhereItTakesOne) {
  Searched options;
  const Fields fields = fields_of(options);
  for (const char* course :
       {"constant", "cosine", "polynomial", "polynomial:0.6", "polynomial:1", "warm-up:5e-2"}) {
    fields.set("schedule", course);
    EXPECT_EQ(options.schedule, course);
    EXPECT_EQ(fields.to_json()["schedule"], course);
    EXPECT_NO_THROW(fields.validate());
  }
  const auto refusal = [&](const json& value) {
    return message_of<InputError>([&] { fields.set("schedule", value); });
  };
  EXPECT_EQ(refusal("linear"), "schedule = linear: must be one of constant, polynomial, cosine, warm-up");
  EXPECT_CONTAINS(refusal(""), "must be one of");
  EXPECT_CONTAINS(refusal(1), "must be one of");
  for (const char* course : {"cosine:0.5", "constant:1", "polynomial:", "polynomial:0", "polynomial:-1",
                             "polynomial:1.5", "polynomial:half", "polynomial:0.5:1", "warm-up:true"}) {
    EXPECT_CONTAINS(refusal(course), "only polynomial and warm-up take a number, in (0, 1], after the colon");
  }
  EXPECT_EQ(options.schedule, "warm-up:5e-2") << "a refused value changes nothing";
  options.schedule = "warm-up:2";
  EXPECT_THROW(fields.validate(), InputError);
  EXPECT_EQ(fields.list()[3].type, "constant|polynomial|cosine|warm-up");
}

TEST(Fields, ATextIsTakenAsItIs) {
  Searched options;
  const Fields fields = fields_of(options);
  for (const char* text : {"a file.svm", "", "true=1", "naïve", "123", "true"}) {
    fields.set_text("file=" + std::string(text));
    EXPECT_EQ(options.file, text);
  }
  EXPECT_EQ(message_of<InputError>([&] { fields.set("file", 3); }), "file = 3: must be a text");
  EXPECT_EQ(fields.list()[4].type, "text");
}

TEST(Fields, SearchRangesAreDeclaredWithTheField) {
  Searched options;
  const Fields fields = fields_of(options);
  const auto range = [&](size_t i) { return fields.list()[i].range.value(); };
  EXPECT_EQ(range(0).low, 0.01);
  EXPECT_EQ(range(0).high, 1);
  EXPECT_EQ(range(1).high, 20);
  EXPECT_EQ(range(2).low, 1e-3);
  EXPECT_FALSE(fields.list()[3].range.has_value()) << "not searched";
  EXPECT_FALSE(fields.list()[4].range.has_value());
  Options plain;
  const Fields unsearched = fields_of(plain);
  for (const Field& field : unsearched.list()) EXPECT_FALSE(field.range.has_value()) << field.name;
}

enum class Colour { red, dark_blue };

}  // namespace
template <>
struct NamesOf<Colour> {
  static constexpr const char* value[] = {"red", "dark-blue"};
};
namespace {

TEST(Fields, AnEnumerationIsGivenByItsNames) {
  Colour colour = Colour::dark_blue;
  Fields fields;
  fields.choice("colour", colour, "of the line");
  EXPECT_EQ(fields.list()[0].type, "red|dark-blue");
  EXPECT_EQ(fields.to_json().dump(), R"({"colour":"dark-blue"})");
  fields.set_text("colour=red");
  EXPECT_EQ(colour, Colour::red);
  for (const json& bad : {json("blue"), json(1), json(nullptr), json("")}) {
    EXPECT_CONTAINS(message_of<InputError>([&] { fields.set("colour", bad); }),
                    "must be one of red, dark-blue");
  }
  EXPECT_EQ(colour, Colour::red);
  colour = Colour(7);
  EXPECT_EQ(message_of<InputError>([&] { fields.validate(); }), "colour = 7: must be one of red, dark-blue");
}

TEST(Names, GoBothWays) {
  EXPECT_EQ(name_of(Colour::dark_blue), "dark-blue");
  EXPECT_EQ(value_named<Colour>("dark-blue", "colour"), Colour::dark_blue);
  EXPECT_EQ(message_of<InputError>([] { value_named<Colour>("Red", "colour"); }),
            "colour = Red: must be one of red, dark-blue");
}

/// Options of which nothing need be given.
struct Sparse {
  std::optional<double> l2, epochs;
  std::optional<int64_t> steps;
  std::optional<bool> header;
  std::string text, columns, encoder;
  std::vector<std::string> set;
  uint64_t seed = 0;
  bool refit = true;

  void fields(Fields& f) {
    f.heading("Data");
    f.text("text", text, "column").as("COL").instead_of("columns");
    f.text("columns", columns, "columns").instead_of("text");
    f.flag("header", header, "first row");
    f.heading("Model");
    f.optional_choice("encoder", encoder, {"bag", "gru"}, "which").or_else("by the rows");
    f.number("l2", l2, kNonNegative, "strength");
    f.number("epochs", epochs, kPositive, "passes").instead_of("steps");
    f.integer("steps", steps, kAtLeastOne, "steps").instead_of("epochs");
    f.texts("set", set, "more");
    f.integer("seed", seed, kNonNegative, "seed");
    f.flag("refit", refit, "again");
  }
};

TEST(Fields, WhatIsNotGivenIsNullAndComesBack) {
  Sparse options;
  const Fields fields = fields_of(options);
  EXPECT_EQ(
      fields.to_json().dump(),
      R"({"text":null,"columns":null,"header":"automatic","encoder":null,"l2":null,"epochs":null,"steps":null,)"
      R"("set":[],"seed":0,"refit":true})");
  const json given = json::parse(
      R"({"text":"t","columns":null,"header":false,"encoder":"gru","l2":0.0,"epochs":null,"steps":7,)"
      R"("set":["a=1"],"seed":3,"refit":false})");
  fields.from_json(given);
  EXPECT_EQ(json(fields.to_json()), given);
  EXPECT_EQ(options.steps, 7);
  EXPECT_EQ(options.header, false);
  fields.from_json(
      json::parse(R"({"text":null,"header":"automatic","encoder":null,"l2":null,"steps":null})"));
  EXPECT_TRUE(options.text.empty() && options.encoder.empty());
  EXPECT_FALSE(options.l2 || options.steps || options.header);
}

TEST(Fields, OptionalOnesHaveTheSameRules) {
  Sparse options;
  const Fields fields = fields_of(options);
  const auto refusal = [&](const char* name, const json& value) {
    return message_of<InputError>([&] { fields.set(name, value); });
  };
  EXPECT_EQ(refusal("l2", -1), "l2 = -1: must be >= 0");
  EXPECT_EQ(refusal("steps", 2.5), "steps = 2.5: must be a whole number");
  EXPECT_EQ(refusal("steps", "x"), "steps = x: must be a number");
  EXPECT_EQ(refusal("seed", -1), "seed = -1: must be >= 0");
  EXPECT_EQ(refusal("seed", nullptr), "seed = null: must be a number");
  EXPECT_EQ(refusal("encoder", "cnn"), "encoder = cnn: must be one of bag, gru");
  EXPECT_EQ(refusal("header", "yes"), "header = yes: must be true, false or automatic");
  EXPECT_EQ(refusal("set", "a=1"), "set = a=1: must be a list of texts");
}

TEST(Fields, FlagsWinOverWhatIsThere) {
  Sparse options;
  const Fields fields = fields_of(options);
  fields.from_json({{"epochs", 3}, {"text", "t"}, {"set", {"a=1"}}});
  fields.set_given({{"steps", {"5"}}, {"set", {"b=2", "c=3"}}, {"refit", {"false"}}, {"header", {"true"}}});
  EXPECT_EQ(options.steps, 5);
  EXPECT_FALSE(options.epochs) << "steps stand in its place";
  EXPECT_EQ(options.set, (std::vector<std::string>{"a=1", "b=2", "c=3"}));
  EXPECT_FALSE(options.refit);
  EXPECT_EQ(options.header, true);
  fields.validate();
  fields.set_given({{"columns", {"a"}}, {"text", {"b"}}});
  EXPECT_EQ(message_of<InputError>([&] { fields.validate(); }), "give --text or --columns, not both");
}

TEST(Fields, KnowTheirFlags) {
  Sparse options;
  const Fields fields = fields_of(options);
  EXPECT_EQ(fields.list()[0].flag(), "--text");
  EXPECT_EQ(fields.list()[0].word, "COL");
  EXPECT_EQ(fields.list()[0].group, "Data");
  EXPECT_EQ(fields.list()[3].otherwise, "by the rows");
  EXPECT_EQ(fields.list().back().flag(), "--[no-]refit");
}

}  // namespace
}  // namespace bilevel
