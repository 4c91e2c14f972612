#include "bilevel/task/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "bilevel/core/device.h"
#include "bilevel/core/error.h"

namespace bilevel {
namespace {

/// One after the other along the first dimension.
torch::Tensor joined(const std::vector<torch::Tensor>& parts) {
  std::vector<int64_t> sizes = parts[0].sizes().vec();
  sizes[0] = 0;
  for (const torch::Tensor& part : parts) sizes[0] += part.size(0);
  torch::Tensor all = large_empty(sizes, parts[0].scalar_type());
  return torch::cat_out(all, parts);
}

/// Of rows on a device: where in the entries of all rows the chosen rows begin, and their lengths, on the host.
struct Places {
  std::vector<int64_t> begin, length;
  int64_t total = 0, longest = 0;
};

Places places_of(const int64_t* offsets, int64_t rows, const std::vector<int64_t>& wanted) {
  Places places;
  for (const int64_t row : wanted) {
    if (row < 0 || row >= rows) throw std::out_of_range(fmt::format("row {} of {} rows", row, rows));
    places.begin.push_back(offsets[row]);
    places.length.push_back(offsets[row + 1] - offsets[row]);
    places.total += places.length.back();
    places.longest = std::max(places.longest, places.length.back());
  }
  return places;
}

std::vector<torch::Tensor> sparse_there(const SparseRows& all, const std::vector<int64_t>& rows) {
  const torch::Device device = all.values.device();
  const Places places = places_of(all.offsets.const_data_ptr<int64_t>(), all.rows(), rows);
  std::vector<int64_t> offsets{0}, shift;  // from an entry's place in the batch to that in all rows
  for (size_t i = 0; i < rows.size(); ++i) {
    shift.push_back(places.begin[i] - offsets.back());
    offsets.push_back(offsets.back() + places.length[i]);
  }
  const torch::Tensor entries =
      torch::arange(places.total, torch::device(device).dtype(torch::kInt64)) +
      torch::repeat_interleave(index_on(device, shift), index_on(device, places.length), 0, places.total);
  return {all.indices.index_select(0, entries), all.values.index_select(0, entries),
          index_on(device, offsets)};
}

std::vector<torch::Tensor> tokens_there(const TokenRows& all, const std::vector<int64_t>& rows) {
  const torch::Device device = all.ids.device();
  const Places places = places_of(all.offsets.data(), all.rows(), rows);
  const torch::Tensor step = torch::arange(places.longest, torch::device(device).dtype(torch::kInt64));
  const torch::Tensor entries = (index_on(device, places.begin).unsqueeze(1) + step)
                                    .clamp_max(std::max<int64_t>(0, all.ids.numel() - 1));
  const torch::Tensor ids = all.ids.index_select(0, entries.flatten()).view(entries.sizes());
  const torch::Tensor inside = step < index_on(device, places.length).unsqueeze(1);
  return {ids * inside, index_on(torch::kCPU, places.length)};
}

}  // namespace

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
  if (!dense.empty()) return Inputs::dense(joined(dense));
  if (!indices.empty()) return sparse({joined(indices), joined(values), torch::cat(offsets), width});
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

int64_t Inputs::entries() const {
  const torch::Tensor& all = kind_ == InputKind::dense    ? dense_
                             : kind_ == InputKind::sparse ? sparse_.values
                                                          : tokens_.ids;
  return all.defined() ? all.numel() : 0;
}

int64_t Inputs::bytes() const {
  const auto of = [](const torch::Tensor& t) { return t.defined() ? static_cast<int64_t>(t.nbytes()) : 0; };
  return of(dense_) + of(sparse_.indices) + of(sparse_.values) + of(tokens_.ids);
}

torch::Device Inputs::device() const {
  const torch::Tensor& all = kind_ == InputKind::dense    ? dense_
                             : kind_ == InputKind::sparse ? sparse_.values
                                                          : tokens_.ids;
  return all.defined() ? all.device() : torch::kCPU;
}

Inputs Inputs::to(const torch::Device& device) const {
  Inputs moved = *this;
  for (torch::Tensor* t :
       {&moved.dense_, &moved.sparse_.indices, &moved.sparse_.values, &moved.tokens_.ids}) {
    if (t->defined()) *t = t->to(device);
  }
  return moved;
}

std::vector<torch::Tensor> Inputs::gather(const std::vector<int64_t>& rows) const {
  if (kind_ == InputKind::dense) return {dense_.index_select(0, index_on(dense_.device(), rows))};
  if (!device().is_cpu())
    return kind_ == InputKind::sparse ? sparse_there(sparse_, rows) : tokens_there(tokens_, rows);
  if (kind_ == InputKind::sparse) {
    const SparseRows picked = sparse_.select(rows);
    return {picked.indices, picked.values, picked.offsets};
  }
  const auto [ids, lengths] = collate(tokens_, rows);
  return {ids, lengths};
}

Inputs placed(const Inputs& inputs, const torch::Device& device, std::string& line) {
  if (device.is_cpu()) return inputs;
  const int64_t needed = inputs.bytes(), there = free_bytes(device);
  const bool fit = needed <= there / 2;
  line =
      fmt::format("the rows, {:.1f} MB, {} {}, where {:.1f} MB are free", static_cast<double>(needed) / 1e6,
                  fit ? "go once to" : "stay on the host: they take more than half of", device.str(),
                  static_cast<double>(there) / 1e6);
  return fit ? inputs.to(device) : inputs;
}

size_t moved_inputs(InputKind kind) { return kind == InputKind::tokens ? 1 : 3; }

std::shared_ptr<const DataSet> data_set(const Inputs& inputs, const torch::Tensor& targets) {
  return std::make_shared<DataSet>(DataSet{[inputs](const Rows& rows) { return inputs.gather(rows); },
                                           [all = to_device(targets, inputs.device())](const Rows& rows) {
                                             return all.index_select(0, index_on(all.device(), rows));
                                           },
                                           moved_inputs(inputs.kind())});
}

}  // namespace bilevel
