#include "bilevel/glm/linear_loss.h"

#include <ATen/ops/cross_entropy_loss.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bilevel/core/clones.h"
#include "bilevel/core/error.h"
#include "bilevel/glm/functions.h"

namespace bilevel {
namespace {

/// out_j += a_j + scale s_j v_j, where there are strengths s.
template <typename T>
BILEVEL_INLINE void finish_loop(const T* a, const T* s, T scale, const T* v, T* __restrict out, int64_t n) {
  if (s == nullptr) {
    for (int64_t j = 0; j < n; ++j) out[j] += a[j];
  } else {
    for (int64_t j = 0; j < n; ++j) out[j] += a[j] + scale * s[j] * v[j];
  }
}
BILEVEL_CLONES void finish(const float* a, const float* s, float scale, const float* v, float* out,
                           int64_t n) {
  finish_loop(a, s, scale, v, out, n);
}
BILEVEL_CLONES void finish(const double* a, const double* s, double scale, const double* v, double* out,
                           int64_t n) {
  finish_loop(a, s, scale, v, out, n);
}

/// Memory that the points of a run use one after the other.
template <typename T>
class Buffers {
 public:
  std::vector<T> take() {
    if (spare_.empty()) return {};
    std::vector<T> buffer = std::move(spare_.back());
    spare_.pop_back();
    return buffer;
  }
  void give(std::vector<T> buffer) { spare_.push_back(std::move(buffer)); }

 private:
  std::vector<std::vector<T>> spare_;
};

/// What a run keeps: the targets in its dtype, and the strengths of the last x.
template <typename T>
class LinearDerivatives : public Derivatives {
 public:
  explicit LinearDerivatives(const LinearLoss& of)
      : loss(checked(of)), pairs(loss.loss == RowLoss::softmax && loss.outputs == 2) {
    if (loss.unit_of.defined()) {
      unit_of = loss.unit_of.const_data_ptr<int64_t>();
      next_units = loss.unit_of.dim() == 2 ? loss.rows.count() : 0;
    }
    if (loss.row_weights.defined()) {
      row_weights = loss.row_weights.const_data_ptr<T>();
      next_weights = loss.row_weights.dim() == 2 ? loss.rows.count() : 0;
    }
    if (loss.centre.defined()) centre = loss.centre.const_data_ptr<T>();
    if (loss.strength_of.defined()) {
      strength_of = loss.strength_of.const_data_ptr<int64_t>();
      most_strength_ = loss.strength_of.max().item<int64_t>();
    }
    if (loss.strength_factor.defined()) factor_of = loss.strength_factor.const_data_ptr<T>();
    targets = loss.targets.const_data_ptr<T>();
    constant_ = std::make_shared<Strengths>(
        Strengths{.x = {},
                  .exp_x = {},
                  .s = std::vector<T>(static_cast<size_t>(loss.size()), static_cast<T>(loss.strength))});
  }
  std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                       const torch::Tensor& y) override;

  /// s_j at x, and exp(x): kept until x is another.
  struct Strengths {
    std::vector<T> x, exp_x, s;
  };
  /// Null: all are zero.
  std::shared_ptr<const Strengths> strengths(const torch::Tensor& x) {
    if (strength_of == nullptr) return loss.strength != 0 ? constant_ : nullptr;
    const auto size = static_cast<size_t>(x.numel());
    const T* value = x.const_data_ptr<T>();
    if (last_ && last_->x.size() == size && std::memcmp(last_->x.data(), value, size * sizeof(T)) == 0)
      return last_;
    auto made = std::make_shared<Strengths>(*constant_);  // earlier points keep theirs
    made->x.assign(value, value + size);
    made->exp_x.resize(size);
    for (size_t u = 0; u < size; ++u) made->exp_x[u] = std::exp(value[u]);
    for (size_t j = 0; j < made->s.size(); ++j) {
      if (strength_of[j] >= 0) made->s[j] += factor(j) * made->exp_x[static_cast<size_t>(strength_of[j])];
    }
    return last_ = made;
  }

  /// Of the learned strength of y_j.
  T factor(size_t j) const { return factor_of != nullptr ? factor_of[j] : T{1}; }

  const LinearLoss loss;
  /// A softmax of two outputs is the logistic loss of their difference: rows are multiplied with half of the columns.
  const bool pairs;
  const int64_t *unit_of = nullptr, *strength_of = nullptr;        // null: none
  const T *targets, *row_weights = nullptr, *factor_of = nullptr;  // null: ones
  const T* centre = nullptr;                                       // null: x has no prior
  int64_t next_units = 0, next_weights = 0;                        // from those of a model to the next one's
  const std::shared_ptr<Buffers<T>> buffers = std::make_shared<Buffers<T>>();

 private:
  /// With its tensors as the loops read them.
  static LinearLoss checked(LinearLoss of) {
    const auto refuse = [](const std::string& what) { throw InputError("a linear loss: " + what); };
    if (of.outputs < 1 || (of.outputs != 1 && of.loss != RowLoss::softmax))
      refuse(fmt::format("{} outputs with {}", of.outputs, name_of(of.loss)));
    if (of.models < 1) refuse(fmt::format("{} models", of.models));
    const auto needs = [&](torch::Tensor& t, int64_t count, const char* name, torch::ScalarType type,
                           bool of_models = false) {
      const bool each = of_models && t.dim() == 2 && t.size(0) == of.models;
      if (!(t.dim() == 1 || each) || t.size(-1) != count || !t.is_cpu())
        refuse(fmt::format("{} must be {} numbers on the CPU, one after the other{}", name, count,
                           of_models ? ", or a row of them for each model" : ""));
      t = t.detach().to(type).contiguous();
    };
    const torch::ScalarType type = torch::CppTypeToScalarType<T>::value;
    if (!of.targets.defined()) refuse("it has no targets");
    needs(of.targets, of.rows.count(), "targets", type);
    if (of.row_weights.defined()) needs(of.row_weights, of.rows.count(), "row_weights", type, true);
    if (of.unit_of.defined()) needs(of.unit_of, of.rows.count(), "unit_of", torch::kInt64, true);
    if (of.strength_of.defined()) needs(of.strength_of, of.size(), "strength_of", torch::kInt64);
    if (of.strength_factor.defined()) needs(of.strength_factor, of.size(), "strength_factor", type);
    if (of.centre.defined()) needs(of.centre, of.centre.numel(), "centre", type);
    return of;
  }

  int64_t most_strength_ = -1;
  std::shared_ptr<const Strengths> constant_, last_;
};

template <typename T>
class LinearPoint : public PointDerivatives {
 public:
  LinearPoint(LinearDerivatives<T>& level, const Batch& batch, const torch::Tensor& x, const torch::Tensor& y)
      : level_(level),
        rows_of_(level.loss.rows),
        pairs_(level.pairs),
        loss_(pairs_ ? RowLoss::logistic : level.loss.loss),
        batch_(batch),
        numbers_(batch.rows().data()),
        count_(batch.size()),
        models_(level.loss.models),
        k_(pairs_ ? 1 : level.loss.outputs),
        all_(models_ * k_),
        columns_(level.loss.rows.width() * all_),
        at_x_(x.contiguous()),
        at_y_(y.contiguous()),
        x_(at_x_.const_data_ptr<T>()),
        y_(at_y_.const_data_ptr<T>()),
        kept_(level.strengths(at_x_)),
        strengths_(kept_ ? kept_->s.data() : nullptr),
        buffers_(level.buffers),
        memory_(buffers_->take()) {
    divide_memory();
    torch::Tensor weights = batch.weights();
    if (weights.defined()) weights = weights.to(torch::kFloat64).contiguous();
    if (weights.defined() && weights.numel() != count_)
      throw InputError(fmt::format("a batch of {} rows has {} weights", count_, weights.numel()));
    const double* weight = weights.defined() ? weights.const_data_ptr<double>() : nullptr;
    const T share = T{1} / static_cast<T>(count_);
    for (int64_t i = 0; i < count_; ++i) check_row(i, x.numel());
    by_models(0, count_, [&](int64_t i, int64_t m, int64_t at) {
      target_[at] = level.targets[numbers_[i]];
      if (pairs_) target_[at] = 2 * target_[at] - 1;
      share_[at] = weight != nullptr ? static_cast<T>(weight[i]) * share : share;
      if (level.row_weights != nullptr) share_[at] *= level.row_weights[m * level.next_weights + numbers_[i]];
      factor_[at] = share_[at];
      if (const int64_t u = unit(i, m); u >= 0) factor_[at] *= weight_of(x_[u]);
    });
    row_y_ = of_rows(y_, differences_);
    column_y_ = column(row_y_, padded_y_);
  }
  ~LinearPoint() override { buffers_->give(std::move(memory_)); }

  double value() override {
    double sum = 0;
    by_blocks([&](int64_t begin, int64_t end) {
      outputs(begin, end);
      losses(begin, end);
      for (int64_t at = begin * models_; at < end * models_; ++at)
        sum += static_cast<double>(factor_[at] * scaled_[at]);
    });
    has_outputs_ = true;
    for (int64_t j = 0; strengths_ != nullptr && j < size(); ++j)
      sum += static_cast<double>(strengths_[j] * y_[j] * y_[j] / 2);
    for (int64_t u = 0; level_.centre != nullptr && u < at_x_.numel(); ++u) {
      const auto off = static_cast<double>(x_[u] - level_.centre[u]);
      sum += level_.loss.precision / 2 * off * off;
    }
    return sum;
  }

  void gradient(const Into& x, const Into& y) override {
    const T scale_x = static_cast<T>(x.scale), scale_y = static_cast<T>(y.scale);
    T* in_x = x.out != nullptr ? x.out->data_ptr<T>() : nullptr;
    T* in_y = y.out != nullptr ? y.out->data_ptr<T>() : nullptr;
    const bool units = in_x != nullptr && level_.unit_of != nullptr;
    if (units || in_y != nullptr) {
      T* row_sum = begin_row_sum(in_y);
      T* sum = begin_sum(row_sum);
      by_blocks([&](int64_t begin, int64_t end) {
        residuals(begin, end);
        if (units) {
          losses(begin, end);
          by_models(begin, end, [&](int64_t i, int64_t m, int64_t at) {
            const int64_t u = unit(i, m);
            if (u >= 0) in_x[u] += scale_x * share_[at] * slope(u) * scaled_[at];
          });
        }
        if (in_y == nullptr) return;
        scale_into(begin, end, scale_y, r_);
        add_transposed(begin, end, sum, row_sum);
      });
      has_outputs_ = has_residuals_ = true;
      if (in_y != nullptr) end_sum(sum, row_sum, scale_y, y_, in_y);
    }
    if (in_x != nullptr) add_strength_products(y_, scale_x / 2, in_x);
    for (int64_t u = 0; in_x != nullptr && level_.centre != nullptr && u < at_x_.numel(); ++u)
      in_x[u] += scale_x * static_cast<T>(level_.loss.precision) * (x_[u] - level_.centre[u]);
  }

  void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) override {
    const torch::Tensor flat = v.contiguous();
    if (flat.numel() != size())
      throw InputError(fmt::format("a vector of {} numbers in place of {}, as y has", flat.numel(), size()));
    const T* along = flat.const_data_ptr<T>();
    const T scale_x = static_cast<T>(cross_vjp.scale), scale_y = static_cast<T>(hvp.scale);
    T* in_x = cross_vjp.out != nullptr ? cross_vjp.out->data_ptr<T>() : nullptr;
    T* in_y = hvp.out != nullptr ? hvp.out->data_ptr<T>() : nullptr;
    const bool units = in_x != nullptr && level_.unit_of != nullptr;
    if (units || in_y != nullptr) {
      const T* row_v = of_rows(along, row_v_);
      const T* column_v = column(row_v, column_v_);
      T* row_sum = begin_row_sum(in_y);
      T* sum = begin_sum(row_sum);
      by_blocks([&](int64_t begin, int64_t end) {
        outputs_along(begin, end, row_v, column_v);  // A v
        if (units) {
          by_models(begin, end, [&](int64_t i, int64_t m, int64_t at) {
            const int64_t u = unit(i, m);
            T product = 0;
            for (int64_t c = at * k_; u >= 0 && c < (at + 1) * k_; ++c) product += r_[c] * along_[c];
            if (u >= 0) in_x[u] += scale_x * share_[at] * slope(u) * product;
          });
        }
        if (in_y == nullptr) return;
        row_curvatures(loss_, h_ + begin * all_, (end - begin) * models_, k_, along_ + begin * all_);
        scale_into(begin, end, scale_y, along_);
        add_transposed(begin, end, sum, row_sum);
      });
      has_outputs_ = has_residuals_ = true;
      if (in_y != nullptr) end_sum(sum, row_sum, scale_y, along, in_y);
    }
    if (in_x != nullptr) add_strength_products(along, scale_x, in_x);
  }

 private:
  /// Room for every array, each from a multiple of 64 bytes on.
  void divide_memory() {
    constexpr int64_t lanes = 64 / sizeof(T);
    const auto rounded = [](int64_t n) { return (n + lanes - 1) / lanes * lanes; };
    const int64_t per_row = rounded(count_ * models_), per_output = rounded(count_ * all_);
    const int64_t column = rows_of_.pads(all_) ? rows_of_.padded(all_) : 0;
    const int64_t half = pairs_ ? rounded(row_size()) : 0;
    const auto needed = static_cast<size_t>(3 * per_row + 5 * per_output + 3 * column + 3 * half + lanes);
    if (memory_.size() < needed) memory_.resize(needed);
    T* at = memory_.data();
    while (reinterpret_cast<uintptr_t>(at) % 64 != 0) ++at;
    for (T** part : {&target_, &share_, &factor_}) at = (*part = at) + per_row;
    for (T** part : {&u_, &r_, &h_, &along_, &scaled_}) at = (*part = at) + per_output;
    for (T** part : {&padded_y_, &column_v_, &sum_}) at = (*part = at) + column;
    for (T** part : {&differences_, &row_v_, &row_sum_}) at = (*part = at) + half;
  }

  /// Of what has the place of y what rows are multiplied with: itself, or the differences of its pairs.
  const T* of_rows(const T* v, T* differences) const {
    if (!pairs_) return v;
    for (int64_t j = 0; j < row_size(); ++j) differences[j] = v[2 * j + 1] - v[2 * j];
    return differences;
  }
  /// Where what the rows make of a derivative in y is summed.
  T* begin_row_sum(T* out) {
    if (!pairs_ || out == nullptr) return out;
    std::fill(row_sum_, row_sum_ + row_size(), T{0});
    return row_sum_;
  }

  /// The part of v that multiplies rows, as `DesignRows` wants it.
  const T* column(const T* v, T* padded) const {
    if (!rows_of_.pads(all_)) return v;
    std::copy(v, v + columns_, padded);
    std::fill(padded + columns_, padded + rows_of_.padded(all_), T{0});
    return padded;
  }
  /// Where sums over rows go: straight to the result, or first to a padded column.
  T* begin_sum(T* out) {
    if (!rows_of_.pads(all_)) return out;
    std::fill(sum_, sum_ + rows_of_.padded(all_), T{0});
    return sum_;
  }
  void end_sum(const T* sum, T* row_sum, T scale, const T* v, T* out) const {
    const bool apart = sum != row_sum, finished = apart && !pairs_;
    if (apart) finish(sum, finished ? strengths_ : nullptr, scale, v, row_sum, columns_);
    for (int64_t j = 0; pairs_ && j < row_size(); ++j) {
      out[2 * j] -= row_sum[j];
      out[2 * j + 1] += row_sum[j];
    }
    const int64_t rest = finished ? columns_ : 0;  // what stands in `out` without its penalty
    for (int64_t j = rest; strengths_ != nullptr && j < size(); ++j) out[j] += scale * strengths_[j] * v[j];
  }

  void check_row(int64_t i, int64_t size_of_x) const {
    const int64_t row = numbers_[i];
    if (row < 0 || row >= rows_of_.count())
      throw InputError(fmt::format("row {}: a linear loss has {} rows", row, rows_of_.count()));
    const T target = level_.targets[row];
    const int64_t classes = level_.loss.outputs;
    if (level_.loss.loss == RowLoss::softmax && !(target >= 0 && target < static_cast<T>(classes)))
      throw InputError(fmt::format("row {}: class {:g} of {}", row, target, classes));
    for (int64_t m = 0; m < models_; ++m) {
      if (const int64_t u = unit(i, m); u < -1 || u >= size_of_x)
        throw InputError(
            fmt::format("row {}: its weight is number {} of x, which has {}", row, u, size_of_x));
    }
  }
  int64_t size() const { return level_.loss.size(); }
  int64_t row_size() const { return columns_ + (level_.loss.bias ? all_ : 0); }
  /// Which number of x weighs row i for model m, -1: none.
  int64_t unit(int64_t i, int64_t m) const {
    return level_.unit_of == nullptr ? -1 : level_.unit_of[m * level_.next_units + numbers_[i]];
  }
  T weight_of(T x) const {
    const RowWeight weight = level_.loss.weight;
    return weight == RowWeight::sigmoid ? glm::sigmoid(x) : weight == RowWeight::plain ? x : glm::exp(x);
  }
  /// The derivative of `weight_of` in x_u.
  T slope(int64_t u) const {
    const T w = weight_of(x_[u]);
    const RowWeight weight = level_.loss.weight;
    return weight == RowWeight::sigmoid ? w * (1 - w) : weight == RowWeight::plain ? 1 : w;
  }

  /// Block after block of rows, so that what a derivative needs of a row is done while the row is near.
  template <typename F>
  void by_blocks(const F& f) const {
    const int64_t block = std::min(rows_of_.block(all_), count_);
    for (int64_t begin = 0; begin < count_; begin += block) f(begin, std::min(count_, begin + block));
  }
  /// f(row, model, their place where every row has a number for each model).
  template <typename F>
  void by_models(int64_t begin, int64_t end, const F& f) const {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t m = 0; m < models_; ++m) f(i, m, i * models_ + m);
  }
  RowSpan rows(int64_t begin, int64_t end) const {
    return {numbers_ + begin, end - begin, numbers_ + count_};
  }
  void add_bias(int64_t begin, int64_t end, const T* of, T* out) const {
    if (!level_.loss.bias) return;
    for (int64_t i = begin; i < end; ++i)
      for (int64_t c = 0; c < all_; ++c) out[i * all_ + c] += of[columns_ + c];
  }
  void outputs(int64_t begin, int64_t end) {
    if (has_outputs_) return;
    rows_of_.multiply(rows(begin, end), column_y_, all_, u_ + begin * all_);
    add_bias(begin, end, row_y_, u_);
  }
  void residuals(int64_t begin, int64_t end) {
    outputs(begin, end);
    residuals_of_outputs(begin, end);
  }
  void residuals_of_outputs(int64_t begin, int64_t end) {
    if (has_residuals_) return;
    row_gradients(loss_, u_ + begin * all_, target_ + begin * models_, (end - begin) * models_, k_,
                  r_ + begin * all_, h_ + begin * all_);
  }
  void losses(int64_t begin, int64_t end) {
    row_values(loss_, u_ + begin * all_, target_ + begin * models_, (end - begin) * models_, k_,
               scaled_ + begin * models_);
  }
  /// The residuals, and A v.
  void outputs_along(int64_t begin, int64_t end, const T* v, const T* column_v) {
    T* out = along_ + begin * all_;
    if (has_outputs_) {
      rows_of_.multiply(rows(begin, end), column_v, all_, out);
    } else {
      rows_of_.multiply(rows(begin, end), column_y_, column_v, all_, u_ + begin * all_, out);
      add_bias(begin, end, row_y_, u_);
    }
    add_bias(begin, end, v, along_);
    residuals_of_outputs(begin, end);
  }
  void scale_into(int64_t begin, int64_t end, T scale, const T* of) {
    const int64_t first = begin * models_, last = end * models_;
    if (k_ == 1) {
      for (int64_t at = first; at < last; ++at) scaled_[at] = scale * factor_[at] * of[at];
      return;
    }
    for (int64_t at = first; at < last; ++at)
      for (int64_t c = 0; c < k_; ++c) scaled_[at * k_ + c] = scale * factor_[at] * of[at * k_ + c];
  }
  void add_transposed(int64_t begin, int64_t end, T* sum, T* out) const {
    rows_of_.add_transposed(rows(begin, end), scaled_ + begin * all_, all_, sum);
    if (!level_.loss.bias) return;
    for (int64_t i = begin; i < end; ++i)
      for (int64_t c = 0; c < all_; ++c) out[columns_ + c] += scaled_[i * all_ + c];
  }
  /// out_u += scale ds_j/dx_u y_j v_j.
  void add_strength_products(const T* v, T scale, T* out) const {
    const int64_t* of = level_.strength_of;
    for (int64_t j = 0; of != nullptr && j < size(); ++j) {
      if (of[j] < 0) continue;
      const T strength = level_.factor(static_cast<size_t>(j)) * kept_->exp_x[static_cast<size_t>(of[j])];
      out[of[j]] += scale * strength * y_[j] * v[j];
    }
  }

  const LinearDerivatives<T>& level_;
  const DesignRows& rows_of_;
  const bool pairs_;
  const RowLoss loss_;  // of what rows are multiplied with
  const Batch batch_;
  const int64_t* numbers_;
  const int64_t count_, models_, k_,
      all_;                // rows; models; outputs of one; of all (differences where there are pairs)
  const int64_t columns_;  // numbers of W that rows are multiplied with
  const torch::Tensor at_x_, at_y_;
  const T *x_, *y_;
  const std::shared_ptr<const typename LinearDerivatives<T>::Strengths> kept_;
  const T* strengths_;
  std::shared_ptr<Buffers<T>> buffers_;
  std::vector<T> memory_;
  T *target_, *share_, *factor_;  // [rows, models]: t; what a row counts in the mean but for x; with it
  T *u_, *r_, *h_, *along_,
      *scaled_;  // [rows, models, k]: outputs; residuals; curvatures; A v; what is multiplied next
  const T *row_y_, *column_y_;          // `of_rows` and `column` of y
  T *differences_, *row_v_, *row_sum_;  // of pairs
  T *padded_y_, *column_v_, *sum_;      // padded columns
  bool has_outputs_ = false, has_residuals_ = false;
};

template <typename T>
std::unique_ptr<PointDerivatives> LinearDerivatives<T>::at(const Batch& batch, const torch::Tensor& x,
                                                           const torch::Tensor& y) {
  if (y.numel() != loss.size())
    throw InputError(fmt::format("y has {} numbers, but this linear loss takes {}", y.numel(), loss.size()));
  if (batch.size() == 0) throw InputError("a linear loss of no rows");
  if (most_strength_ >= x.numel())
    throw InputError(
        fmt::format("x has {} numbers, too few for the strengths of this linear loss", x.numel()));
  if (centre != nullptr && loss.centre.numel() != x.numel())
    throw InputError(
        fmt::format("x has {} numbers, the centre of its prior {}", x.numel(), loss.centre.numel()));
  return std::make_unique<LinearPoint<T>>(*this, batch, x, y);
}

}  // namespace

std::function<std::unique_ptr<Derivatives>()> derivatives_of(const LinearLoss& loss) {
  return [loss]() -> std::unique_ptr<Derivatives> {
    if (loss.rows.dtype() == torch::kFloat32) return std::make_unique<LinearDerivatives<float>>(loss);
    return std::make_unique<LinearDerivatives<double>>(loss);
  };
}

torch::Tensor LinearLoss::value(const Batch& batch, const torch::Tensor& x, const torch::Tensor& y) const {
  const int64_t width = rows.width();
  const torch::Tensor w = y.narrow(0, 0, width * columns()).view({width, columns()});
  torch::Tensor u = rows.product(batch.numbers(), w);
  if (bias) u = u + y.narrow(0, width * columns(), columns());
  u = u.reshape({batch.size() * models, outputs});
  const torch::Tensor target = targets.index_select(0, batch.numbers()).repeat_interleave(models);
  torch::Tensor losses;
  if (loss == RowLoss::softmax) {
    losses = at::cross_entropy_loss(u, target.to(torch::kInt64), {}, at::Reduction::None);
  } else {
    u = u.squeeze(1);
    const torch::Tensor t = target.to(u.scalar_type());
    losses = loss == RowLoss::logistic ? torch::softplus(-t * u) : (u - t).square() / 2;
  }
  losses = losses.view({batch.size(), models}) * weights(batch, x);
  torch::Tensor sum = weighted_mean(losses.sum(1), batch.weights());
  if (centre.defined()) sum = sum + precision / 2 * (x - centre.to(x.scalar_type())).square().sum();
  return strength == 0 && !strength_of.defined() ? sum : sum + (strengths(x) * y.square()).sum() / 2;
}

torch::Tensor LinearLoss::weights(const Batch& batch, const torch::Tensor& x) const {
  const auto of_rows = [&](const torch::Tensor& of) {
    return of.dim() == 2 ? of.index_select(1, batch.numbers()).t()
                         : of.index_select(0, batch.numbers()).unsqueeze(1);
  };
  torch::Tensor found = torch::ones({batch.size(), 1}, rows.dtype());
  if (row_weights.defined()) found = of_rows(row_weights).to(rows.dtype());
  if (!unit_of.defined()) return found;
  const torch::Tensor unit = of_rows(unit_of);
  const torch::Tensor of = x.index_select(0, unit.reshape({-1}).clamp_min(0)).view(unit.sizes());
  const torch::Tensor factor = weight == RowWeight::sigmoid ? of.sigmoid()
                               : weight == RowWeight::plain ? of
                                                            : of.exp();
  return found * torch::where(unit >= 0, factor, torch::ones_like(factor));
}

torch::Tensor LinearLoss::strengths(const torch::Tensor& x) const {
  torch::Tensor found = torch::full({size()}, strength, rows.dtype());
  if (!strength_of.defined()) return found;
  const torch::Tensor learned = (strength_of >= 0).nonzero().squeeze(1);
  torch::Tensor more = x.index_select(0, strength_of.index_select(0, learned)).exp();
  if (strength_factor.defined()) more = more * strength_factor.index_select(0, learned);
  return found.index_add(0, learned, more.to(rows.dtype()));
}

torch::Tensor LinearLoss::curvature_bounds(const Batch& batch, const torch::Tensor& x) const {
  const torch::NoGradGuard no_grad;
  const double of_row = (loss == RowLoss::squared ? 1 : 0.25) / static_cast<double>(batch.size());
  torch::Tensor counted = of_row * weights(batch, x);
  if (batch.weights().defined()) counted = counted * batch.weights().unsqueeze(1).to(rows.dtype());
  counted = counted.expand({batch.size(), models}).repeat_interleave(outputs, 1).contiguous();
  torch::Tensor bounds = rows.weighted_squares(batch.numbers(), counted).flatten();
  if (bias) bounds = torch::cat({bounds, counted.sum(0)});
  return bounds + strengths(x);
}

torch::Tensor LinearLoss::model_of(const torch::Tensor& y, int64_t m) const {
  return y.view({-1, models, outputs}).select(1, m).reshape({-1});
}

torch::Tensor LinearLoss::for_each_weight(const torch::Tensor& of_features, double of_bias) const {
  const torch::Tensor weights = of_features.repeat_interleave(columns());
  return bias ? torch::cat({weights, torch::full({columns()}, of_bias, weights.options())}) : weights;
}

}  // namespace bilevel
