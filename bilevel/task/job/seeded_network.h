// A network of a job: made from a seed, applied to rows, saved and loaded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/model/network.h"
#include "bilevel/task/inputs.h"

namespace bilevel {

/// A network on `device` whose initial values come from `seed` alone. The head behind an encoder of columns starts at a tenth of its
/// usual size, so that the network starts near its linear part, which starts at zero. Throws InputError for
/// options that the network refuses.
std::shared_ptr<Network> seeded_network(const NetworkOptions& options, const InputShape& shape, uint64_t seed,
                                        const torch::Device& device);

/// Tensors that `gather` gives for some rows, and what comes of such tensors.
using Gather = std::function<std::vector<torch::Tensor>(const std::vector<int64_t>&)>;
using Apply = std::function<torch::Tensor(const std::vector<torch::Tensor>&)>;

/// What `apply` gives for rows, joined, on the CPU: the network is in evaluation mode, there is no graph, and
/// the rows go through in chunks. `apply` gets the input tensors of a chunk on `device`.
torch::Tensor over_rows(Network& network, const std::vector<int64_t>& rows, const torch::Device& device,
                        const Gather& gather, const Apply& apply);
/// With the inputs of the rows.
torch::Tensor over_rows(Network& network, const Inputs& inputs, const std::vector<int64_t>& rows,
                        const torch::Device& device, const Apply& apply);

/// Logits of rows, [rows, outputs] on the CPU. See `over_rows`.
torch::Tensor logits_of(Network& network, const Inputs& inputs, const std::vector<int64_t>& rows,
                        const torch::Device& device);

/// Copies on the CPU of all parameters and buffers by name.
std::map<std::string, torch::Tensor> tensors_of(const Network& network);

/// Sets the tensor `target` to the one of that name. Throws FileError for a missing name or another shape.
void load_tensor(const std::map<std::string, torch::Tensor>& tensors, const std::string& name,
                 torch::Tensor target);
/// Sets all parameters and buffers.
void load_network(const std::map<std::string, torch::Tensor>& tensors, Network& network);

/// The weights that an L2 term is for: matrices that are no token vectors. `linear` ones map the inputs to
/// the outputs directly (of linear encoders, and a linear skip), all others are `hidden`.
struct NetworkWeights {
  std::vector<torch::Tensor> linear, hidden;
};
NetworkWeights weights_of(const Network& network);

}  // namespace bilevel
