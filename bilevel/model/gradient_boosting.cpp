#include "bilevel/model/gradient_boosting.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

using Handle = void*;

/// The functions of XGBoost's C interface that are used, as its header c_api.h (1.3 and later) declares them. Each returns 0, or
/// another number where `last_error` says what was wrong.
struct Xgboost {
  const char* (*last_error)() = nullptr;
  int (*dense)(const float*, uint64_t, uint64_t, float, Handle*) = nullptr;
  int (*sparse)(const size_t*, const unsigned*, const float*, size_t, size_t, size_t, Handle*) = nullptr;
  int (*set_numbers)(Handle, const char*, const float*, uint64_t) = nullptr;
  int (*free_rows)(Handle) = nullptr;
  int (*create)(const Handle*, uint64_t, Handle*) = nullptr;
  int (*free_booster)(Handle) = nullptr;
  int (*set)(Handle, const char*, const char*) = nullptr;
  int (*update)(Handle, int, Handle) = nullptr;
  int (*predict)(Handle, Handle, int, unsigned, int, uint64_t*, const float**) = nullptr;
  int (*save)(Handle, const char*, uint64_t*, const char**) = nullptr;  // since 1.6; null: not there
  int (*load)(Handle, const void*, uint64_t) = nullptr;
  std::string lacks;  // empty: all but `save` are there

  Xgboost() {
    void* library = nullptr;
    for (const char* name : {"libxgboost.so.0", "libxgboost.so", "libxgboost.dylib"}) {
      if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    if (library == nullptr) {
      lacks = "the library libxgboost is not installed (Debian: libxgboost0)";
      return;
    }
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      if (function == nullptr) lacks = fmt::format("libxgboost has no function {}", name);
    };
    find(last_error, "XGBGetLastError");
    find(dense, "XGDMatrixCreateFromMat");
    find(sparse, "XGDMatrixCreateFromCSREx");
    find(set_numbers, "XGDMatrixSetFloatInfo");
    find(free_rows, "XGDMatrixFree");
    find(create, "XGBoosterCreate");
    find(free_booster, "XGBoosterFree");
    find(set, "XGBoosterSetParam");
    find(update, "XGBoosterUpdateOneIter");
    find(predict, "XGBoosterPredict");
    find(load, "XGBoosterLoadModelFromBuffer");
    save = reinterpret_cast<decltype(save)>(dlsym(library, "XGBoosterSaveModelToBuffer"));
  }

  void check(int status) const {
    if (status != 0) throw Error(fmt::format("gradient boosting: XGBoost says: {}", last_error()));
  }
};

const Xgboost& xgboost() {
  static const Xgboost library;
  return library;
}

const Xgboost& needed_xgboost() {
  if (!xgboost().lacks.empty()) throw Error("gradient boosting: " + xgboost().lacks);
  return xgboost();
}

std::shared_ptr<void> booster_of(const Handle* rows, uint64_t count) {
  Handle made = nullptr;
  xgboost().check(xgboost().create(rows, count, &made));
  return {made, [](Handle booster) { xgboost().free_booster(booster); }};
}

std::shared_ptr<void> rows_of(const std::vector<torch::Tensor>& inputs, int64_t width) {
  const Xgboost& x = xgboost();
  Handle made = nullptr;
  if (inputs.size() == 1) {
    const torch::Tensor values = inputs[0].detach().to(torch::kCPU, torch::kFloat32).contiguous();
    x.check(x.dense(values.const_data_ptr<float>(), static_cast<uint64_t>(values.size(0)),
                    static_cast<uint64_t>(width), std::numeric_limits<float>::quiet_NaN(), &made));
  } else {
    const torch::Tensor indices = inputs[0].to(torch::kCPU, torch::kInt32).contiguous(),
                        values = inputs[1].detach().to(torch::kCPU, torch::kFloat32).contiguous(),
                        offsets = inputs[2].to(torch::kCPU, torch::kInt64).contiguous();
    const auto* begins = offsets.const_data_ptr<int64_t>();
    const std::vector<size_t> begin(begins, begins + offsets.numel());
    x.check(x.sparse(begin.data(), reinterpret_cast<const unsigned*>(indices.const_data_ptr<int32_t>()),
                     values.const_data_ptr<float>(), begin.size(), static_cast<size_t>(values.numel()),
                     static_cast<size_t>(width), &made));
  }
  return {made, [](Handle rows) { xgboost().free_rows(rows); }};
}

std::shared_ptr<void> labelled(const BoostedRows& rows, int64_t width) {
  std::shared_ptr<void> made = rows_of(rows.inputs, width);
  const torch::Tensor classes = rows.classes.to(torch::kCPU, torch::kFloat32).contiguous();
  xgboost().check(xgboost().set_numbers(made.get(), "label", classes.const_data_ptr<float>(),
                                        static_cast<uint64_t>(classes.numel())));
  return made;
}

torch::Tensor outputs(Handle booster, Handle rows, int64_t rounds, int64_t classes) {
  constexpr int kMargins = 1;  // outputs, before they are made probabilities
  uint64_t count = 0;
  const float* out = nullptr;
  xgboost().check(xgboost().predict(booster, rows, kMargins, static_cast<unsigned>(rounds), 0, &count, &out));
  torch::Tensor scores = torch::empty({static_cast<int64_t>(count)}, torch::kFloat64);
  std::copy(out, out + count, scores.data_ptr<double>());
  return classes == 2 ? scores : scores.view({-1, classes});
}

}  // namespace

std::string gradient_boosting_lacks() { return xgboost().lacks; }

torch::Tensor GradientBoosting::scores(const std::vector<torch::Tensor>& inputs) const {
  return outputs(booster_.get(), rows_of(inputs, width_).get(), rounds_, classes_);
}

std::string GradientBoosting::bytes() const {
  const Xgboost& x = needed_xgboost();
  if (x.save == nullptr) throw Error("gradient boosting: the library libxgboost is older than 1.6");
  uint64_t size = 0;
  const char* first = nullptr;
  x.check(x.save(booster_.get(), R"({"format": "ubj"})", &size, &first));
  return {first, size};
}

GradientBoosting GradientBoosting::from_bytes(const std::string& bytes, int64_t width, int64_t classes,
                                              int64_t rounds) {
  const Xgboost& x = needed_xgboost();
  GradientBoosting trees;
  trees.booster_ = booster_of(nullptr, 0);
  x.check(x.load(trees.booster_.get(), bytes.data(), bytes.size()));
  trees.width_ = width;
  trees.classes_ = classes;
  trees.rounds_ = rounds;
  return trees;
}

GradientBoosting fit_gradient_boosting(const BoostedRows& train, int64_t width, int64_t classes,
                                       const BoostedRows* validation,
                                       const std::function<double(const torch::Tensor&)>& score,
                                       const GradientBoostingOptions& options) {
  const Xgboost& x = needed_xgboost();
  const std::shared_ptr<void> rows = labelled(train, width);
  const std::shared_ptr<void> judges = validation != nullptr ? rows_of(validation->inputs, width) : nullptr;
  const Handle all[] = {rows.get(), judges.get()};
  GradientBoosting fit;
  fit.booster_ = booster_of(all, judges ? 2 : 1);
  const Handle made = fit.booster_.get();
  fit.width_ = width;
  fit.classes_ = classes;
  const auto set = [&](const char* name, const auto& value) {
    x.check(x.set(made, name, fmt::format("{}", value).c_str()));
  };
  set("objective", classes == 2 ? "binary:logistic" : "multi:softprob");
  if (classes > 2) set("num_class", classes);
  set("eta", options.step_size);
  set("max_depth", options.depth);
  set("subsample", 0.8);
  set("colsample_bytree", 0.8);
  set("tree_method", "hist");
  set("seed", options.seed % 2147483647);
  set("nthread", options.threads);
  set("verbosity", 0);
  double best = -std::numeric_limits<double>::infinity();
  for (int64_t round = 0; round < options.most_rounds; ++round) {
    x.check(x.update(made, static_cast<int>(round), rows.get()));
    if (!judges) continue;
    const double now = score(outputs(made, judges.get(), 0, classes));
    if (now > best) {
      best = now;
      fit.rounds_ = round + 1;
    }
    if (round + 1 - fit.rounds_ >= options.patience) break;
  }
  if (!judges) fit.rounds_ = options.most_rounds;
  return fit;
}

}  // namespace bilevel
