// Checks of problems, estimates of hypergradients, linear systems.
#include "bilevel/check/check.h"

#include "bilevel/hypergrad/estimator.h"
#include "bilevel/linear/linear_solver.h"
#include "bind.h"

namespace bilevel::python {
namespace {

/// A hypergradient that somebody else has computed, at the point where it is checked.
class Candidate : public Estimator {
 public:
  explicit Candidate(torch::Tensor value) : value_(std::move(value)) {}
  std::string name() const override { return "candidate"; }
  void fields(Fields&) override {}
  int64_t memory_bytes(int64_t, int64_t) const override { return 0; }
  Estimate estimate(Oracles& oracles, const Sample&, const Sample&) const override {
    return EstimateScope(oracles).finish(value_, torch::zeros({}, value_.options()), false, "");
  }

 private:
  torch::Tensor value_;
};

py::dict check_problem(const Problem& problem, const py::dict& given,
                       const std::vector<std::string>& estimators,
                       const std::optional<torch::Tensor>& candidate) {
  CheckOptions options;
  fields_of(options).from_json(from_python(given));
  options.estimators = estimators;
  if (candidate) {
    options.own = {{.name = "candidate",
                    .summary = "a hypergradient of another library",
                    .make = [value = *candidate] { return std::make_unique<Candidate>(value); }}};
    options.estimators = {"candidate"};
  }
  CheckReport report;
  {
    const py::gil_scoped_release others;
    const at::AutoGradMode recording(true);
    report = check(problem, options);
  }
  py::dict told;
  told["ok"] = report.ok;
  told["text"] = report.table();
  told["data"] = to_python(report.to_json());
  return told;
}

py::dict estimate(const Problem& problem, const std::string& method, const py::dict& given, uint64_t seed) {
  const std::unique_ptr<Estimator> estimator = make_estimator(method);
  const Fields fields = fields_of(*estimator);
  fields.from_json(from_python(given));
  fields.validate();
  Estimate found;
  {
    const py::gil_scoped_release others;
    const at::AutoGradMode recording(true);
    Oracles oracles(problem, seed);
    oracles.probe(UnusedParameters::error);
    found = estimator->estimate(oracles, oracles.upper().all(), oracles.lower().all());
  }
  py::dict told;
  told["value"] = found.value;
  told["residual"] = found.residual.defined() ? found.residual.item<double>() : 0.0;
  told["failed"] = found.failed;
  told["message"] = found.message;
  told["oracle_calls"] = to_python(found.cost.to_json());
  return told;
}

/// Throws InputError for an unknown option, an impossible value or an unknown solver.
LinearSolverOptions linear_options(const py::dict& given) {
  LinearSolverOptions options;
  const Fields fields = fields_of(options);
  fields.from_json(from_python(given));
  fields.validate();
  linear_solver_registry().at(options.linear_solver);
  return options;
}

py::dict solve(const py::function& hessian, const torch::Tensor& b, const py::dict& given) {
  const LinearSolverOptions options = linear_options(given);
  const LinearOperator product = tensor_function<const torch::Tensor&>(hessian, "the Hessian's product");
  LinearSolution found;
  {
    const py::gil_scoped_release others;
    found = solve_linear(product, b, options);
  }
  py::dict told;
  told["z"] = found.z;
  told["failed"] = found.failed;
  told["message"] = found.message;
  return told;
}

}  // namespace

void bind_check(py::module_& m) {
  m.def("check", &check_problem);
  m.def("hypergradient", &estimate);
  m.def("solve_linear", &solve);
  m.def("check_linear_options", [](const py::dict& given) { linear_options(given); });
  CheckOptions check_options;
  m.attr("check_fields") = describe(fields_of(check_options));
  py::dict estimators;
  for (const EstimatorEntry& entry : estimator_registry()) {
    py::dict one;
    one["summary"] = entry.summary;
    const std::unique_ptr<Estimator> estimator = entry.make();
    one["fields"] = describe(fields_of(*estimator));
    estimators[py::str(entry.name)] = one;
  }
  m.attr("estimators") = estimators;
}

}  // namespace bilevel::python
