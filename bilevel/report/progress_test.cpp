#include "bilevel/report/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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
  /// A run of one phase at a step of it.
  static ProgressState at(int64_t step, int64_t steps, double loss = NAN, double best = NAN) {
    return {.phase = "training",
            .share = static_cast<double>(step) / static_cast<double>(steps),
            .step = step,
            .steps = steps,
            .loss = loss,
            .best = best};
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
  Progress progress(options(true));
  progress.update(at(0, 200));
  seconds_ += 30;
  progress.update(at(50, 200, 0.12345, 0.98765));
  EXPECT_EQ(drawings().back() + "\x1b[K",
            "training  25 % [#####.................]  step 50/200  loss 0.1235  best AUC 0.9877  0:30, "
            "1:30 left\x1b[K");
  seconds_ += 90;
  progress.update(at(200, 200, 0.1, 0.99));
  progress.finish();
  EXPECT_TRUE(drawings().back().starts_with("training 100 % [#####"));
  EXPECT_TRUE(output().ends_with("2:00\x1b[K\n"));
  const std::string before = output();
  progress.finish();
  progress.update(at(201, 200));
  EXPECT_EQ(output(), before);
}

TEST_F(ProgressTest, AtMostTenDrawingsASecond) {
  Progress progress(options(true));
  for (int64_t step = 1; step <= 3000; ++step) {
    seconds_ += 0.001;
    progress.update(at(step, 100000));
  }
  EXPECT_GE(drawings().size(), 28u);
  EXPECT_LE(drawings().size(), 31u);
}

TEST_F(ProgressTest, NeverWiderThanTheTerminal) {
  for (const int width : {1, 10, 20, 40, 60, 80, 120, 300}) {
    Progress progress(options(true, width));
    seconds_ += 4000;
    progress.update(at(123456, 1'000'000, 1e-10, 0.5));
    EXPECT_LE(drawings().back().size(), static_cast<size_t>(std::max(1, width - 1)));
  }
  EXPECT_EQ(std::ranges::count(drawings().front(), '['), 0);
}

TEST_F(ProgressTest, EightyColumnsHaveRoomForTheBar) {
  Progress progress(options(true, 80));
  progress.update(at(0, 12000));
  seconds_ += 30;
  progress.update(at(3000, 12000, 0.12345, 0.98765));
  EXPECT_EQ(drawings().back(),
            "training  25 % [###............]  loss 0.1235  best AUC 0.9877  0:30, 1:30 left");
}

TEST_F(ProgressTest, ALongPhaseIsCutBeforeTheTimes) {
  Progress progress(options(true, 40));
  progress.update({.phase = "fitting: baseline, noisy and trusted rows", .share = 0});
  seconds_ += 30;
  progress.update({.phase = "fitting: baseline, noisy and trusted rows", .share = 0.25});
  EXPECT_EQ(drawings().back(), "fitting: baselin  25 %  0:30, 1:30 left");
}

TEST_F(ProgressTest, OneTimeOverAllPhases) {
  Progress progress(options(false));
  seconds_ += 5;  // reading, of which nobody knows how long it takes
  progress.update({.phase = "training", .share = 0});
  seconds_ += 20;
  progress.update({.phase = "training", .share = 0.2, .step = 20, .steps = 50});
  seconds_ += 20;
  progress.update({.phase = "baseline", .share = 0.5});
  EXPECT_EQ(output(),
            "training  20 %  step 20/50  0:25, 1:20 left\n"
            "baseline  50 %  0:45, 0:40 left\n");
}

TEST_F(ProgressTest, PlainLinesElsewhere) {
  Progress progress(options(false));
  progress.update(at(0, 1000));
  for (int64_t step = 1; step <= 1000; ++step) {
    seconds_ += 1.0 / 32;
    progress.update(at(step, 1000, 0.5));
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
    Progress progress(quiet);
    seconds_ += 100;
    progress.update(at(5, 10));
    progress.message("hello");
    progress.finish();
  }
  EXPECT_EQ(output(), "");
}

TEST_F(ProgressTest, AResumedRunIsTimedFromItsOwnStart) {
  Progress progress(options(true));
  progress.update({.phase = "training", .share = 0.9, .earlier = 0.9});
  seconds_ += 10;
  progress.update({.phase = "training", .share = 0.95, .earlier = 0.9});
  EXPECT_NE(output().find("0:10, 0:10 left"), std::string::npos) << output();
}

TEST_F(ProgressTest, AnUnknownTotalHasNoBar) {
  Progress progress(options(true));
  seconds_ += 3723;
  progress.update({.phase = "training", .step = 77});
  EXPECT_EQ(output(), "\rtraining  step 77  1:02:03\x1b[K");
}

TEST_F(ProgressTest, AnExceptionClearsTheLine) {
  try {
    Progress progress(options(true));
    progress.update(at(1, 10));
    throw std::runtime_error("x");
  } catch (const std::runtime_error&) {
  }
  EXPECT_TRUE(output().ends_with("\r\x1b[K"));
}

TEST_F(ProgressTest, MessagesDoNotDisturbTheBar) {
  Progress progress(options(true));
  progress.message("before");
  progress.update(at(1, 10));
  progress.message("in between");
  EXPECT_TRUE(output().starts_with("before\n\rtraining"));
  EXPECT_NE(output().find("\r\x1b[Kin between\n\rtraining  10 %"), std::string::npos) << output();
}

TEST_F(ProgressTest, NonFiniteValuesAreNotShown) {
  Progress progress(options(false));
  progress.update(at(1, 10, std::numeric_limits<double>::infinity()));
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
