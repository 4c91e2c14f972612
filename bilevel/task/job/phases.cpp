#include "bilevel/task/job/phases.h"

#include <algorithm>
#include <utility>

namespace bilevel {

void Phases::plan(const std::vector<Phase>& phases) {
  for (const Phase& phase : phases) phases_[phase.name].cost = phase.cost;
  tell({});
}

void Phases::begin(const std::string& name, const std::string& shown) {
  if (name != current_ && phases_.contains(current_)) current().share = 1;
  current_ = name;
  if (!shown.empty()) shown_ = shown;
  from_ = 0;
  to_ = 1;
  tell({});
}

void Phases::stretch(double share) {
  from_ = from_ == 0 && to_ == 1 ? 0 : to_;
  to_ = from_ + share;
}

void Phases::advance(double share, JobProgress now) {
  Course& course = current();
  course.share = std::max(course.share, from_ + (to_ - from_) * std::clamp(share, 0.0, 1.0));
  tell(std::move(now));
}

void Phases::skip(double share) {
  Course& course = current();
  const double before = course.share;
  course.share = std::max(before, from_ + (to_ - from_) * std::clamp(share, 0.0, 1.0));
  course.earlier += course.share - before;
}

void Phases::reach(const std::string& name, JobProgress told, bool shown) {
  Course& course = phases_[name];
  course.share = told.share;
  course.earlier = told.earlier;
  if (!shown) return;
  if (!told.phase.empty()) shown_ = told.phase;
  tell(std::move(told));
}

void Phases::done(const std::string& name) {
  phases_[name].share = 1;
  tell({});
}

double Phases::of_whole(double Course::*of_phase) const {
  double sum = 0, all = 0;
  for (const auto& [name, course] : phases_) {
    sum += course.cost * course.*of_phase;
    all += course.cost;
  }
  return all > 0 ? sum / all : 0;
}

void Phases::tell(JobProgress now) {
  if (!watcher_) return;
  if (now.phase.empty()) now.phase = shown_;
  now.share = share();
  now.earlier = earlier();
  watcher_(now);
}

}  // namespace bilevel
