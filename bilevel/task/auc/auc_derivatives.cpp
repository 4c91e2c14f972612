#include "bilevel/task/auc/auc_derivatives.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"

namespace bilevel {
namespace {

constexpr int64_t kOutsideOfRows = 3;  // numbers of x behind W: c, a, b

/// What a run keeps.
template <typename T>
struct LinearAuc : Derivatives {
  explicit LinearAuc(const LinearAucLoss& of) : loss(of), labels(of.labels.to(of.rows.dtype()).contiguous()) {
    if (labels.dim() != 1 || labels.numel() != loss.rows.count())
      throw InputError(
          fmt::format("an AUC loss of {} rows has {} labels", loss.rows.count(), labels.numel()));
  }
  std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                       const torch::Tensor& y) override;

  const LinearAucLoss loss;
  const torch::Tensor labels;
};

/// Numbers that begin at a multiple of 64 bytes, as `DesignRows` wants columns.
template <typename T>
class AlignedNumbers {
 public:
  explicit AlignedNumbers(int64_t size)
      : memory_(static_cast<size_t>(size) + 64 / sizeof(T)), data_(memory_.data()) {
    while (reinterpret_cast<uintptr_t>(data_) % 64 != 0) ++data_;
  }
  T* data() { return data_; }

 private:
  std::vector<T> memory_;
  T* data_;
};

/// A = sum_i n_i [1+ (1-rho) (s-a)^2 + 1- rho (s-b)^2] + 2 M (sum_i n_i q_i s_i + c) - rho (1-rho) alpha^2 with n_i what row i
/// counts, q = 1- rho - 1+ (1-rho), M = alpha or 1 + alpha and c = 0 or rho (1-rho) m by form.
template <typename T>
class LinearAucPoint : public PointDerivatives {
 public:
  LinearAucPoint(const LinearAuc<T>& level, const Batch& batch, const torch::Tensor& x,
                 const torch::Tensor& y)
      : l_(level.loss),
        rho_(l_.loss.positive_share),
        width_(l_.rows.width()),
        batch_(batch),
        x_(x.contiguous()),
        at_x_(x_.const_data_ptr<T>()),
        alpha_(static_cast<double>(*y.const_data_ptr<T>())),
        multiplier_(l_.loss.form == "libauc" ? alpha_ : 1 + alpha_),
        a_(static_cast<double>(at_x_[width_ + 1])),
        b_(static_cast<double>(at_x_[width_ + 2])) {
    const T* label = level.labels.template const_data_ptr<T>();
    const torch::Tensor weights =
        batch.weights().defined() ? batch.weights().to(torch::kFloat64).contiguous() : torch::Tensor();
    const double* weight = weights.defined() ? weights.const_data_ptr<double>() : nullptr;
    const double share = 1 / static_cast<double>(batch.size());
    for (int64_t i = 0; i < batch.size(); ++i) {
      const int64_t row = batch.rows()[static_cast<size_t>(i)];
      if (row < 0 || row >= l_.rows.count())
        throw InputError(fmt::format("row {}: an AUC loss has {} rows", row, l_.rows.count()));
      rows_.push_back(
          {.positive = label[row] > T{0.5}, .share = weight != nullptr ? share * weight[i] : share});
    }
    score();
  }

  double value() override {
    double sum = 0, q = 0;
    for (const Row& row : rows_) {
      sum += row.share * part(row) * distance(row) * distance(row);
      q += row.share * ranking(row) * row.score;
    }
    sum += 2 * multiplier_ * (q + constant()) - rho_ * (1 - rho_) * alpha_ * alpha_;
    if (l_.strength == 0) return l_.sign * sum;
    const torch::Tensor w = x_.narrow(0, 0, width_);
    return l_.sign * sum + l_.strength * w.dot(w).template item<double>();
  }

  void gradient(const Into& x, const Into& y) override {
    double q = 0, in_a = 0, in_b = 0;
    for (Row& row : rows_) {
      const double in_score = 2 * part(row) * distance(row);
      (row.positive ? in_a : in_b) -= row.share * in_score;
      q += row.share * ranking(row) * row.score;
      row.factor = row.share * row.slope * (in_score + 2 * multiplier_ * ranking(row));
    }
    if (y.out != nullptr) add(y, 0, l_.sign * (2 * (q + constant()) - 2 * rho_ * (1 - rho_) * alpha_));
    if (x.out == nullptr) return;
    add_rows(x, l_.sign);
    add(x, width_ + 1, l_.sign * in_a);
    add(x, width_ + 2, l_.sign * in_b);
    T* out = x.out->data_ptr<T>();
    const T twice = static_cast<T>(2 * x.scale * l_.strength);
    for (int64_t j = 0; l_.strength > 0 && j < width_; ++j) out[j] += twice * at_x_[j];
  }

  void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) override {
    const auto along = static_cast<double>(*v.const_data_ptr<T>());
    if (hvp.out != nullptr) add(hvp, 0, -2 * l_.sign * rho_ * (1 - rho_) * along);
    if (cross_vjp.out == nullptr) return;
    for (Row& row : rows_) row.factor = 2 * row.share * row.slope * ranking(row);
    add_rows(cross_vjp, l_.sign * along);
  }

 private:
  struct Row {
    bool positive;
    double share;                 // n_i
    double score = 0, slope = 0;  // s, ds/du
    double factor = 0;            // what the row is multiplied by next
  };
  double part(const Row& row) const { return row.positive ? 1 - rho_ : rho_; }
  double ranking(const Row& row) const { return row.positive ? rho_ - 1 : rho_; }
  double distance(const Row& row) const { return row.score - (row.positive ? a_ : b_); }
  double constant() const { return l_.loss.form == "ppd" ? 0 : rho_ * (1 - rho_) * l_.loss.margin; }
  RowSpan span() const {
    const Rows& rows = batch_.rows();
    return {rows.data(), batch_.size(), rows.data() + rows.size()};
  }

  void score() {
    std::vector<T> outputs(rows_.size());
    if (l_.rows.pads(1)) {
      AlignedNumbers<T> padded(l_.rows.padded(1));
      std::copy_n(at_x_, width_, padded.data());
      l_.rows.multiply(span(), padded.data(), 1, outputs.data());
    } else {
      l_.rows.multiply(span(), at_x_, 1, outputs.data());
    }
    for (size_t i = 0; i < rows_.size(); ++i) {
      const auto u = static_cast<double>(outputs[i] + at_x_[width_]);
      const double root = std::sqrt(1 + u * u);
      rows_[i].score = u / root;
      rows_[i].slope = 1 / (root * root * root);
    }
  }
  static void add(const Into& into, int64_t j, double derivative) {
    into.out->data_ptr<T>()[j] += static_cast<T>(into.scale * derivative);
  }
  /// The rows times their factors, in W and c.
  void add_rows(const Into& into, double scale) {
    std::vector<T> factors;
    double sum = 0;
    for (const Row& row : rows_) {
      factors.push_back(static_cast<T>(into.scale * scale * row.factor));
      sum += row.factor;
    }
    T* out = into.out->data_ptr<T>();
    if (l_.rows.pads(1)) {
      AlignedNumbers<T> padded(l_.rows.padded(1));
      l_.rows.add_transposed(span(), factors.data(), 1, padded.data());
      for (int64_t j = 0; j < width_; ++j) out[j] += padded.data()[j];
    } else {
      l_.rows.add_transposed(span(), factors.data(), 1, out);
    }
    add(into, width_, scale * sum);
  }

  const LinearAucLoss& l_;
  const double rho_;
  const int64_t width_;
  const Batch batch_;
  const torch::Tensor x_;
  const T* at_x_;
  const double alpha_, multiplier_, a_, b_;
  std::vector<Row> rows_;
};

template <typename T>
std::unique_ptr<PointDerivatives> LinearAuc<T>::at(const Batch& batch, const torch::Tensor& x,
                                                   const torch::Tensor& y) {
  if (x.numel() != loss.rows.width() + kOutsideOfRows || y.numel() != 1) {
    throw InputError(fmt::format("x and y have {} and {} numbers, but this AUC loss takes {} and 1",
                                 x.numel(), y.numel(), loss.rows.width() + kOutsideOfRows));
  }
  if (batch.size() == 0) throw InputError("an AUC loss of no rows");
  return std::make_unique<LinearAucPoint<T>>(*this, batch, x, y);
}

}  // namespace

std::function<std::unique_ptr<Derivatives>()> derivatives_of(const LinearAucLoss& loss) {
  return [loss]() -> std::unique_ptr<Derivatives> {
    if (loss.rows.dtype() == torch::kFloat32) return std::make_unique<LinearAuc<float>>(loss);
    return std::make_unique<LinearAuc<double>>(loss);
  };
}

}  // namespace bilevel
