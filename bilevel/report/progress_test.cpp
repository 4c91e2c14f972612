#include "bilevel/report/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

namespace bilevel {
namespace {

/// A stream in memory and a clock that the test moves.
class ProgressTest : public testing::Test {
 protected:
  void SetUp() override { stream_ = ::open_memstream(&buffer_, &size_); }
  void TearDown() override {
    std::fclose(stream_);
    std::free(buffer_);
  }
  ProgressOptions options(bool terminal, int width = 100) {
    return {.stream = stream_,
            .is_terminal = terminal,
            .quiet = false,
            .score = "AUC",
            .width = width,
            .clock = [this] { return seconds_; }};
  }
  std::string output() {
    std::fflush(stream_);
    return {buffer_, size_};
  }
  /// The drawn versions of the line.
  std::vector<std::string> drawings() {
    std::vector<std::string> result;
    const std::string text = output();
    for (size_t at = text.find('\r'); at != std::string::npos;) {
      const size_t next = text.find('\r', at + 1);
      std::string drawing = text.substr(at + 1, next == std::string::npos ? next : next - at - 1);
      result.push_back(drawing.substr(0, drawing.find('\x1b')));
      at = next;
    }
    return result;
  }

  std::FILE* stream_ = nullptr;
  char* buffer_ = nullptr;
  size_t size_ = 0;
  double seconds_ = 1000;
};

TEST_F(ProgressTest, ABarOnATerminal) {
  Progress progress("training", 200, options(true));
  seconds_ += 30;
  progress.update({.step = 50, .loss = 0.12345, .best = 0.98765});
  EXPECT_EQ(output(),
            "\rtraining  25 % [#####.................]  step 50/200  loss 0.1235  best AUC 0.9877  0:30, "
            "1:30 left\x1b[K");
  seconds_ += 90;
  progress.update({.step = 200, .loss = 0.1, .best = 0.99});
  progress.finish();
  EXPECT_TRUE(drawings().back().starts_with("training 100 % [#####"));
  EXPECT_TRUE(output().ends_with("2:00\x1b[K\n"));
  const std::string before = output();
  progress.finish();
  progress.update({.step = 201});
  EXPECT_EQ(output(), before);
}

TEST_F(ProgressTest, AtMostTenDrawingsASecond) {
  Progress progress("training", 100000, options(true));
  for (int64_t step = 1; step <= 3000; ++step) {
    seconds_ += 0.001;
    progress.update({.step = step});
  }
  EXPECT_GE(drawings().size(), 28u);
  EXPECT_LE(drawings().size(), 31u);
}

TEST_F(ProgressTest, NeverWiderThanTheTerminal) {
  for (const int width : {1, 10, 20, 40, 60, 80, 120, 300}) {
    Progress progress("training", 1'000'000, options(true, width));
    seconds_ += 4000;
    progress.update({.step = 123456, .loss = 1e-10, .best = 0.5});
    EXPECT_LE(drawings().back().size(), static_cast<size_t>(std::max(1, width - 1)));
  }
  EXPECT_EQ(std::ranges::count(drawings().front(), '['), 0);
}

TEST_F(ProgressTest, EightyColumnsHaveRoomForTheBar) {
  Progress progress("training", 12000, options(true, 80));
  seconds_ += 30;
  progress.update({.step = 3000, .loss = 0.12345, .best = 0.98765});
  EXPECT_EQ(drawings().back(),
            "training  25 % [###............]  loss 0.1235  best AUC 0.9877  0:30, 1:30 left");
}

TEST_F(ProgressTest, PlainLinesElsewhere) {
  Progress progress("training", 1000, options(false));
  for (int64_t step = 1; step <= 1000; ++step) {
    seconds_ += 1.0 / 32;
    progress.update({.step = step, .loss = 0.5});
  }
  progress.finish();
  const std::string text = output();
  EXPECT_EQ(std::ranges::count(text, '\n'), 4) << text;  // after 10, 20 and 30 s and at the end
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(text.find("training  32 %  step 320/1000  loss 0.5  0:10, 0:22 left\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("training 100 %  step 1000/1000  loss 0.5  0:31\n"), std::string::npos) << text;
}

TEST_F(ProgressTest, QuietSaysNothing) {
  for (const bool terminal : {false, true}) {
    ProgressOptions quiet = options(terminal);
    quiet.quiet = true;
    Progress progress("training", 10, quiet);
    seconds_ += 100;
    progress.update({.step = 5});
    progress.message("hello");
    progress.finish();
  }
  EXPECT_EQ(output(), "");
}

TEST_F(ProgressTest, AResumedRunIsTimedFromItsOwnStart) {
  Progress progress("training", 1000, options(true), 900);
  seconds_ += 10;
  progress.update({.step = 950});
  EXPECT_NE(output().find("0:10, 0:10 left"), std::string::npos) << output();
}

TEST_F(ProgressTest, AnUnknownTotalHasNoBar) {
  Progress progress("training", 0, options(true));
  seconds_ += 3723;
  progress.update({.step = 77});
  EXPECT_EQ(output(), "\rtraining  step 77  1:02:03\x1b[K");
}

TEST_F(ProgressTest, AnExceptionClearsTheLine) {
  try {
    Progress progress("training", 10, options(true));
    progress.update({.step = 1});
    throw std::runtime_error("x");
  } catch (const std::runtime_error&) {
  }
  EXPECT_TRUE(output().ends_with("\r\x1b[K"));
}

TEST_F(ProgressTest, MessagesDoNotDisturbTheBar) {
  Progress progress("training", 10, options(true));
  progress.message("before");
  progress.update({.step = 1});
  progress.message("in between");
  EXPECT_TRUE(output().starts_with("before\n\rtraining"));
  EXPECT_NE(output().find("\r\x1b[Kin between\n\rtraining  10 %"), std::string::npos) << output();
}

TEST_F(ProgressTest, NonFiniteValuesAreNotShown) {
  Progress progress("training", 10, options(false));
  progress.update({.step = 1, .loss = std::numeric_limits<double>::infinity()});
  progress.finish();
  EXPECT_EQ(output(), "training  10 %  step 1/10  0:00, 0:00 left\n");
}

TEST(IsTerminal, AFileIsNone) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
  ASSERT_NE(file, nullptr);
  EXPECT_FALSE(is_terminal(file.get()));
}

}  // namespace
}  // namespace bilevel
