// Derivatives of the two losses against differences, at several points.
#pragma once

#include <vector>

#include "bilevel/check/session.h"

namespace bilevel {

class DerivativeTests {
 public:
  explicit DerivativeTests(Session& session) : s_(session) {}

  /// All of them; false when products with the Hessian of g are wrong somewhere. The first point is near
  /// (x, y*(x)).
  bool run(const std::vector<TestPoint>& points);

 private:
  /// The problem's own derivatives against autograd's.
  void own_derivatives(const TestPoint& point);
  void gradients(const TestPoint& point);
  void one_gradient(const TestPoint& point, bool of_x, const Block& block, bool upper,
                    const torch::Tensor& gradient);
  void zero_coordinates(const TestPoint& point, bool of_x, const Block& block, bool upper,
                        const torch::Tensor& gradient);
  void influence();
  void twice(const TestPoint& point);
  bool products(const TestPoint& point);
  bool compare(const TestPoint& point, const std::string& what, const std::vector<Block>& blocks,
               const torch::Tensor& found, const VectorDifferentiator& differences);
  void adjoint(const TestPoint& point, const torch::Tensor& jz, const torch::Tensor& z,
               const torch::Tensor& u, double step);
  void reach();
  Ruling derivative(Parameters& variable, const torch::Tensor& at, const torch::Tensor& d, bool upper,
                    double found, double overall);

  Session& s_;
  std::vector<std::string> detached_;
};

/// The points of these tests: one beside (x, `solution`), then `CheckOptions::points` with x moved away from the
/// start (inside the feasible set) and y from the solution. Points at which a loss is not finite are moved nearer, or
/// left out.
std::vector<TestPoint> test_points(Session& session, const torch::Tensor& solution);

}  // namespace bilevel
