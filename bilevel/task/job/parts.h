// The independent parts of a job's work, made one after another or several at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/workers.h"
#include "bilevel/task/job/job_run.h"

namespace bilevel {

/// Ends a job's work where it was interrupted; the message is for a person.
struct Interrupted {
  std::string message = "interrupted";
};

/// How a job's work is done, which changes nothing of what it comes to: none of its options.
struct PartsOptions {
  std::optional<int64_t> jobs;

  void fields(Fields& fields);
};

/// What the command of a job takes.
struct JobFlags {
  explicit JobFlags(const JobEntry& entry) : job(entry.make()), in_parts(entry.in_parts) {}

  std::unique_ptr<Job> job;
  bool in_parts;
  PartsOptions work;  ///< of a job with parts

  void fields(Fields& fields);
};

/// A part of a job's work: it needs nothing of the others that are made with it.
struct Part {
  std::string name;                ///< unique within the job, without '/'
  std::string shown;               ///< for a person
  nlohmann::ordered_json request;  ///< what the job makes the part from
  double cost = 1;                 ///< beside the others and the job's phases, about
};

/// What a part comes to; the same for the same request, in any process that has the setup. `answer_of` where it has passes.
/// Throws Interrupted where that was asked for.
using PartWork = std::function<nlohmann::ordered_json(const Part& part)>;

/// The answer {"passes"} of a part's passes, for `Passes::adopt`; throws Interrupted when they were interrupted.
nlohmann::ordered_json answer_of(Passes& passes);

/// Makes parts of a job, by itself or in workers that are copies of its process with its setup. Answers are kept in files
/// of the job's folder, so that a job that is resumed makes those alone that had not ended; passes of a part have a
/// checkpoint of their own (`JobContext::passes`). Neither answers nor files depend on the number of workers.
class JobParts {
 public:
  static constexpr const char* kFailed =
      "failed";  ///< in an answer: nothing that comes after it is of use; it is not kept
  using Take = std::function<bool(size_t index, const nlohmann::ordered_json& answer)>;

  /// With more than one part at a time (`JobContext::jobs`, at most `most`) copies the process, which must not have used
  /// autograd; says how many. Throws InputError and Error.
  JobParts(JobSetup& setup, PartWork work, int64_t most);

  /// How many parts are made side by side: what a phase of the job that is no part costs so many times as much beside them.
  double side_by_side() const { return workers_ ? static_cast<double>(workers_->count()) : 1; }

  /// Makes the parts, each a phase of the job by its name and cost, and hands their answers to `take`, in order. `take` returns false for one after which nothing of the
  /// others is of use; then it returns false at once. Throws what the work does, Interrupted, and WorkerError for a worker
  /// that is killed: then what had ended is kept.
  bool make(const std::vector<Part>& parts, const Take& take);

  /// Removes the answers, of a job that has finished; the checkpoints of passes stay.
  void clear();

 private:
  using Answers = std::vector<nlohmann::ordered_json>;  // null: none yet

  bool make_in_turn(const std::vector<Part>& parts, const Take& take);
  int64_t at_a_time(int64_t most) const;
  std::vector<size_t> in_turn(const std::vector<Part>& parts, const Answers& answers) const;
  nlohmann::ordered_json made(const Part& part);
  nlohmann::ordered_json serve(const nlohmann::ordered_json& request);
  void begin(const std::vector<Part>& parts, size_t index, Answers& answers);
  void wait(const std::vector<Part>& parts, Answers& answers);
  void keep(const Part& part, const nlohmann::ordered_json& answer) const;
  nlohmann::ordered_json kept(const Part& part) const;
  std::filesystem::path file_of(const Part& part) const;

  JobSetup& setup_;
  PartWork work_;
  std::unique_ptr<Workers> workers_;
  int64_t shown_ = -1;  // of the parts at work the one whose progress a person sees
};

/// A job with parts: `work` makes what makes them of a setup.
template <typename Options, typename Setup>
class JobInParts : public JobOf<Options, Setup> {
 public:
  JobInParts(JobResult (*run_job)(Setup& setup, JobParts& parts), PartWork (*work)(Setup& setup),
             int64_t most)
      : JobOf<Options, Setup>(nullptr), run_in_parts_(run_job), work_(work), most_(most) {}

  JobResult run(const JobContext& context) override {
    Setup setup(this->options_, context);
    JobParts parts(setup, work_(setup), most_);
    JobResult result = run_in_parts_(setup, parts);
    if (result.finished) parts.clear();
    return result;
  }

 private:
  JobResult (*run_in_parts_)(Setup& setup, JobParts& parts);
  PartWork (*work_)(Setup& setup);
  int64_t most_;
};

}  // namespace bilevel
