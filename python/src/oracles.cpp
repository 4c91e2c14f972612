#include "oracles.h"

#include "bilevel/solver/solver.h"
#include "bind.h"

namespace bilevel::python {
namespace {

/// One level of oracles that may have ended.
struct LevelView {
  OraclesView oracles;
  bool upper;

  LevelOracle& operator*() const { return upper ? oracles->upper() : oracles->lower(); }
  LevelOracle* operator->() const { return &**this; }
};

/// A level's variable, likewise.
struct VariableView {
  LevelView level;

  Parameters* operator->() const { return &level->variable(); }
};

/// A point, with the oracles that it is of.
struct PointView {
  OraclesView oracles;
  LossPoint point;

  torch::Tensor vector(const torch::Tensor& v) const { return alike(v, oracles->y().flat(), "v"); }
};

}  // namespace

void bind_oracles(py::module_& m) {
  py::class_<Sample>(m, "Sample", "One random draw: a batch, and the seed of the randomness inside the loss.")
      .def_readonly("batch", &Sample::batch)
      .def_readonly("model_seed", &Sample::model_seed);

  py::class_<PointView>(
      m, "Point",
      "A loss on a sample at the present (x, y): one forward pass, whose graph its derivatives share. "
      "RuntimeError after x or y has moved or the run has ended.")
      .def_property_readonly(
          "value", [](const PointView& at) { return at.point.value(); }, "The loss, a scalar without graph.")
      .def(
          "grad_y", [](PointView& at) { return at.point.grad_y(); }, Release(),
          "Its gradient in y, flat [dim y].")
      .def(
          "grad_x", [](PointView& at) { return at.point.grad_x(); }, Release(),
          "Its gradient in x, flat [dim x].")
      .def(
          "hvp", [](PointView& at, const torch::Tensor& v) { return at.point.hvp(at.vector(v)); },
          py::arg("v"), Release(), "(d2L/dy2) v, flat [dim y].")
      .def(
          "cross_vjp", [](PointView& at, const torch::Tensor& v) { return at.point.cross_vjp(at.vector(v)); },
          py::arg("v"), Release(), "(d2L/dxdy) v, flat [dim x].");

  py::class_<VariableView>(
      m, "Variable", "A level's variable as one flat tensor, of which the modules' parameters are views.")
      .def(
          "flat", [](const VariableView& v) { return v->flat().clone(); },
          "A copy of its values, flat [dim].")
      .def("__len__", [](const VariableView& v) { return v->size(); })
      .def(
          "assign",
          [](const VariableView& v, const torch::Tensor& values) {
            v->assign(alike(values, v->flat(), "values"));
          },
          py::arg("values"), "variable <- values, flat [dim].")
      .def(
          "add",
          [](const VariableView& v, const torch::Tensor& direction, double scale) {
            v->add(alike(direction, v->flat(), "direction"), scale);
          },
          py::arg("direction"), py::arg("scale") = 1.0, "variable <- variable + scale * direction.");

  py::class_<LevelView>(m, "LevelOracle",
                        "One level as solvers see it: its variable, its samples, its first derivatives.")
      .def_property_readonly("variable", [](const LevelView& level) { return VariableView{level}; })
      .def(
          "draw", [](const LevelView& level, const std::string& stream) { return level->draw(stream); },
          py::arg("stream"), Release(),
          "The next sample for the consumer called stream; streams of different names are independent.")
      .def(
          "all", [](const LevelView& level) { return level->all(); }, Release(),
          "All rows, without randomness inside the loss. Not counted.")
      .def(
          "value", [](const LevelView& level, const Sample& sample) { return level->value(sample); },
          py::arg("sample"), Release(), "The loss on a sample, a scalar without graph. Not counted.")
      .def(
          "point",
          [](const LevelView& level, const Sample& sample, bool lower_only) {
            return PointView{level.oracles,
                             level->point(sample, lower_only ? Graph::lower_only : Graph::both)};
          },
          py::arg("sample"), py::arg("lower_only") = false, Release(),
          "One forward pass; with lower_only none through x is recorded, and the point has no derivative in "
          "x.")
      .def(
          "gradient_in_y",
          [](const LevelView& level, const Sample& sample) { return level->gradient_in_y(sample); },
          py::arg("sample"), Release(), "The loss's gradient in y alone, flat [dim y].")
      .def(
          "gradient",
          [](const LevelView& level, const Sample& sample) {
            const JointGradient found = level->gradient(sample);
            return std::make_tuple(found.value, found.x, found.y);
          },
          py::arg("sample"), Release(), "(loss, gradient in x, gradient in y) from one backward pass.")
      .def(
          "move",
          [](const LevelView& level, const torch::Tensor& direction, double scale) {
            level->move(alike(direction, level->variable().flat(), "direction"), scale);
          },
          py::arg("direction"), py::arg("scale") = 1.0, Release(),
          "variable <- variable + scale * direction, then the projection: the only way in which a solver may "
          "move x.");

  py::class_<OraclesView>(
      m, "Oracles",
      "A problem bound to flat variables, random streams and counters: what a solver sees. "
      "RuntimeError after the run has ended.")
      .def_property_readonly("upper",
                             [](const OraclesView& o) {
                               return LevelView{o, true};
                             })
      .def_property_readonly("lower",
                             [](const OraclesView& o) {
                               return LevelView{o, false};
                             })
      .def_property_readonly("x",
                             [](const OraclesView& o) {
                               return VariableView{{o, true}};
                             })
      .def_property_readonly("y",
                             [](const OraclesView& o) {
                               return VariableView{{o, false}};
                             })
      .def(
          "points",
          [](const OraclesView& o, const Sample& upper, const Sample& lower) {
            auto [first, second] = o->points(upper, lower);
            return std::make_pair(PointView{o, std::move(first)}, PointView{o, std::move(second)});
          },
          py::arg("upper"), py::arg("lower"), Release(),
          "A point of each level; with an encoder the two batches are encoded together.")
      .def(
          "hypergradient",
          [](const OraclesView& o, PointView& upper, PointView& lower, const torch::Tensor& z) {
            return o->hypergradient(upper.point, lower.point, alike(z, o->y().flat(), "z"));
          },
          py::arg("upper"), py::arg("lower"), py::arg("z"), Release(),
          "grad_x F - (d2G/dxdy) z from one backward pass, flat [dim x]. Frees the graphs of both points.")
      .def(
          "hypergradient_and_residual",
          [](const OraclesView& o, PointView& upper, PointView& lower, const torch::Tensor& z) {
            const LinearStep step =
                o->hypergradient_and_residual(upper.point, lower.point, alike(z, o->y().flat(), "z"));
            return std::make_pair(step.hypergradient, step.residual);
          },
          py::arg("upper"), py::arg("lower"), py::arg("z"), Release(),
          "The same and (d2G/dy2) z - grad_y F, still from one backward pass.")
      .def(
          "full_losses", [](const OraclesView& o) { return o->full_losses(); }, Release(),
          "(f, g) on all rows of their levels.")
      .def(
          "generator",
          [](const OraclesView& o, const std::string& name) { return o->streams().stream(name); },
          py::arg("name"), "The run's torch.Generator of that name, a part of its checkpoints.");

  py::class_<StepReport>(m, "StepReport", "What a step tells about itself.")
      .def(
          py::init([](const torch::Tensor& upper_loss, const torch::Tensor& hypergradient,
                      const std::optional<torch::Tensor>& linear_residual, const std::string& failure) {
            return StepReport{.upper_loss = upper_loss.detach(),
                              .hypergradient = hypergradient.detach(),
                              .linear_residual = linear_residual.value_or(torch::Tensor()),
                              .failure = failure};
          }),
          py::arg("upper_loss"), py::arg("hypergradient"), py::arg("linear_residual") = py::none(),
          py::arg("failure") = "",
          "upper_loss: F on the step's sample, a scalar; hypergradient: the estimate, flat [dim x]; "
          "linear_residual: of the "
          "linear system or its norm; failure: not empty where the linear solve failed and x was not moved.");
}

}  // namespace bilevel::python
