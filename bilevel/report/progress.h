// What a person sees while a run is going on: a bar on a terminal, a line now and then elsewhere.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace bilevel {

/// Where and how progress is shown.
struct ProgressOptions {
  std::FILE* stream = stderr;   ///< not owned
  bool is_terminal = false;     ///< a redrawn line (true) or plain lines; see `is_terminal`
  bool quiet = false;           ///< show nothing at all
  std::string score = "score";  ///< what the best of is shown: "AUC", "accuracy"
  std::string unit = "step";    ///< what is counted
  int width =
      0;  ///< columns of the terminal; 0: asked from the terminal at each redraw, 80 when it does not say
  std::function<double()> clock = {};  ///< seconds from any origin, never falling; empty: the steady clock
};

/// Whether a stream is a terminal that can redraw a line (TERM is not "dumb").
bool is_terminal(std::FILE* stream);

/// The state of a run. Values that are not finite are not shown.
struct ProgressState {
  std::string phase = {};                                   ///< a few words in front: "training", "refit"
  double share = std::numeric_limits<double>::quiet_NaN();  ///< of the whole run, 0 to 1; NaN: not known
  double earlier = 0;  ///< share that was there when this process began: it does not count for its speed
  int64_t step = 0;    ///< in the phase; 0: nothing is counted there
  int64_t steps = 0;   ///< of the phase; 0: not known
  double loss = std::numeric_limits<double>::quiet_NaN();
  double best = std::numeric_limits<double>::quiet_NaN();  ///< best score so far
};

/// Shows the progress of a run, from its first phase to its last: the share of the whole that is done, the time it has taken
/// and the time that is left by it. On a terminal: one line, redrawn at most 10 times a second, which never wraps; `finish`
/// leaves the last state there and ends the line, the destructor without `finish` (an exception passes) clears it. Elsewhere: a
/// plain line at most every 10 seconds and one at `finish`. `update` costs a clock reading when nothing is to be drawn. Not
/// thread-safe. Errors of the stream are ignored: progress must not stop a run.
class Progress {
 public:
  /// Time is counted from here; what is left follows from the shares and times since the first one that is known.
  explicit Progress(ProgressOptions options);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Takes the newest state, and draws it when it is time.
  void update(const ProgressState& state);

  /// Prints a line of text without disturbing the bar (nothing when quiet).
  void message(std::string_view text);

  /// Draws the last state, where there is any, and ends the line. Later calls do nothing.
  void finish();

 private:
  /// How much stands beside the bar; a narrow terminal shows less, so that the bar fits.
  enum class Detail { kFull, kNoStep, kShort };

  double now() const;
  int width() const;
  bool share_known() const;
  std::string numbers(Detail detail) const;
  void draw();
  void clear_line();

  ProgressOptions options_;
  ProgressState state_;
  double start_seconds_;
  double last_seconds_;
  std::optional<double> counted_from_;  // the time of the first known share
  bool updated_ = false;
  bool drawn_ = false;
  bool finished_ = false;
};

}  // namespace bilevel
