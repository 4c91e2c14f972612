// What the parts of the Python module share: Python objects held by C++ ones, options and JSON.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/stl.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/types.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/fields.h"

namespace bilevel::python {

namespace py = pybind11;
using Json = nlohmann::ordered_json;

/// Lets other Python threads run while C++ works: around everything that evaluates a loss, since autograd must not be
/// called with the interpreter's lock, and whoever waits for another thread's loss must not hold it.
using Release = py::call_guard<py::gil_scoped_release>;

/// A Python object that C++ may copy and drop in any thread, with or without the interpreter's lock.
class Held {
 public:
  explicit Held(py::object object)
      : object_(new py::object(std::move(object)), [](py::object* last) {
          if (Py_IsInitialized() == 0) return;  // the interpreter took its objects along
          const py::gil_scoped_acquire lock;
          delete last;
        }) {}
  /// Needs the lock.
  const py::object& operator*() const { return *object_; }

 private:
  std::shared_ptr<py::object> object_;
};

/// The tensor that a callable answered. Throws InputError, naming the callable, for anything else.
torch::Tensor tensor_from(const py::object& answer, const std::string& who);

/// `found` without graph, contiguous. Throws InputError, naming `who`, unless its shape, dtype and device are those of `like`.
torch::Tensor alike(const torch::Tensor& found, const torch::Tensor& like, const std::string& who);

/// A C++ function that asks a Python one for a tensor; empty for None. `who` names it in messages.
template <typename... Arguments>
std::function<torch::Tensor(Arguments...)> tensor_function(const py::object& callable,
                                                           const std::string& who) {
  if (callable.is_none()) return nullptr;
  return [held = Held(callable), who](Arguments... arguments) {
    const py::gil_scoped_acquire lock;
    return tensor_from((*held)(arguments...), who);
  };
}

/// JSON as Python's dictionaries, lists, texts and numbers, and back. A number that is not known (null) is None.
py::object to_python(const Json& json);
Json from_python(const py::handle& object);

/// The fields as a list of {name, type, meaning, rule, default}.
py::list describe(const Fields& fields);

void bind_problem(py::module_& m);
void bind_oracles(py::module_& m);
void bind_solvers(py::module_& m);
void bind_run(py::module_& m);
void bind_check(py::module_& m);
void bind_known_problems(py::module_& m);

}  // namespace bilevel::python
