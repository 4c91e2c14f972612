// The registry's solvers, and solvers written in Python.
#include "solvers.h"

#include <cxxabi.h>

#include "bilevel/solver/registry.h"
#include "bind.h"
#include "oracles.h"

namespace bilevel::python {
namespace {

/// A solver whose variables and steps are Python's.
class PythonSolver : public Solver {
 public:
  PythonSolver(std::string name, const py::object& self) : name_(std::move(name)), self_(self) {}

  std::string name() const override { return name_; }
  void fields(Fields&) override {}
  void start(Oracles& oracles, int64_t max_steps) override {
    view_ = std::make_unique<OraclesView>(oracles);
    const py::gil_scoped_acquire lock;
    (*self_).attr("start")(*view_, max_steps);
  }
  void warm_start(Oracles&) override {
    const py::gil_scoped_acquire lock;
    (*self_).attr("warm_start")(*view_);
  }
  StepReport step(Oracles&) override {
    const py::gil_scoped_acquire lock;
    const py::object report = (*self_).attr("step")(*view_);
    if (!py::isinstance<StepReport>(report)) {
      throw InputError("step of the solver " + name_ + " returned " +
                       std::string(py::str(py::type::of(report).attr("__name__"))) +
                       ": must be a StepReport");
    }
    return report.cast<StepReport>();
  }
  void state(State& state) override {
    const py::gil_scoped_acquire lock;
    std::map<std::string, torch::Tensor> variables;
    if (!state.loading())
      variables = (*self_).attr("state_dict")().cast<std::map<std::string, torch::Tensor>>();
    for (const std::string& name : state.names(variables)) state.tensor(name, variables[name]);
    if (state.loading()) (*self_).attr("load_state_dict")(variables);
  }
  void end() {
    if (view_) view_->end();
  }

 private:
  std::string name_;
  Held self_;
  std::unique_ptr<OraclesView> view_;
};

/// "AdamBO" of a bilevel::AdamBO.
std::string class_name(const Solver& solver) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> demangled(
      abi::__cxa_demangle(typeid(solver).name(), nullptr, nullptr, &status), std::free);
  const std::string full = demangled.get();
  return full.substr(full.rfind(':') + 1);
}

}  // namespace

void bind_solvers(py::module_& m) {
  py::class_<SolverHandle>(m, "Solver")
      .def_static("registered",
                  [](const std::string& name, const py::dict& options) {
                    std::shared_ptr<Solver> solver = make_solver(name);
                    const Fields fields = fields_of(*solver);
                    fields.from_json(from_python(options));
                    fields.validate();
                    return SolverHandle{std::move(solver)};
                  })
      .def_static("of_python",
                  [](const std::string& name, const py::object& self) {
                    const auto solver = std::make_shared<PythonSolver>(name, self);
                    return SolverHandle{solver, [solver] { solver->end(); }};
                  })
      .def("options",
           [](const SolverHandle& handle) { return to_python(fields_of(*handle.solver).to_json()); });

  m.def("solvers", [] {
    py::list all;
    for (const SolverEntry& entry : solver_registry()) {
      const std::unique_ptr<Solver> solver = entry.make();
      py::dict one;
      one["name"] = entry.name;
      one["class"] = class_name(*solver);
      one["summary"] = entry.summary;
      one["fields"] = describe(fields_of(*solver));
      all.append(one);
    }
    return all;
  });
}

}  // namespace bilevel::python
