#include "bilevel/task/job/parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char *kNotes = "notes", *kSeconds = "run_seconds";  // in answers

/// Threads of this process, which a copy of it would lack.
int64_t running_threads() {
  return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
}

Json to_json(const JobProgress& p) {
  return {{"phase", p.phase}, {"share", p.share}, {"earlier", p.earlier},      {"step", p.step},
          {"steps", p.steps}, {"best", p.best},   {"upper_loss", p.upper_loss}};
}

JobProgress progress_from(const Json& json) {
  return {.phase = json.at("phase"),
          .share = json.at("share"),
          .earlier = json.at("earlier"),
          .step = json.at("step"),
          .steps = json.at("steps"),
          .upper_loss = json.at("upper_loss"),
          .best = json.at("best")};
}

/// Tells the process that it works for, at most ten times a second.
void tell_progress(const JobProgress& progress) {
  using Clock = std::chrono::steady_clock;
  static Clock::time_point next;
  const Clock::time_point now = Clock::now();
  if (now < next || progress.share == 0) return;  // that it has begun is known
  next = now + std::chrono::milliseconds(100);
  Workers::tell(to_json(progress));
}

}  // namespace

void PartsOptions::fields(Fields& f) {
  f.heading(kTrainingGroup);
  f.integer("jobs", jobs, kAtLeastOne,
            "parts of the work at a time, each in a process of its own; results do not depend on it")
      .as("N")
      .or_else("as many as there are cores for; 1 with --max-seconds");
}

void JobFlags::fields(Fields& f) {
  job->fields(f);
  if (in_parts) work.fields(f);
}

Json answer_of(Passes& passes) {
  if (passes.reason() == StopReason::interrupted) throw Interrupted{passes.message()};
  const bool usable =
      passes.reason() != StopReason::nonfinite && passes.reason() != StopReason::linear_solve_failed;
  Json answer{{"passes", passes.to_json()}};
  if (!usable) answer[JobParts::kFailed] = true;
  return answer;
}

JobParts::JobParts(JobSetup& setup, PartWork work, int64_t most) : setup_(setup), work_(std::move(work)) {
  const int64_t count = at_a_time(most);
  if (count < 2) return;
  const int64_t threads = *setup.options().threads;
  setup.context().say(fmt::format("{} parts of the work at a time, {} thread{} each (--jobs)", count, threads,
                                  threads == 1 ? "" : "s"));
  workers_ = std::make_unique<Workers>(count, [this](const Json& request) { return serve(request); });
}

int64_t JobParts::at_a_time(int64_t most) const {
  const JobOptions& o = setup_.options();
  const int64_t count =
      std::min(most, jobs_at_a_time(setup_.context().jobs, *o.threads, o.max_seconds.has_value()));
  if (count < 2) return 1;
  const bool on_cpu = o.torch_device().is_cpu();
  if (on_cpu && (*o.threads == 1 || running_threads() == 1)) return count;
  if (setup_.context().jobs) {
    setup_.context().say(on_cpu ? "one part at a time: the threads of the numerical library run already"
                                : "one part at a time: they share the device");
  }
  return 1;
}

/// In this process.
Json JobParts::made(const Part& part) {
  setup_.latest_notes();
  Json answer = work_(part);
  answer[kNotes] = setup_.latest_notes();
  answer[kSeconds] = setup_.context().clock->seconds();
  return answer;
}

/// In a worker.
Json JobParts::serve(const Json& request) {
  setup_.tell({.progress = tell_progress});
  const Part part{.name = request.at("name"), .shown = request.at("shown"), .request = request.at("request")};
  setup_.context().phases->begin(part.name, part.shown);
  return made(part);
}

bool JobParts::make(const std::vector<Part>& parts, const Take& take) {
  try {
    if (make_in_turn(parts, take)) return true;
  } catch (...) {
    workers_.reset();  // while the folder is locked: they write there
    throw;
  }
  workers_.reset();
  return false;
}

bool JobParts::make_in_turn(const std::vector<Part>& parts, const Take& take) {
  Answers answers;
  Phases& phases = *setup_.context().phases;
  std::vector<Phase> planned;
  for (const Part& part : parts) {
    answers.push_back(kept(part));
    planned.push_back({part.name, part.cost});
    if (!answers.back().is_null()) phases.skip_all(part.name);
  }
  phases.plan(planned);
  std::vector<size_t> waiting = in_turn(parts, answers);
  for (size_t taken = 0;;) {
    for (; taken < parts.size() && !answers[taken].is_null(); ++taken) {
      Json answer = std::exchange(answers[taken], nullptr);
      for (const auto& note : answer.at(kNotes)) setup_.note(note);
      answer.erase(kNotes);
      setup_.context().clock->at_least(answer.at(kSeconds));
      answer.erase(kSeconds);
      if (!take(taken, answer)) return false;
    }
    if (setup_.context().interrupted()) throw Interrupted{};
    if (taken == parts.size()) return true;
    if (!waiting.empty() && (workers_ == nullptr || workers_->any_idle())) {
      const size_t index = waiting.front();
      waiting.erase(waiting.begin());
      begin(parts, index, answers);
    } else {
      wait(parts, answers);
    }
    for (size_t i = taken; i < parts.size(); ++i) {  // nothing behind one without an outcome is of use
      if (!answers[i].is_null() && answers[i].contains(kFailed))
        std::erase_if(waiting, [&](size_t other) { return other > i; });
    }
  }
}

/// Those without an answer; the longest first where several are made, so that none is left over at the end.
std::vector<size_t> JobParts::in_turn(const std::vector<Part>& parts, const Answers& answers) const {
  std::vector<size_t> waiting;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (answers[i].is_null()) waiting.push_back(i);
  }
  if (workers_ != nullptr) {
    std::stable_sort(waiting.begin(), waiting.end(),
                     [&](size_t a, size_t b) { return parts[a].cost > parts[b].cost; });
  }
  return waiting;
}

void JobParts::begin(const std::vector<Part>& parts, size_t index, Answers& answers) {
  const Part& part = parts[index];
  if (workers_ != nullptr) {
    setup_.context().say(part.shown);
    workers_->start(static_cast<int64_t>(index), part.shown,
                    {{"name", part.name}, {"shown", part.shown}, {"request", part.request}});
    return;
  }
  setup_.context().begin(part.name, part.shown);
  answers[index] = made(part);
  keep(part, answers[index]);
}

void JobParts::wait(const std::vector<Part>& parts, Answers& answers) {
  const JobCallbacks& callbacks = setup_.context().callbacks;
  const auto name = [&](int64_t task) { return parts[static_cast<size_t>(task)].name; };
  Phases& phases = *setup_.context().phases;
  const auto told = [&](int64_t task, const Json& progress) {
    if (shown_ < 0) shown_ = task;
    phases.reach(name(task), progress_from(progress), task == shown_);
  };
  std::optional<Workers::Answer> answer = workers_->next(callbacks.interrupt, told);
  if (!answer) throw Interrupted{};
  if (answer->task == shown_) shown_ = -1;
  phases.done(name(answer->task));
  const auto index = static_cast<size_t>(answer->task);
  answers[index] = std::move(answer->result);
  keep(parts[index], answers[index]);
}

fs::path JobParts::file_of(const Part& part) const {
  return setup_.context().path(kPartsFolder) / (part.name + ".cbor");
}

void JobParts::keep(const Part& part, const Json& answer) const {
  if (answer.contains(kFailed)) return;
  const std::vector<uint8_t> bytes = Json::to_cbor(answer);
  const fs::path file = file_of(part);
  create_folder(file.parent_path().string());
  write_file_atomically(file.string(),
                        std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

Json JobParts::kept(const Part& part) const {
  const std::string file = file_of(part).string();
  if (!setup_.context().resume || !fs::exists(file)) return nullptr;
  return Json::from_cbor(read_file(file));
}

void JobParts::clear() {
  const fs::path folder = setup_.context().path(kPartsFolder);
  if (!fs::exists(folder)) return;
  for (const auto& entry : fs::directory_iterator(folder))
    fs::remove(entry.is_directory() ? entry.path() / "trace.jsonl" : entry.path());
  if (fs::is_empty(folder)) fs::remove(folder);
}

}  // namespace bilevel
