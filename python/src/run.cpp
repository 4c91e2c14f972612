// Runs, whole or step by step.
#include "bilevel/solver/run.h"

#include "bind.h"
#include "solvers.h"

namespace bilevel::python {
namespace {

/// A run with everything that it needs.
class PythonRun {
 public:
  PythonRun(const Problem& problem, const SolverHandle& solver, RunOptions options,
            const py::object& callback)
      : problem_(problem), solver_(solver), options_(std::move(options)) {
    options_.interrupt = &interrupt_;
    options_.callback = [this, watch = Held(callback)](const MadeStep& made, Oracles&) {
      const py::gil_scoped_acquire lock;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (stepping_) row_ = made.row();
      return (*watch).is_none() || !(*watch)(made.row()).is(py::bool_(false));
    };
  }
  ~PythonRun() {
    const py::gil_scoped_release others;
    end();
  }
  PythonRun(const PythonRun&) = delete;
  PythonRun& operator=(const PythonRun&) = delete;

  /// What comes before step 1.
  void begin() {
    const at::AutoGradMode recording(true);
    run_ = std::make_unique<SteppedRun>(problem_, *solver_.solver, options_);
  }
  /// The next step's numbers; none where the run has ended.
  std::optional<TraceRow> step() {
    if (!run_) return std::nullopt;
    const at::AutoGradMode recording(true);
    stepping_ = true;
    row_ = {};
    return run_->step() ? std::optional(row_) : std::nullopt;
  }
  /// Makes all steps.
  void complete() {
    const at::AutoGradMode recording(true);
    while (run_->step()) {
    }
  }
  /// What it came to; gives the modules their tensors back.
  Result finish() {
    const at::AutoGradMode recording(true);
    if (!run_) throw std::logic_error("the run was given up, and came to nothing");
    Result result = run_->finish();
    end();
    return result;
  }
  void end() {
    solver_.end();
    run_.reset();
  }
  void interrupt() { interrupt_ = true; }

 private:
  Problem problem_;
  SolverHandle solver_;
  RunOptions options_;
  std::atomic<bool> interrupt_ = false;
  bool stepping_ = false;  // the rows are asked for
  TraceRow row_;
  std::unique_ptr<SteppedRun> run_;
};

/// Every count of a trace, by name.
void for_each_count(const OracleCounts& counts,
                    const std::function<void(const std::string&, int64_t)>& visit) {
  const Json calls = counts.to_json();
  for (const auto& [name, value] : calls.items()) visit(name, value.get<int64_t>());
  visit("upper_samples", counts.upper_samples);
  visit("lower_samples", counts.lower_samples);
}

py::dict columns_of(const std::vector<TraceRow>& trace) {
  py::dict columns;
  const auto column = [&](const char* name, auto TraceRow::*member) {
    py::list values(trace.size());
    for (size_t i = 0; i < trace.size(); ++i) values[i] = trace[i].*member;
    columns[name] = values;
  };
  column("step", &TraceRow::step);
  column("seconds", &TraceRow::seconds);
  column("upper_loss", &TraceRow::upper_loss);
  column("hypergradient_norm", &TraceRow::hypergradient_norm);
  column("linear_residual", &TraceRow::linear_residual);
  for_each_count({}, [&](const std::string& name, int64_t) { columns[py::str(name)] = py::list(); });
  for (const TraceRow& row : trace) {
    for_each_count(row.oracle_calls, [&](const std::string& name, int64_t value) {
      py::list(columns[py::str(name)]).append(value);
    });
  }
  return columns;
}

RunOptions run_options(const py::dict& given) {
  RunOptions options;
  const auto read = [&](const char* name, auto& value) {
    if (given.contains(name)) value = given[name].cast<std::decay_t<decltype(value)>>();
  };
  read("max_steps", options.max_steps);
  read("schedule_steps", options.schedule_steps);
  read("max_seconds", options.max_seconds);
  read("seed", options.seed);
  read("hypergradient_tolerance", options.hypergradient_tolerance);
  read("trace_every", options.trace_every);
  read("checkpoint_seconds", options.checkpoint_seconds);
  read("resume", options.resume);
  std::string checkpoint;
  read("checkpoint", checkpoint);
  options.checkpoint = checkpoint;
  bool warn = false;
  read("warn_unused_parameters", warn);
  if (warn) options.unused_parameters = UnusedParameters::warn;
  return options;
}

}  // namespace

void bind_run(py::module_& m) {
  py::class_<TraceRow>(m, "Report", "What is known after one step.")
      .def_readonly("step", &TraceRow::step, "From 1.")
      .def_readonly("seconds", &TraceRow::seconds, "Clock time of the run so far.")
      .def_readonly("upper_loss", &TraceRow::upper_loss, "F on the step's sample.")
      .def_readonly("hypergradient_norm", &TraceRow::hypergradient_norm,
                    "Euclidean norm of the step's estimate.")
      .def_readonly("linear_residual", &TraceRow::linear_residual,
                    "Residual norm of the linear system, as the method knows it.")
      .def_property_readonly(
          "oracle_calls",
          [](const TraceRow& row) {
            py::dict calls;
            for_each_count(row.oracle_calls,
                           [&](const std::string& name, int64_t value) { calls[py::str(name)] = value; });
            return calls;
          },
          "Oracle calls of the steps so far, by kind, and rows drawn.")
      .def("__repr__", [](const TraceRow& row) {
        return py::str("Report(step={}, seconds={:.3g}, upper_loss={:.6g}, hypergradient_norm={:.6g})")
            .format(row.step, row.seconds, row.upper_loss, row.hypergradient_norm);
      });

  py::class_<PythonRun>(m, "Run")
      .def(py::init([](const Problem& problem, const SolverHandle& solver, const py::dict& options,
                       const py::object& callback) {
        return std::make_unique<PythonRun>(problem, solver, run_options(options), callback);
      }))
      .def("begin", &PythonRun::begin, Release())
      .def("step", &PythonRun::step, Release())
      .def("complete", &PythonRun::complete, Release())
      .def("finish",
           [](PythonRun& run) {
             Result result;
             {
               const py::gil_scoped_release others;
               result = run.finish();
             }
             py::dict told = to_python(result.json());
             told["brief"] = result.brief();
             told["trace"] = columns_of(result.trace);
             return told;
           })
      .def("end", &PythonRun::end, Release())
      .def("interrupt", &PythonRun::interrupt);

  const RunOptions defaults;
  py::dict values;
  values["max_steps"] = defaults.max_steps;
  values["schedule_steps"] = defaults.schedule_steps;
  values["max_seconds"] = defaults.max_seconds;
  values["seed"] = defaults.seed;
  values["hypergradient_tolerance"] = defaults.hypergradient_tolerance;
  values["trace_every"] = defaults.trace_every;
  values["checkpoint_seconds"] = defaults.checkpoint_seconds;
  m.attr("run_defaults") = values;
}

}  // namespace bilevel::python
