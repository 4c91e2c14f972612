#include "bilevel/task/inputs.h"

#include <algorithm>

#include "bilevel/core/error.h"

namespace bilevel {

Inputs Inputs::dense(torch::Tensor rows) {
  Inputs inputs;
  inputs.kind_ = InputKind::dense;
  inputs.dense_ = std::move(rows);
  return inputs;
}

Inputs Inputs::sparse(SparseRows rows) {
  Inputs inputs;
  inputs.kind_ = InputKind::sparse;
  inputs.sparse_ = std::move(rows);
  return inputs;
}

Inputs Inputs::tokens(TokenRows rows) {
  Inputs inputs;
  inputs.kind_ = InputKind::tokens;
  inputs.tokens_ = std::move(rows);
  return inputs;
}

Inputs Inputs::concatenate(const std::vector<Inputs>& parts) {
  if (parts.empty()) throw InputError("there are no inputs to join");
  std::vector<torch::Tensor> dense, indices, values, offsets{torch::zeros({1}, torch::kInt64)}, ids;
  TokenRows tokens{.ids = {}, .offsets = {0}};
  int64_t width = 0, entries = 0;
  for (const Inputs& part : parts) {
    switch (part.kind_) {
      case InputKind::dense:
        dense.push_back(part.dense_);
        break;
      case InputKind::sparse:
        indices.push_back(part.sparse_.indices);
        values.push_back(part.sparse_.values);
        offsets.push_back(part.sparse_.offsets.slice(0, 1) + entries);
        entries += part.sparse_.entries();
        width = std::max(width, part.sparse_.width);
        break;
      case InputKind::tokens:
        ids.push_back(part.tokens_.ids);
        for (size_t i = 1; i < part.tokens_.offsets.size(); ++i) {
          tokens.offsets.push_back(entries + part.tokens_.offsets[i]);
        }
        entries += part.tokens_.ids.numel();
        break;
    }
  }
  if (!dense.empty()) return Inputs::dense(torch::cat(dense));
  if (!indices.empty()) return sparse({torch::cat(indices), torch::cat(values), torch::cat(offsets), width});
  tokens.ids = torch::cat(ids);
  return Inputs::tokens(std::move(tokens));
}

int64_t Inputs::rows() const {
  switch (kind_) {
    case InputKind::dense:
      return dense_.size(0);
    case InputKind::sparse:
      return sparse_.rows();
    default:
      return tokens_.rows();
  }
}

std::vector<torch::Tensor> Inputs::matrix() const {
  if (kind_ == InputKind::dense) return {dense_};
  if (kind_ == InputKind::sparse) return {sparse_.indices, sparse_.values, sparse_.offsets};
  return {};
}

std::vector<torch::Tensor> Inputs::gather(const std::vector<int64_t>& rows) const {
  if (kind_ == InputKind::dense) return {dense_.index_select(0, torch::tensor(rows, torch::kInt64))};
  if (kind_ == InputKind::sparse) {
    const SparseRows picked = sparse_.select(rows);
    return {picked.indices, picked.values, picked.offsets};
  }
  const auto [ids, lengths] = collate(tokens_, rows);
  return {ids, lengths};
}

std::shared_ptr<const DataSet> data_set(const Inputs& inputs, const torch::Tensor& targets) {
  return std::make_shared<DataSet>(DataSet{
      [inputs](const Rows& rows) { return inputs.gather(rows); },
      [targets](const Rows& rows) { return targets.index_select(0, torch::tensor(rows, torch::kInt64)); }});
}

}  // namespace bilevel
