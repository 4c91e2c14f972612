#include "bilevel/report/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace bilevel {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kLineSeconds = 10;
constexpr double kLeastMade = 0.01;  // share from which on what is left is told
constexpr int kMinBar = 8;
constexpr int kMaxBar = 40;

/// "0:07", "12:34", "1:02:03".
std::string clock_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::max(0.0, std::floor(seconds)));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

bool is_terminal(std::FILE* stream) {
  const char* term = std::getenv("TERM");
  return ::isatty(::fileno(stream)) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

Progress::Progress(ProgressOptions options) : options_(std::move(options)) {
  start_seconds_ = now();
  // A terminal shows the bar at the first update, a log its first line only after the interval.
  last_seconds_ = options_.is_terminal ? -std::numeric_limits<double>::infinity() : start_seconds_;
}

Progress::~Progress() {
  if (!finished_ && drawn_ && options_.is_terminal) clear_line();
}

void Progress::update(const ProgressState& state) {
  if (options_.quiet || finished_) return;
  state_ = state;
  updated_ = true;
  const double seconds = now();
  if (share_known() && !counted_from_) counted_from_ = seconds;
  if (seconds - last_seconds_ < (options_.is_terminal ? kRedrawSeconds : kLineSeconds)) return;
  last_seconds_ = seconds;
  draw();
}

void Progress::message(std::string_view text) {
  if (options_.quiet) return;
  const bool bar = drawn_ && options_.is_terminal && !finished_;
  if (bar) clear_line();
  fmt::print(options_.stream, "{}\n", text);
  if (bar) draw();
  std::fflush(options_.stream);
}

void Progress::finish() {
  if (options_.quiet || finished_ || !updated_) return;
  draw();
  if (options_.is_terminal) std::fputc('\n', options_.stream);
  std::fflush(options_.stream);
  finished_ = true;
}

double Progress::now() const {
  if (options_.clock) return options_.clock();
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int Progress::width() const {
  if (options_.width > 0) return options_.width;
  winsize size{};
  if (::ioctl(::fileno(options_.stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

bool Progress::share_known() const { return std::isfinite(state_.share); }

std::string Progress::numbers(Detail detail) const {
  std::string text;
  if (state_.steps <= 0 && state_.step > 0) text += fmt::format("  {} {}", options_.unit, state_.step);
  if (state_.steps > 0 && detail == Detail::kFull)
    text += fmt::format("  {} {}/{}", options_.unit, state_.step, state_.steps);
  if (std::isfinite(state_.loss) && detail != Detail::kShort)
    text += fmt::format("  loss {:.4g}", state_.loss);
  if (std::isfinite(state_.best)) text += fmt::format("  best {} {:.4f}", options_.score, state_.best);
  text += "  " + clock_text(now() - start_seconds_);
  const double made = state_.share - state_.earlier;
  if (share_known() && state_.share < 1 && made >= kLeastMade) {
    const double left = (now() - *counted_from_) / made * (1 - state_.share);
    text += fmt::format(", {} left", clock_text(std::ceil(left - 1e-6)));
  }
  return text;
}

void Progress::draw() {
  const double share = share_known() ? std::clamp(state_.share, 0.0, 1.0) : 0;
  std::string line = state_.phase;
  if (share_known()) line += fmt::format(" {:3d} %", static_cast<int>(std::floor(100 * share)));
  std::string rest = numbers(Detail::kFull);
  if (!options_.is_terminal) {
    fmt::print(options_.stream, "{}{}\n", line, rest);
    std::fflush(options_.stream);
    return;
  }
  const int columns = std::max(1, width() - 1);  // a full last column would wrap on some terminals
  const auto room = [&] { return columns - static_cast<int>(line.size() + rest.size()) - 3; };
  if (share_known()) {
    for (const Detail less : {Detail::kNoStep, Detail::kShort}) {
      if (room() < kMinBar) rest = numbers(less);
    }
    if (const int cells = std::min(room(), kMaxBar); cells >= kMinBar) {
      const int full = static_cast<int>(std::floor(share * cells));
      line += " [" + std::string(static_cast<size_t>(full), '#') +
              std::string(static_cast<size_t>(cells - full), '.') + "]";
    }
  }
  const size_t wide = line.size() + rest.size(), most = static_cast<size_t>(columns);
  if (const size_t cut = std::min(wide - std::min(wide, most), state_.phase.size()); cut > 0)
    line.erase(state_.phase.size() - cut, cut);
  line += rest;
  if (line.size() > most) line.resize(most);
  fmt::print(options_.stream, "\r{}\x1b[K", line);  // ESC [ K clears what the last, longer line left
  std::fflush(options_.stream);
  drawn_ = true;
}

void Progress::clear_line() {
  std::fputs("\r\x1b[K", options_.stream);
  std::fflush(options_.stream);
}

}  // namespace bilevel
