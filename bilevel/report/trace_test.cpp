#include "bilevel/report/trace.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

class TraceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "bilevel_trace_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = (folder_ / "trace.jsonl").string();
  }
  void TearDown() override { fs::remove_all(folder_); }
  void put(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  fs::path folder_;
  std::string path_;
};

TEST_F(TraceTest, WritesOneObjectPerLineInKeyOrder) {
  {
    TraceWriter writer(path_);
    writer.append({{"step", 1}, {"loss", 0.5}, {"auc", nullptr}});
    EXPECT_EQ(writer.flush(), 33);
    writer.append({{"b", "\n\"\xff"}, {"a", {1, 2}}});
  }
  EXPECT_EQ(read_file(path_),
            "{\"step\":1,\"loss\":0.5,\"auc\":null}\n{\"b\":\"\\n\\\"\xef\xbf\xbd\",\"a\":[1,2]}\n");
}

TEST_F(TraceTest, NumbersKeepTheirBits) {
  std::mt19937_64 random(1);
  std::vector<double> numbers{0.0, -0.0, 0.1, 1e300, 5e-324, std::numeric_limits<double>::max(), 3.0};
  while (numbers.size() < 2000) {
    const uint64_t bits = random();
    double number;
    std::memcpy(&number, &bits, sizeof number);
    if (std::isfinite(number)) numbers.push_back(number);
  }
  TraceWriter writer(path_);
  for (const double number : numbers) writer.append({{"x", number}, {"i", INT64_MAX}});
  writer.flush();
  const Trace trace = read_trace(path_);
  ASSERT_EQ(trace.rows.size(), numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    const double read = trace_number(trace.rows[i]["x"]);
    EXPECT_EQ(std::memcmp(&read, &numbers[i], sizeof read), 0) << numbers[i];
    EXPECT_EQ(trace.rows[i]["i"].get<int64_t>(), INT64_MAX);
  }
}

TEST_F(TraceTest, NonFiniteNumbersAreNamed) {
  {
    TraceWriter writer(path_);
    writer.append({{"a", NAN}, {"b", INFINITY}, {"c", {{"d", {-INFINITY, 1.5}}}}});
  }
  EXPECT_EQ(read_file(path_), "{\"a\":null,\"b\":\"inf\",\"c\":{\"d\":[\"-inf\",1.5]}}\n");
  const ordered_json row = read_trace(path_).rows.at(0);
  EXPECT_TRUE(std::isnan(trace_number(row["a"])));
  EXPECT_EQ(trace_number(row["b"]), INFINITY);
  EXPECT_EQ(trace_number(row["c"]["d"][0]), -INFINITY);
  EXPECT_THROW(trace_number("x"), InputError);
  EXPECT_THROW(trace_number(row["c"]), InputError);
}

TEST_F(TraceTest, AResumedTraceEqualsAnUninterruptedOne) {
  const auto row = [](int step) { return ordered_json{{"step", step}, {"loss", 1.0 / step}}; };
  {
    TraceWriter writer(path_);
    for (int step = 1; step <= 20; ++step) writer.append(row(step));
  }
  const std::string whole = read_file(path_);
  int64_t offset = 0;
  {
    TraceWriter writer(path_);
    for (int step = 1; step <= 7; ++step) writer.append(row(step));
    offset = writer.flush();
    for (int step = 8; step <= 11; ++step) writer.append(row(step));
  }
  std::ofstream(path_, std::ios::app) << "{\"step\":12,\"lo";  // killed here
  {
    TraceWriter writer(path_, offset);
    EXPECT_EQ(writer.flush(), offset);
    for (int step = 8; step <= 20; ++step) writer.append(row(step));
    EXPECT_EQ(writer.flush(), static_cast<int64_t>(whole.size()));
  }
  EXPECT_EQ(read_file(path_), whole);
  { TraceWriter writer(path_, 0); }
  EXPECT_EQ(read_file(path_), "");
}

TEST_F(TraceTest, LargeTracesAreWrittenOnTheWay) {
  TraceWriter writer(path_);
  const std::string text(1000, 'x');
  for (int i = 0; i < 1000; ++i) writer.append({{"text", text}});
  EXPECT_GT(fs::file_size(path_), 900'000u);
  TraceWriter moved = std::move(writer);
  EXPECT_EQ(moved.flush(), 1000 * (1000 + 12));
  EXPECT_EQ(read_trace(path_).rows.size(), 1000u);
}

TEST_F(TraceTest, ReopeningChecksTheOffset) {
  put("{\"a\":1}\n{\"a\":2}\n");
  EXPECT_THROW(TraceWriter(path_, 17), FileError);
  EXPECT_THROW(TraceWriter(path_, 7), FileError);
  EXPECT_THROW(TraceWriter(path_, -1), FileError);
  EXPECT_EQ(fs::file_size(path_), 16u);
  EXPECT_THROW(TraceWriter((folder_ / "no").string(), 0), FileError);
  EXPECT_THROW(TraceWriter((folder_ / "no/trace").string()), FileError);
}

TEST_F(TraceTest, ACutLastLineIsToleratedOthersAreNot) {
  put("{\"a\":1}\n{\"a\":2");
  Trace trace = read_trace(path_);
  EXPECT_TRUE(trace.cut);
  EXPECT_EQ(trace.rows.size(), 1u);
  put("{\"a\":1}\n{\"a\":2}");
  trace = read_trace(path_);
  EXPECT_FALSE(trace.cut);
  EXPECT_EQ(trace.rows.size(), 2u);
  put("");
  EXPECT_TRUE(read_trace(path_).rows.empty());
  for (const char* bad : {"{\"a\":1}\n{\"a\":\n{\"a\":3}\n", "{\"a\":1}\n[]\n", "{\"a\":1}\n\n"}) {
    put(bad);
    try {
      read_trace(path_);
      ADD_FAILURE() << bad;
    } catch (const FileError& error) {
      EXPECT_NE(std::string(error.what()).find("trace.jsonl:2: "), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(read_trace((folder_ / "no").string()), InputError);
}

TEST_F(TraceTest, AWholeTraceIsWrittenLikeItsRows) {
  const std::vector<ordered_json> rows{{{"step", 1}, {"loss", std::nan("")}},
                                       {{"step", 2}, {"loss", INFINITY}, {"text", "\xff"}}};
  {
    TraceWriter writer(path_);
    for (const ordered_json& row : rows) writer.append(row);
  }
  const std::string one_by_one = read_file(path_);
  put("something else");
  write_trace(path_, rows);
  EXPECT_EQ(read_file(path_), one_by_one);
  EXPECT_EQ(read_trace(path_).rows.size(), 2U);
  EXPECT_THROW(write_trace(path_, {{{"step", 1}}, {1, 2}}), InputError);
  EXPECT_EQ(read_file(path_), one_by_one);
  EXPECT_THROW(write_trace((folder_ / "none" / "trace.jsonl").string(), rows), FileError);
}

TEST_F(TraceTest, ARowIsAnObject) {
  TraceWriter writer(path_);
  EXPECT_THROW(writer.append(ordered_json::array({1})), InputError);
  EXPECT_THROW(writer.append(3), InputError);
}

TEST_F(TraceTest, AFullDiskIsReported) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  TraceWriter writer("/dev/full");
  writer.append({{"a", 1}});
  EXPECT_THROW(writer.flush(), FileError);
}

}  // namespace
}  // namespace bilevel
