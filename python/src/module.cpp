// bilevel._core: the library for the Python package around it.
#include <torch/csrc/Exceptions.h>

#include <sstream>

#include "bilevel/core/error.h"
#include "bind.h"

namespace bilevel::python {

torch::Tensor tensor_from(const py::object& answer, const std::string& who) {
  if (!THPVariable_Check(answer.ptr())) {
    throw InputError(who + " returned " + std::string(py::str(py::type::of(answer).attr("__name__"))) +
                     ": must be a tensor");
  }
  return THPVariable_Unpack(answer.ptr());
}

torch::Tensor alike(const torch::Tensor& found, const torch::Tensor& like, const std::string& who) {
  if (found.sizes() != like.sizes() || found.scalar_type() != like.scalar_type() ||
      found.device() != like.device()) {
    const auto words = [](const torch::Tensor& t) {
      std::ostringstream text;
      text << t.sizes() << " of " << t.dtype() << " on " << t.device();
      return text.str();
    };
    throw InputError(who + " has shape " + words(found) + ": must have " + words(like));
  }
  return found.detach().contiguous();
}

py::object to_python(const Json& json) {
  switch (json.type()) {
    case Json::value_t::object: {
      py::dict object;
      for (const auto& [key, value] : json.items()) object[py::str(key)] = to_python(value);
      return object;
    }
    case Json::value_t::array: {
      py::list list;
      for (const Json& value : json) list.append(to_python(value));
      return list;
    }
    case Json::value_t::string:
      return py::str(json.get<std::string>());
    case Json::value_t::boolean:
      return py::bool_(json.get<bool>());
    case Json::value_t::number_unsigned:
      return py::int_(json.get<uint64_t>());
    case Json::value_t::number_integer:
      return py::int_(json.get<int64_t>());
    case Json::value_t::number_float:
      return py::float_(json.get<double>());
    default:
      return py::none();
  }
}

Json from_python(const py::handle& object) {
  if (object.is_none()) return nullptr;
  if (py::isinstance<py::bool_>(object)) return object.cast<bool>();
  if (py::isinstance<py::int_>(object)) {
    const auto digits = std::string(py::str(object));
    if (!digits.empty() && digits[0] != '-' && digits.size() > 18) return object.cast<uint64_t>();
    return object.cast<int64_t>();
  }
  if (py::isinstance<py::str>(object)) return object.cast<std::string>();
  if (py::isinstance<py::dict>(object)) {
    Json json = Json::object();
    for (const auto& [key, value] : py::reinterpret_borrow<py::dict>(object))
      json[std::string(py::str(key))] = from_python(value);
    return json;
  }
  if (py::isinstance<py::list>(object) || py::isinstance<py::tuple>(object)) {
    Json json = Json::array();
    for (const py::handle& value : object) json.push_back(from_python(value));
    return json;
  }
  if (PyNumber_Check(object.ptr()) != 0)
    return py::float_(py::reinterpret_borrow<py::object>(object)).cast<double>();
  throw InputError(std::string(py::str(object)) +
                   ": must be a number, a text, true or false, or a list of these");
}

py::list describe(const Fields& fields) {
  py::list list;
  for (const Field& field : fields.list()) {
    py::dict one;
    one["name"] = field.name;
    one["type"] = field.type;
    one["meaning"] = field.meaning;
    one["rule"] = field.rule;
    one["default"] = to_python(Json(field.get()));
    list.append(one);
  }
  return list;
}

namespace {

/// Errors of the library as Python's: a caller's mistake is a ValueError, trouble with a file an OSError. An exception of a
/// Python function that autograd called comes out as it is.
void translate_errors(py::module_& m) {
  // Never dropped: the interpreter ends before the module's statics do.
  static const py::handle error = py::exception<Error>(m, "Error", PyExc_RuntimeError).release();
  const auto also = [&m](const char* name, PyObject* base) {
    return py::exception<Error>(m, name, py::make_tuple(error, py::handle(base)).ptr()).release();
  };
  static const py::handle input_error = also("InputError", PyExc_ValueError);
  static const py::handle file_error = also("FileError", PyExc_OSError);
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const InputError& mistake) {
      py::set_error(input_error, mistake.what());
    } catch (const FileError& trouble) {
      py::set_error(file_error, trouble.what());
    } catch (const Error& other) {
      py::set_error(error, other.what());
    } catch (python_error& raised) {
      raised.restore();
    } catch (const c10::Error&) {
      torch::translate_exception_to_python(thrown);
    }
  });
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  translate_errors(m);
  bind_problem(m);
  bind_oracles(m);
  bind_solvers(m);
  bind_run(m);
  bind_check(m);
  bind_known_problems(m);
}

}  // namespace bilevel::python
