// What a person sees while a run is going on: a bar on a terminal, a line now and then elsewhere.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
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
  int64_t step = 0;
  double loss = std::numeric_limits<double>::quiet_NaN();
  double best = std::numeric_limits<double>::quiet_NaN();  ///< best score so far
};

/// Shows the progress of one phase of a run. On a terminal: one line, redrawn at most 10 times a second,
/// which never wraps; `finish` leaves the last state there and ends the line, the destructor without `finish`
/// (an exception passes) clears it. Elsewhere: a plain line at most every 10 seconds and one at `finish`.
/// `update` costs a clock reading when nothing is to be drawn. Not thread-safe. Errors of the stream are
/// ignored: progress must not stop a run.
class Progress {
 public:
  /// `phase`: a word or two in front ("training", "refit"). `total_steps`: 0 when it is not known (a run
  /// limited by time); then there is no bar and no remaining time. `first_step`: the step at which this
  /// process starts; a resumed run's earlier steps do not count for its speed.
  Progress(std::string phase, int64_t total_steps, ProgressOptions options, int64_t first_step = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Takes the newest state, and draws it when it is time.
  void update(const ProgressState& state);

  /// Prints a line of text without disturbing the bar (nothing when quiet).
  void message(std::string_view text);

  /// Draws the last state and ends the line. Later calls do nothing.
  void finish();

 private:
  /// How much stands beside the bar; a narrow terminal shows less, so that the bar fits.
  enum class Detail { kFull, kNoStep, kShort };

  double now() const;
  int width() const;
  std::string numbers(Detail detail) const;
  void draw();
  void clear_line();

  std::string phase_;
  int64_t total_steps_;
  int64_t first_step_;
  ProgressOptions options_;
  ProgressState state_;
  double start_seconds_;
  double last_seconds_;
  bool drawn_ = false;
  bool finished_ = false;
};

}  // namespace bilevel
