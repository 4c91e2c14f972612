// How far a run of a job is, and how long it has taken: one share and one time over all its phases and processes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace bilevel {

/// Where a job stands.
struct JobProgress {
  std::string phase;   ///< for a person
  double share = 0;    ///< of the whole job's cost that is done, 0 to 1
  double earlier = 0;  ///< what of that earlier processes of a resumed run have done
  int64_t step = 0;    ///< of a pass; 0: the phase is none
  int64_t steps = 0;   ///< planned in this pass
  double upper_loss =
      std::numeric_limits<double>::quiet_NaN();  ///< of a step of the last twentieth of a second: reading it
                                                 ///< waits for the device
  double best = std::numeric_limits<double>::quiet_NaN();  ///< score so far
};

/// A stretch of a job's work. Costs count beside each other only; costs.h says in what.
struct Phase {
  std::string name;  ///< unique within the job
  double cost = 1;
};

/// The last phase of every job: measuring, model, pictures, report.
inline constexpr const char* kReportPhase = "report";

/// The phases of a job, from its first pass to its last baseline, and how far each is. A job plans them when it knows what they
/// cost, begins one after the other, and moves the one it has begun; what is made in other processes is told to `reach`. Where
/// nothing is planned, the whole job is what `advance` moves.
class Phases {
 public:
  using Watcher = std::function<void(const JobProgress&)>;

  /// `watcher` gets every move.
  explicit Phases(Watcher watcher = nullptr) : watcher_(std::move(watcher)) {}
  bool watched() const { return watcher_ != nullptr; }

  /// Adds phases, or gives those that were planned before another cost.
  void plan(const std::vector<Phase>& phases);
  /// Leaves the phase that was begun before, which is done then. `shown`: see `JobProgress::phase`; empty: as before.
  void begin(const std::string& name, const std::string& shown = "");
  /// Until the next one or `begin`, `advance` is of a stretch of the phase alone: the next one, with this share of it.
  void stretch(double share);
  /// The phase that was begun, or its stretch, has come so far. `now` says where in a pass; its shares are not used.
  void advance(double share, JobProgress now = {});
  /// So far it had come in an earlier process: this takes no time.
  void skip(double share);
  /// Another process has brought a phase so far: `share` and `earlier` of `told` are of this phase alone. `shown`: it is the
  /// one that a person sees.
  void reach(const std::string& name, JobProgress told, bool shown = true);
  /// It has brought it to its end.
  void done(const std::string& name);
  /// An earlier process had.
  void skip_all(const std::string& name) { phases_[name].share = phases_[name].earlier = 1; }

  /// Of the whole cost.
  double share() const { return of_whole(&Course::share); }
  double earlier() const { return of_whole(&Course::earlier); }

 private:
  struct Course {
    double cost = 1, share = 0, earlier = 0;
  };

  double of_whole(double Course::*of_phase) const;
  Course& current() { return phases_[current_]; }
  void tell(JobProgress now);

  Watcher watcher_;
  std::map<std::string, Course> phases_;
  std::string current_, shown_ = "starting";
  double from_ = 0, to_ = 1;  // of the stretch
};

/// The time that a run has taken, earlier processes of a resumed run included.
class RunClock {
 public:
  double seconds() const {
    return earlier_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  /// Another process of the run, or an earlier one, had come to this: the clock shows no less.
  void at_least(double seconds) { earlier_ += std::max(0.0, seconds - this->seconds()); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double earlier_ = 0;
};

}  // namespace bilevel
