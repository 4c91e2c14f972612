#include "bilevel/model/encoder/recurrent/recurrent_kernel.h"

#include <ATen/Dispatch.h>
#include <ATen/autocast_mode.h>
#include <torch/autograd.h>

#include <algorithm>

namespace bilevel {
namespace {

using torch::Tensor;

/// One time step in the order of computation. Its rows are offset .. offset+rows-1 of the packed tensors; the
/// first `previous_rows` of them continue the rows that start at `previous_offset`, the others start from a
/// zero state.
struct Step {
  int64_t offset = 0, rows = 0, previous_offset = 0, previous_rows = 0;
};

std::vector<Step> steps_of(const std::vector<int64_t>& sizes, bool reverse) {
  std::vector<Step> steps(sizes.size());
  int64_t offset = 0;
  for (size_t t = 0; t < sizes.size(); ++t) {
    steps[t].offset = offset;
    steps[t].rows = sizes[t];
    offset += sizes[t];
  }
  if (reverse) std::reverse(steps.begin(), steps.end());
  for (size_t s = 1; s < steps.size(); ++s) {
    steps[s].previous_offset = steps[s - 1].offset;
    steps[s].previous_rows = std::min(steps[s].rows, steps[s - 1].rows);
  }
  return steps;
}

/// The states that `rows` rows continue: those of `state` as far as they go, zeros after them.
Tensor continued(const Tensor& state, int64_t rows) {
  if (state.size(0) == rows) return state;
  if (state.size(0) > rows) return state.narrow(0, 0, rows);
  return torch::cat({state, torch::zeros({rows - state.size(0), state.size(1)}, state.options())});
}

// ---- from elementary operations ----

Tensor elementary(RecurrentCell cell, const Tensor& x, const std::vector<int64_t>& sizes,
                  const RecurrentWeights& w, bool reverse) {
  const Tensor projected = torch::linear(x, w.input, w.input_bias);
  const std::vector<Step> steps = steps_of(sizes, reverse);
  Tensor h = torch::zeros({steps.front().rows, w.hidden.size(1)}, x.options());
  Tensor c = h;
  std::vector<Tensor> states;
  for (const Step& step : steps) {
    const Tensor in = projected.narrow(0, step.offset, step.rows);
    h = continued(h, step.rows);
    const Tensor recurrent = torch::linear(h, w.hidden, w.hidden_bias);
    if (cell == RecurrentCell::rnn) {
      h = torch::tanh(in + recurrent);
    } else if (cell == RecurrentCell::lstm) {
      const std::vector<Tensor> gates = (in + recurrent).chunk(4, 1);
      c = torch::sigmoid(gates[1]) * continued(c, step.rows) +
          torch::sigmoid(gates[0]) * torch::tanh(gates[2]);
      h = torch::sigmoid(gates[3]) * torch::tanh(c);
    } else {
      const std::vector<Tensor> a = in.chunk(3, 1), b = recurrent.chunk(3, 1);
      const Tensor update = torch::sigmoid(a[1] + b[1]);
      const Tensor candidate = torch::tanh(a[2] + torch::sigmoid(a[0] + b[0]) * b[2]);
      h = candidate + update * (h - candidate);
    }
    states.push_back(h);
  }
  if (reverse) std::reverse(states.begin(), states.end());
  return torch::cat(states);
}

// ---- by hand, for the CPU ----

/// What the backward pass reads, all packed: `gates` [N, G] after their activations; `memory` [N, H]: the
/// LSTM's cell states, the GRU's U_n h + c_n; `memory_tanh` [N, H]: tanh of the LSTM's cell states.
struct Activations {
  Tensor gates, memory, memory_tanh, states;
};

template <typename T>
void finish_lstm_step(const Activations& a, const Step& step, int64_t hidden) {
  const T* gates = a.gates.data_ptr<T>() + step.offset * 4 * hidden;
  T* __restrict memory = a.memory.data_ptr<T>() + step.offset * hidden;
  const T* previous = a.memory.data_ptr<T>() + step.previous_offset * hidden;
  for (int64_t row = 0; row < step.rows; ++row, gates += 4 * hidden, memory += hidden, previous += hidden) {
    const bool continues = row < step.previous_rows;
    for (int64_t j = 0; j < hidden; ++j) {
      const T kept = continues ? gates[hidden + j] * previous[j] : T(0);
      memory[j] = kept + gates[j] * gates[2 * hidden + j];
    }
  }
  Tensor memory_tanh = a.memory_tanh.narrow(0, step.offset, step.rows);
  torch::tanh_out(memory_tanh, a.memory.narrow(0, step.offset, step.rows));
  Tensor states = a.states.narrow(0, step.offset, step.rows);
  torch::mul_out(states, a.gates.narrow(0, step.offset, step.rows).narrow(1, 3 * hidden, hidden),
                 memory_tanh);
}

template <typename T>
void finish_gru_step(const Activations& a, const Step& step, int64_t hidden) {
  Tensor gates_of_step = a.gates.narrow(0, step.offset, step.rows);
  Tensor candidate = gates_of_step.narrow(1, 2 * hidden, hidden);
  candidate.addcmul_(gates_of_step.narrow(1, 0, hidden), a.memory.narrow(0, step.offset, step.rows)).tanh_();
  const T* gates = a.gates.data_ptr<T>() + step.offset * 3 * hidden;
  T* __restrict states = a.states.data_ptr<T>() + step.offset * hidden;
  const T* previous = a.states.data_ptr<T>() + step.previous_offset * hidden;
  for (int64_t row = 0; row < step.rows; ++row, gates += 3 * hidden, states += hidden, previous += hidden) {
    const bool continues = row < step.previous_rows;
    for (int64_t j = 0; j < hidden; ++j) {
      const T n = gates[2 * hidden + j];
      states[j] = n + gates[hidden + j] * ((continues ? previous[j] : T(0)) - n);
    }
  }
}

template <typename T>
Activations run_forward(RecurrentCell cell, const Tensor& x, const std::vector<Step>& steps,
                        const RecurrentWeights& w) {
  const int64_t hidden = w.hidden.size(1), tokens = x.size(0);
  const Tensor hidden_transposed = w.hidden.t();
  Activations a;
  a.states = torch::empty({tokens, hidden}, x.options());
  if (cell == RecurrentCell::gru) {
    a.gates = torch::linear(x, w.input, w.input_bias);
    a.gates.narrow(1, 0, 2 * hidden).add_(w.hidden_bias.narrow(0, 0, 2 * hidden));
    a.memory = w.hidden_bias.narrow(0, 2 * hidden, hidden).expand({tokens, hidden}).contiguous();
  } else {
    a.gates = torch::linear(x, w.input, w.input_bias + w.hidden_bias);
  }
  if (cell == RecurrentCell::lstm) {
    a.memory = torch::empty_like(a.states);
    a.memory_tanh = torch::empty_like(a.states);
  }
  for (const Step& step : steps) {
    Tensor gates = a.gates.narrow(0, step.offset, step.rows);
    if (step.previous_rows > 0) {
      const Tensor previous = a.states.narrow(0, step.previous_offset, step.previous_rows);
      Tensor continuing = gates.narrow(0, 0, step.previous_rows);
      if (cell == RecurrentCell::gru) {
        const Tensor recurrent = previous.mm(hidden_transposed);
        continuing.narrow(1, 0, 2 * hidden).add_(recurrent.narrow(1, 0, 2 * hidden));
        a.memory.narrow(0, step.offset, step.previous_rows).add_(recurrent.narrow(1, 2 * hidden, hidden));
      } else {
        continuing.addmm_(previous, hidden_transposed);
      }
    }
    if (cell == RecurrentCell::rnn) {
      Tensor states = a.states.narrow(0, step.offset, step.rows);
      torch::tanh_out(states, gates);
    } else {
      gates.narrow(1, 0, 2 * hidden).sigmoid_();
      if (cell == RecurrentCell::lstm) {
        gates.narrow(1, 2 * hidden, hidden).tanh_();
        gates.narrow(1, 3 * hidden, hidden).sigmoid_();
        finish_lstm_step<T>(a, step, hidden);
      } else {
        finish_gru_step<T>(a, step, hidden);
      }
    }
  }
  return a;
}

/// Turns the gradient of one step's states into that of its gates. On entry `state_gradient` and
/// `memory_gradient` hold the gradients of this step's state and (LSTM) cell state, [rows, H]; on return
/// those parts of the previous step's that do not pass through the matrix U.
template <typename T>
void step_backward(RecurrentCell cell, const Activations& a, const Step& step, int64_t hidden,
                   T* state_gradient, T* memory_gradient, T* gate_gradient, T* recurrent_gradient) {
  const int64_t width = gate_count(cell) * hidden;
  for (int64_t row = 0; row < step.rows; ++row) {
    const int64_t at = step.offset + row;
    const bool continues = row < step.previous_rows;
    const int64_t before = step.previous_offset + row;
    T* __restrict dh = state_gradient + row * hidden;
    T* __restrict da = gate_gradient + at * width;
    const T* __restrict h = a.states.data_ptr<T>() + at * hidden;
    if (cell == RecurrentCell::rnn) {
      for (int64_t j = 0; j < hidden; ++j) da[j] = dh[j] * (T(1) - h[j] * h[j]);
      std::fill_n(dh, hidden, T(0));
    } else if (cell == RecurrentCell::lstm) {
      T* __restrict dc = memory_gradient + row * hidden;
      const T* __restrict gates = a.gates.data_ptr<T>() + at * width;
      const T* __restrict c_tanh = a.memory_tanh.data_ptr<T>() + at * hidden;
      const T* __restrict c_before = a.memory.data_ptr<T>() + before * hidden;
      for (int64_t j = 0; j < hidden; ++j) {
        const T i = gates[j], f = gates[hidden + j], g = gates[2 * hidden + j], o = gates[3 * hidden + j];
        const T d = dc[j] + dh[j] * o * (T(1) - c_tanh[j] * c_tanh[j]);
        da[j] = d * g * i * (T(1) - i);
        da[hidden + j] = continues ? d * c_before[j] * f * (T(1) - f) : T(0);
        da[2 * hidden + j] = d * i * (T(1) - g * g);
        da[3 * hidden + j] = dh[j] * c_tanh[j] * o * (T(1) - o);
        dc[j] = d * f;
        dh[j] = T(0);
      }
    } else {
      T* __restrict db = recurrent_gradient + at * width;
      const T* __restrict gates = a.gates.data_ptr<T>() + at * width;
      const T* __restrict recurrent_candidate = a.memory.data_ptr<T>() + at * hidden;
      const T* __restrict h_before = a.states.data_ptr<T>() + before * hidden;
      for (int64_t j = 0; j < hidden; ++j) {
        const T r = gates[j], z = gates[hidden + j], n = gates[2 * hidden + j];
        const T dn = dh[j] * (T(1) - z) * (T(1) - n * n);
        db[j] = da[j] = dn * recurrent_candidate[j] * r * (T(1) - r);
        db[hidden + j] = da[hidden + j] = dh[j] * ((continues ? h_before[j] : T(0)) - n) * z * (T(1) - z);
        da[2 * hidden + j] = dn;
        db[2 * hidden + j] = dn * r;
        dh[j] *= z;
      }
    }
  }
}

/// Gradients of the gates before their activations [N, G]: as the input projection sees them, and as U sees
/// them.
template <typename T>
std::pair<Tensor, Tensor> run_backward(RecurrentCell cell, const Activations& a,
                                       const std::vector<Step>& steps, const Tensor& hidden_weight,
                                       const Tensor& output_gradient) {
  const int64_t hidden = hidden_weight.size(1), tokens = output_gradient.size(0);
  int64_t most_rows = 0;
  for (const Step& step : steps) most_rows = std::max(most_rows, step.rows);
  const Tensor gate_gradient = torch::empty({tokens, gate_count(cell) * hidden}, output_gradient.options());
  const Tensor recurrent_gradient =
      cell == RecurrentCell::gru ? torch::empty_like(gate_gradient) : gate_gradient;
  const Tensor state_gradient = torch::zeros({most_rows, hidden}, output_gradient.options());
  const Tensor memory_gradient = torch::zeros_like(state_gradient);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    state_gradient.narrow(0, 0, step->rows).add_(output_gradient.narrow(0, step->offset, step->rows));
    step_backward<T>(cell, a, *step, hidden, state_gradient.data_ptr<T>(), memory_gradient.data_ptr<T>(),
                     gate_gradient.data_ptr<T>(), recurrent_gradient.data_ptr<T>());
    if (step->previous_rows > 0) {
      state_gradient.narrow(0, 0, step->previous_rows)
          .addmm_(recurrent_gradient.narrow(0, step->offset, step->previous_rows), hidden_weight);
    }
    // Rows that start at this step hand nothing on.
    const int64_t starting = step->rows - step->previous_rows;
    if (starting > 0) {
      state_gradient.narrow(0, step->previous_rows, starting).zero_();
      memory_gradient.narrow(0, step->previous_rows, starting).zero_();
    }
  }
  return {gate_gradient, recurrent_gradient};
}

/// The rows that continue another one, and those they continue, for the gradient of U.
std::pair<Tensor, Tensor> continuing_rows(const std::vector<Step>& steps) {
  std::vector<int64_t> rows, previous;
  for (const Step& step : steps) {
    for (int64_t i = 0; i < step.previous_rows; ++i) {
      rows.push_back(step.offset + i);
      previous.push_back(step.previous_offset + i);
    }
  }
  return {torch::tensor(rows, torch::kLong), torch::tensor(previous, torch::kLong)};
}

class HandWritten : public torch::autograd::Function<HandWritten> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& input,
                        const Tensor& hidden, const Tensor& input_bias, const Tensor& hidden_bias,
                        int64_t cell, const std::vector<int64_t>& sizes, bool reverse) {
    Activations a;
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "recurrent_layer", [&] {
      a = run_forward<scalar_t>(static_cast<RecurrentCell>(cell), x, steps_of(sizes, reverse),
                                {input, hidden, input_bias, hidden_bias});
    });
    context->save_for_backward(
        {x, input, hidden, input_bias, hidden_bias, a.gates, a.memory, a.memory_tanh, a.states});
    context->saved_data["cell"] = cell;
    context->saved_data["sizes"] = sizes;
    context->saved_data["reverse"] = reverse;
    return a.states;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& output_gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const auto cell = static_cast<RecurrentCell>(context->saved_data["cell"].toInt());
    const std::vector<int64_t> sizes = context->saved_data["sizes"].toIntVector();
    const bool reverse = context->saved_data["reverse"].toBool();
    torch::autograd::variable_list gradients(8);

    if (torch::GradMode::is_enabled()) {  // this gradient will itself be differentiated
      const Tensor states =
          elementary(cell, saved[0], sizes, {saved[1], saved[2], saved[3], saved[4]}, reverse);
      torch::autograd::variable_list wanted;
      for (size_t i = 0; i < 5; ++i) {
        if (context->needs_input_grad(i)) wanted.push_back(saved[i]);
      }
      const auto found = torch::autograd::grad({states}, wanted, {output_gradients[0]}, /*retain_graph=*/true,
                                               /*create_graph=*/true, /*allow_unused=*/true);
      for (size_t i = 0, k = 0; i < 5; ++i) {
        if (context->needs_input_grad(i)) gradients[i] = found[k++];
      }
      return gradients;
    }

    const std::vector<Step> steps = steps_of(sizes, reverse);
    const Activations a{saved[5], saved[6], saved[7], saved[8]};
    std::pair<Tensor, Tensor> gates;
    AT_DISPATCH_FLOATING_TYPES(saved[0].scalar_type(), "recurrent_layer_backward", [&] {
      gates = run_backward<scalar_t>(cell, a, steps, saved[2], output_gradients[0].contiguous());
    });
    const auto& [gate_gradient, recurrent_gradient] = gates;
    if (context->needs_input_grad(0)) gradients[0] = gate_gradient.mm(saved[1]);
    if (context->needs_input_grad(1)) gradients[1] = gate_gradient.t().mm(saved[0]);
    if (context->needs_input_grad(2)) {
      const auto [rows, previous] = continuing_rows(steps);
      gradients[2] = recurrent_gradient.index_select(0, rows).t().mm(a.states.index_select(0, previous));
    }
    if (context->needs_input_grad(3)) gradients[3] = gate_gradient.sum(0);
    if (context->needs_input_grad(4)) {
      const bool same = cell != RecurrentCell::gru && gradients[3].defined();
      gradients[4] = same ? gradients[3] : recurrent_gradient.sum(0);
    }
    return gradients;
  }
};

Tensor hand_written(RecurrentCell cell, const Tensor& x, const std::vector<int64_t>& sizes,
                    const RecurrentWeights& w, bool reverse) {
  return HandWritten::apply(x.contiguous(), w.input, w.hidden, w.input_bias, w.hidden_bias,
                            static_cast<int64_t>(cell), sizes, reverse);
}

// ---- LibTorch's own layer (cuDNN) ----

Tensor library_layer(RecurrentCell cell, const Tensor& x, const std::vector<int64_t>& sizes,
                     const std::vector<RecurrentWeights>& directions) {
  std::vector<Tensor> weights;
  for (const RecurrentWeights& w : directions) {
    weights.insert(weights.end(), {w.input, w.hidden, w.input_bias, w.hidden_bias});
  }
  const auto count = static_cast<int64_t>(directions.size());
  const Tensor zeros = torch::zeros({count, sizes.front(), directions[0].hidden.size(1)}, x.options());
  const Tensor step_sizes = torch::tensor(sizes, torch::kLong);
  const bool train = torch::GradMode::is_enabled();
  switch (cell) {
    case RecurrentCell::rnn:
      return std::get<0>(
          torch::rnn_tanh(x, step_sizes, zeros, weights, /*has_biases=*/true, 1, 0.0, train, count == 2));
    case RecurrentCell::lstm:
      return std::get<0>(torch::lstm(x, step_sizes, {zeros, zeros}, weights, /*has_biases=*/true, 1, 0.0,
                                     train, count == 2));
    case RecurrentCell::gru:
      break;
  }
  return std::get<0>(
      torch::gru(x, step_sizes, zeros, weights, /*has_biases=*/true, 1, 0.0, train, count == 2));
}

}  // namespace

int64_t gate_count(RecurrentCell cell) {
  return cell == RecurrentCell::rnn ? 1 : cell == RecurrentCell::lstm ? 4 : 3;
}

Tensor recurrent_layer(RecurrentCell cell, const Tensor& x, const std::vector<int64_t>& step_sizes,
                       const std::vector<RecurrentWeights>& directions, bool twice_differentiable) {
  const c10::DeviceType kind = x.device().type();
  if (x.scalar_type() == torch::kFloat && at::autocast::is_autocast_enabled(kind)) {
    const torch::ScalarType dtype = at::autocast::get_autocast_dtype(kind);
    std::vector<RecurrentWeights> rounded = directions;
    for (RecurrentWeights& w : rounded) {
      for (Tensor* t : {&w.input, &w.hidden, &w.input_bias, &w.hidden_bias}) *t = t->to(dtype);
    }
    return recurrent_layer(cell, x.to(dtype), step_sizes, rounded, twice_differentiable);
  }
  const bool by_hand = x.is_cpu() && (x.scalar_type() == torch::kFloat || x.scalar_type() == torch::kDouble);
  if (!twice_differentiable && !by_hand) return library_layer(cell, x, step_sizes, directions);
  std::vector<Tensor> states;
  for (size_t i = 0; i < directions.size(); ++i) {
    const bool reverse = i == 1;
    states.push_back(twice_differentiable ? elementary(cell, x, step_sizes, directions[i], reverse)
                                          : hand_written(cell, x, step_sizes, directions[i], reverse));
  }
  return states.size() == 1 ? states[0] : torch::cat(states, 1);
}

}  // namespace bilevel
