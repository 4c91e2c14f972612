// Problems whose answers are known.
#include "bilevel/task/known_problem.h"
#include "bind.h"

namespace bilevel::python {

void bind_known_problems(py::module_& m) {
  py::class_<KnownProblem>(m, "KnownProblem")
      .def(py::init([](const std::string& name, const py::dict& options, uint64_t seed) {
        std::unique_ptr<KnownProblem> made = make_known_problem(name);
        fields_of(*made).from_json(from_python(options));
        const py::gil_scoped_release others;
        made->build(seed);
        return made;
      }))
      .def("problem",
           [](const KnownProblem& known, double noise) { return with_noise(known.problem(), noise); })
      .def("options", [](KnownProblem& known) { return to_python(fields_of(known).to_json()); })
      .def_property_readonly("x", &KnownProblem::x)
      .def_property_readonly("y", &KnownProblem::y)
      .def("best_lower", &KnownProblem::best_lower, Release())
      .def("gradient", &KnownProblem::gradient, Release())
      .def("solution", [](const KnownProblem& known) {
        torch::Tensor found;
        {
          const py::gil_scoped_release others;
          found = known.solution();
        }
        return found.defined() ? std::optional(found) : std::nullopt;
      });

  m.def("known_problems", [] {
    py::list all;
    for (const KnownProblemEntry& entry : known_problem_registry()) {
      const std::unique_ptr<KnownProblem> known = entry.make();
      py::dict one;
      one["name"] = entry.name;
      one["summary"] = entry.summary;
      one["fields"] = describe(fields_of(*known));
      all.append(one);
    }
    return all;
  });
}

}  // namespace bilevel::python
