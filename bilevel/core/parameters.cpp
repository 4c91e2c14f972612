#include "bilevel/core/parameters.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/utils.h>

#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"

namespace bilevel {

Parameters::Parameters(std::vector<torch::Tensor> tensors, std::vector<std::string> names, std::string level)
    : tensors_(std::move(tensors)), names_(std::move(names)), level_(std::move(level)) {
  if (tensors_.empty()) throw InputError(fmt::format("the {} level has no parameters", level_));
  if (!names_.empty() && names_.size() != tensors_.size()) {
    throw InputError(
        fmt::format("the {} level has {} parameters but {} names", level_, tensors_.size(), names_.size()));
  }
  std::set<const void*> seen;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const torch::Tensor& t = tensors_[i];
    const auto refuse = [&](const std::string& why) { throw InputError(fmt::format("{} {}", name(i), why)); };
    if (!t.defined()) throw InputError(fmt::format("{} parameter {} is undefined", level_, i));
    if (!t.is_floating_point()) refuse("is not floating point");
    if (t.numel() == 0) refuse("is empty");
    if (!t.is_leaf() || !t.requires_grad()) refuse("is not a leaf that requires a gradient");
    if (!seen.insert(t.unsafeGetTensorImpl()).second) refuse("is listed twice");
    if (t.scalar_type() != tensors_[0].scalar_type()) refuse("has another dtype than the first parameter");
    if (t.device() != tensors_[0].device()) refuse("is on another device than the first parameter");
  }
  int64_t size = 0;
  for (const torch::Tensor& t : tensors_) {
    size += t.numel();
    shapes_.push_back(t.sizes().vec());
  }
  flat_ = torch::empty({size}, tensors_[0].options().requires_grad(false));
  bind();
}

Parameters::~Parameters() {
  const torch::NoGradGuard no_grad;
  int64_t offset = 0;
  for (torch::Tensor& t : tensors_) {
    if (bound(t, offset)) t.set_data(t.detach().clone());
    offset += t.numel();
  }
}

std::string Parameters::name(size_t i) const {
  if (!names_.empty()) return fmt::format("{} parameter '{}'", level_, names_[i]);
  return fmt::format("{} parameter {} (shape {})", level_, i, fmt::join(tensors_[i].sizes().vec(), "x"));
}

void Parameters::bind() {
  const torch::NoGradGuard no_grad;
  int64_t offset = 0;
  for (torch::Tensor& t : tensors_) {
    if (!bound(t, offset)) {
      const torch::Tensor view = flat_.narrow(0, offset, t.numel()).view(t.sizes());
      view.copy_(t);
      t.set_data(view);
    }
    offset += t.numel();
  }
  ++version_;
}

bool Parameters::bound(const torch::Tensor& tensor, int64_t offset) const {
  return tensor.data_ptr() == static_cast<const char*>(flat_.data_ptr()) + offset * flat_.element_size();
}

void Parameters::assign(const torch::Tensor& values) {
  copy_into(values, flat_);
  ++version_;
}

void Parameters::add(const torch::Tensor& direction, double scale) {
  axpy(scale, direction, flat_);
  ++version_;
}

torch::Tensor Parameters::pack(const std::vector<torch::Tensor>& parts) const {
  std::vector<torch::Tensor> flat_parts;
  flat_parts.reserve(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    flat_parts.push_back(parts[i].defined() ? parts[i].reshape({-1})
                                            : torch::zeros({tensors_[i].numel()}, flat_.options()));
  }
  return flat_parts.size() == 1 ? flat_parts[0] : torch::cat(flat_parts);
}

void Parameters::check() {
  int64_t offset = 0;
  bool detached = false;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const torch::Tensor& t = tensors_[i];
    if (t.sizes() != shapes_[i]) {
      throw InputError(
          fmt::format("{} had the shape {} when it was bound", name(i), fmt::join(shapes_[i], "x")));
    }
    if (!bound(t, offset)) {
      if (t.scalar_type() != flat_.scalar_type() || t.device() != flat_.device()) {
        throw InputError(name(i) + " changed its dtype or device after it was bound");
      }
      detached = true;
    }
    offset += t.numel();
  }
  if (detached) bind();
}

void Parameters::set_requires_grad(bool value) {
  for (torch::Tensor& t : tensors_) t.set_requires_grad(value);
}

torch::Tensor squared_norm(const std::vector<torch::Tensor>& tensors) {
  torch::Tensor sum;
  for (const torch::Tensor& t : tensors) {
    const torch::Tensor part = t.square().sum();
    sum = sum.defined() ? sum + part : part;
  }
  return sum.defined() ? sum : torch::zeros({});
}

}  // namespace bilevel
