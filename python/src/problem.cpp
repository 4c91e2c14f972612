// Problems whose losses are Python's.
#include "bilevel/problem/problem.h"

#include <fmt/format.h>

#include <numeric>

#include "bilevel/core/parameters.h"
#include "bind.h"

namespace bilevel::python {
namespace {

using Gathered = std::pair<std::vector<torch::Tensor>, std::optional<torch::Tensor>>;  // inputs, targets

/// The rows of a Python object: `gather` answers rows (int64 [rows]) with ([inputs], targets or None).
class PythonRows {
 public:
  explicit PythonRows(const py::function& gather) : gather_(gather) {}

  Gathered operator()(const Rows& rows) {
    const py::gil_scoped_acquire lock;
    if (rows == last_rows_) return last_;
    Gathered found = (*gather_)(torch::tensor(rows, torch::kInt64)).cast<Gathered>();
    const auto check = [&](const torch::Tensor& tensor, const char* what) {
      const int64_t count = tensor.dim() < 1 ? -1 : tensor.size(0);
      if (count != static_cast<int64_t>(rows.size())) {
        throw InputError(
            fmt::format("gather gave {} with first dimension {} for {} rows: every tensor of a batch has "
                        "one entry a row",
                        what, count, rows.size()));
      }
    };
    for (const torch::Tensor& input : found.first) check(input, "inputs");
    if (found.second) check(*found.second, "targets");
    last_rows_ = rows;
    return last_ = found;
  }

 private:
  Held gather_;
  Rows last_rows_;  // a batch asks for inputs and targets apart
  Gathered last_;
};

std::shared_ptr<const DataSet> data_set_of(const py::function& gather) {
  const auto rows = std::make_shared<PythonRows>(gather);
  const bool has_targets = (*rows)({0}).second.has_value();
  const auto data = std::make_shared<DataSet>();
  data->inputs = [rows](const Rows& which) { return (*rows)(which).first; };
  if (has_targets) data->targets = [rows](const Rows& which) { return (*rows)(which).second.value(); };
  return data;
}

/// 0, 1, ..., count - 1.
Rows counted(int64_t count) {
  Rows rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

BatchSource source(std::shared_ptr<const DataSet> data, int64_t count,
                   const std::optional<int64_t>& batch_size, bool with_replacement,
                   const std::vector<int64_t>& strata) {
  return {
      std::move(data),
      counted(count),
      {.batch_size = batch_size.value_or(std::max<int64_t>(count, 1)), .with_replacement = with_replacement},
      strata};
}

py::object inputs_of(const Batch& batch) {
  const std::vector<torch::Tensor>& inputs = batch.inputs();
  if (inputs.size() == 1) return py::cast(inputs[0]);
  return py::tuple(py::cast(inputs));
}

/// A function of a flat tensor whose answers are like it.
std::function<torch::Tensor(const torch::Tensor&)> alike_function(const py::object& callable,
                                                                  const std::string& who) {
  const auto answer = tensor_function<const torch::Tensor&>(callable, who);
  if (!answer) return nullptr;
  return [answer, who](const torch::Tensor& flat) { return alike(answer(flat), flat, who); };
}

Level level(const std::string& name, const std::vector<std::string>& names,
            const std::vector<torch::Tensor>& tensors, const py::object& loss, const py::object& feature_loss,
            const BatchSource& batches, const py::object& project) {
  Level made;
  made.parameters = ParameterList(tensors, names);
  made.loss = tensor_function<const Batch&>(loss, "the " + name + " loss");
  made.feature_loss =
      tensor_function<const torch::Tensor&, const Batch&>(feature_loss, "the " + name + " feature_loss");
  made.batches = batches;
  if (py::isinstance<py::dict>(project)) {
    made.project = each(made.parameters,
                        project.attr("items")().cast<std::vector<std::pair<std::string, Projection>>>());
  } else {
    made.project = alike_function(project, "what project gave");
  }
  return made;
}

}  // namespace

void bind_problem(py::module_& m) {
  py::class_<Batch>(m, "Batch", "Rows of a data set, gathered when a loss first reads them.")
      .def_property_readonly(
          "inputs", &inputs_of,
          "What a model reads: the tensor [rows, ...], or a tuple where there are several.")
      .def_property_readonly(
          "targets", &Batch::targets,
          "What it should give, with one entry a row. InputError where the data have none.")
      .def_property_readonly(
          "weights",
          [](const Batch& batch) {
            return batch.weights().defined() ? std::optional(batch.weights()) : std::nullopt;
          },
          "What each row counts in a mean over the batch, float64 [rows]; None: all the same. See "
          "weighted_mean.")
      .def_property_readonly("numbers", &Batch::numbers, "The numbers of the rows, int64 [rows].")
      .def_property_readonly("has_targets", &Batch::has_targets)
      .def("__len__", &Batch::size);

  py::class_<BatchSource>(m, "Source")
      .def_static("of_tensors",
                  [](const std::vector<torch::Tensor>& inputs, const std::optional<torch::Tensor>& targets,
                     const std::optional<int64_t>& batch_size, bool with_replacement,
                     const std::vector<int64_t>& strata) {
                    const auto data = data_set(inputs, targets.value_or(torch::Tensor()));
                    return source(data, inputs[0].size(0), batch_size, with_replacement, strata);
                  })
      .def_static("of_rows",
                  [](int64_t count, const py::function& gather, const std::optional<int64_t>& batch_size,
                     bool with_replacement, const std::vector<int64_t>& strata) {
                    if (count < 1) throw InputError("data without rows: a level needs at least one");
                    return source(data_set_of(gather), count, batch_size, with_replacement, strata);
                  })
      .def_static("of_iterator",
                  [](const py::function& next) {
                    return BatchSource([held = Held(next)] {
                      const py::gil_scoped_acquire lock;
                      auto [inputs, targets] = (*held)().cast<Gathered>();
                      const int64_t count = inputs.at(0).dim() < 1 ? 1 : inputs[0].size(0);
                      return Batch(std::move(inputs), targets.value_or(torch::Tensor()), counted(count));
                    });
                  })
      .def_static("nothing", &no_data);
  m.attr("default_batch_size") = SamplingOptions().batch_size;

  py::class_<Level>(m, "Level").def(py::init(&level));
  py::class_<Problem>(m, "Problem")
      .def(py::init([](const Level& upper, const Level& lower, const py::object& encode,
                       const py::object& lower_hessian) {
        return Problem{.upper = upper,
                       .lower = lower,
                       .encode = tensor_function<const Batch&>(encode, "encode"),
                       .lower_hessian = alike_function(lower_hessian, "what lower_hessian gave")};
      }));

  m.def("box", &box, py::arg("low"), py::arg("high"),
        "The projection on {x : low <= x_i <= high}. InputError unless low <= high.");
  m.def(
      "ball",
      [](double radius, const std::optional<torch::Tensor>& centre) {
        return ball(radius, centre.value_or(torch::Tensor()));
      },
      py::arg("radius"), py::arg("centre") = py::none(),
      "The projection on {x : ||x - centre|| <= radius}; centre None: the origin. InputError for a negative "
      "radius.");
  m.def("simplex", &simplex, py::arg("total") = 1.0,
        "The projection on {x : x_i >= 0, sum x_i = total}. InputError unless total > 0.");
  m.def("squared_norm", &squared_norm);
  m.def(
      "weighted_mean",
      [](const torch::Tensor& values, const std::optional<torch::Tensor>& weights) {
        return weighted_mean(values, weights.value_or(torch::Tensor()));
      },
      py::arg("values"), py::arg("weights") = py::none(),
      "mean_i(weights_i values_i), divided by the number of rows; the plain mean where weights is None. "
      "weighted_mean(losses, batch.weights) is unbiased where batches hold the classes in other shares than "
      "the data.");
}

}  // namespace bilevel::python
