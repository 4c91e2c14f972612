#include "bilevel/task/job/explanation.h"

#include <fmt/format.h>
#include <torch/autograd.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/report/escape.h"
#include "bilevel/report/page.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kRowsNamed = 20'000;    // whose n-grams name the inputs
constexpr int64_t kRowsExplained = 1000;  // whose effects are averaged
constexpr int64_t kPassesSpent = 2000;    // rows times outputs, where each costs a backward pass
constexpr size_t kInputsWritten = 200;    // a class
constexpr size_t kInputsSummarized = 24;  // a class
constexpr int64_t kClassesShown = 8;      // on the page

/// What `gather` gives, on the CPU.
std::vector<torch::Tensor> on_host(const Inputs& inputs, const std::vector<int64_t>& rows) {
  std::vector<torch::Tensor> batch = inputs.gather(rows);
  for (torch::Tensor& part : batch) part = part.to(torch::kCPU);
  return batch;
}

/// The largest shares that are not 0, of inputs that have a name, largest first.
std::vector<InputShare> largest(std::vector<InputShare> shares, const std::vector<std::string>& names,
                                size_t most) {
  std::erase_if(shares, [&](const InputShare& s) {
    return s.second == 0 || names[static_cast<size_t>(s.first)].empty();
  });
  const auto middle = shares.begin() + static_cast<std::ptrdiff_t>(std::min(most, shares.size()));
  std::partial_sort(shares.begin(), middle, shares.end(), [](const InputShare& a, const InputShare& b) {
    return std::pair(-std::abs(a.second), a.first) < std::pair(-std::abs(b.second), b.first);
  });
  shares.erase(middle, shares.end());
  return shares;
}

std::vector<InputShare> shares_of(const torch::Tensor& values) {
  const torch::Tensor plain = values.contiguous();
  const auto* value = plain.const_data_ptr<double>();
  std::vector<InputShare> shares;
  for (int64_t i = 0; i < plain.numel(); ++i) {
    if (value[i] != 0) shares.emplace_back(i, value[i]);
  }
  return shares;
}

/// Adds the inputs of a batch of rows that is not of tokens, each as `of` of its value, to `sums` [width].
template <typename Of>
void add_inputs(const std::vector<torch::Tensor>& batch, torch::Tensor& sums, const Of& of) {
  if (batch.size() == 1) {
    sums += of(batch[0].to(torch::kFloat64)).sum(0);
    return;
  }
  sums.index_add_(0, batch[0], of(batch[1].to(torch::kFloat64)));
}

}  // namespace

Explainer::Explainer(Network& network, const torch::Device& device)
    : network_(network), device_(device), matrices_(network.input_matrices()) {
  network_.eval();
}

const torch::Tensor& Explainer::weights_of(int64_t output) {
  torch::Tensor& weights = weights_[output];
  if (weights.defined()) return weights;
  const torch::NoGradGuard no_grad;
  const torch::Tensor all = matrices_[0].detach().to(torch::kCPU, torch::kFloat64),
                      own = all.select(1, output);
  return weights = outputs() == 1 ? own.clone() : own - all.mean(1);
}

torch::Tensor Explainer::counted(const torch::Tensor& logits, int64_t output) const {
  const torch::Tensor own = logits.select(1, output);
  return outputs() == 1 ? own : own - logits.mean(1);
}

torch::Tensor Explainer::by_occlusion(const torch::Tensor& row, int64_t output) {
  const torch::NoGradGuard no_grad;
  const int64_t width = row.size(1);
  torch::Tensor rows = row.repeat({width + 1, 1});
  rows.narrow(0, 0, width).fill_diagonal_(0);  // the last one is whole
  const torch::Tensor of = counted(network_.forward({rows}).to(torch::kCPU, torch::kFloat64), output);
  return of[width] - of.narrow(0, 0, width);
}

torch::Tensor Explainer::through_matrices(const std::vector<torch::Tensor>& inputs, int64_t output) {
  std::vector<bool> asked;
  for (torch::Tensor& matrix : matrices_) {  // frozen vectors of tokens are no parameters
    asked.push_back(matrix.requires_grad());
    matrix.set_requires_grad(true);
  }
  const torch::Tensor of = counted(network_.forward(inputs), output);
  const auto gradients = torch::autograd::grad({of.sum()}, {matrices_.begin(), matrices_.end()}, {},
                                               std::nullopt, false, /*allow_unused=*/true);
  torch::Tensor shares = torch::zeros({matrices_[0].size(0)}, torch::kFloat64);
  for (size_t i = 0; i < matrices_.size(); ++i) {
    if (gradients[i].defined())
      shares += (matrices_[i].detach() * gradients[i]).sum(1).to(torch::kCPU, torch::kFloat64);
    matrices_[i].set_requires_grad(asked[i]);
  }
  return shares;
}

std::vector<InputShare> Explainer::shares(const Inputs& inputs, int64_t row, int64_t output) {
  if (!exact()) {
    std::vector<torch::Tensor> batch = inputs.gather({row});
    for (size_t i = 0; i < std::min(batch.size(), moved_inputs(inputs.kind())); ++i)
      batch[i] = batch[i].to(device_);
    return shares_of(occludes() ? by_occlusion(batch[0], output) : through_matrices(batch, output));
  }
  const std::vector<torch::Tensor> batch = on_host(inputs, {row});
  const torch::Tensor& weights = weights_of(output);
  if (batch.size() == 1) return shares_of(batch[0][0] * weights);
  const torch::Tensor values = (batch[1] * weights.index_select(0, batch[0])).contiguous();
  std::vector<InputShare> shares;
  for (int64_t k = 0; k < values.numel(); ++k)
    shares.emplace_back(batch[0].const_data_ptr<int64_t>()[k], values.const_data_ptr<double>()[k]);
  return shares;
}

std::pair<torch::Tensor, torch::Tensor> Explainer::overall(const Inputs& inputs,
                                                           const std::vector<int64_t>& rows, int64_t output) {
  const int64_t width = matrices_[0].size(0);
  torch::Tensor sizes = torch::zeros({width}, torch::kFloat64),
                signs = torch::zeros({width}, torch::kFloat64),
                turns = torch::zeros({width}, torch::kFloat64);
  if (exact()) {
    const std::vector<torch::Tensor> batch = on_host(inputs, rows);
    add_inputs(batch, sizes, [](const torch::Tensor& x) { return x.abs(); });
    const torch::Tensor weights = weights_of(output);
    return {sizes * weights.abs() / static_cast<double>(rows.size()), weights.sign()};
  }
  const int64_t most = std::max<int64_t>(50, kPassesSpent / outputs());
  const auto step = std::max<size_t>(1, rows.size() / static_cast<size_t>(most));
  int64_t seen = 0;
  auto* size = sizes.mutable_data_ptr<double>();
  auto* sign = signs.mutable_data_ptr<double>();
  auto* turn = turns.mutable_data_ptr<double>();
  for (size_t i = 0; i < rows.size(); i += step, ++seen) {
    torch::Tensor x = torch::ones({width}, torch::kFloat64);  // of tokens
    if (inputs.kind() != InputKind::tokens) {
      x.zero_();
      add_inputs(on_host(inputs, {rows[i]}), x, [](const torch::Tensor& value) { return value; });
    }
    for (const auto& [input, share] : shares(inputs, rows[i], output)) {
      size[input] += std::abs(share);
      const double along = share * x.const_data_ptr<double>()[input];
      sign[input] += along;
      turn[input] += std::abs(along);
    }
  }
  // An input that speaks one way in some rows and the other way in nearly as many has no direction.
  return {sizes / static_cast<double>(seen), signs.sign() * signs.abs().gt(turns / 3)};
}

std::vector<std::string> explained_names(const Features& features, const JobFiles& files,
                                         const std::vector<int64_t>& rows) {
  return features.names(files.by_file(evenly(rows, kRowsNamed)));
}

void explain_model(const JobContext& context, const ExplainedModel& model, Json& summary) {
  summary["explanation"] = nullptr;
  Explainer explainer(model.network, model.device);
  if (!explainer.possible()) return;
  const std::vector<int64_t> rows = evenly(model.rows, kRowsExplained);
  Column classes{"class"}, inputs{"input"}, directions{"direction"}, effects{"effect"};
  Json shown = Json::object();
  for (size_t c = 0; c < model.outputs.size(); ++c) {
    const auto [sizes, signs] = explainer.overall(model.inputs, rows, static_cast<int64_t>(c));
    Json& strongest = shown[model.outputs[c]] = Json::array();
    for (const auto& [i, effect] : largest(shares_of(sizes), model.input_names, kInputsWritten)) {
      const std::string& name = model.input_names[static_cast<size_t>(i)];
      const double sign = signs[i].item<double>();
      classes.cells.push_back(model.outputs[c]);
      inputs.cells.push_back(name);
      directions.cells.push_back(sign > 0 ? "+" : sign < 0 ? "-" : "0");
      effects.cells.push_back(fmt::format("{:.6g}", effect));
      if (strongest.size() >= kInputsSummarized) continue;
      strongest.push_back({name, sign < 0 ? -effect : effect});
      if (sign == 0) strongest.back().push_back("+-");
    }
  }
  write_tsv(context.path("explain.tsv").string(), {classes, inputs, directions, effects});
  summary["explanation"] = {{"method", explainer.method()}, {"rows", rows.size()}, {"classes", shown}};
}

std::string explanation_markup(const Json& summary) {
  const auto found = summary.find("explanation");
  if (found == summary.end() || found->is_null()) return "";
  const std::string method = found->at("method");
  std::string tables;
  int64_t told = 0;
  for (const auto& [name, strongest] : found->at("classes").items()) {
    if (told++ == kClassesShown) break;
    std::vector<std::vector<std::string>> rows;
    for (const Json& entry : strongest)
      rows.push_back({escape_markup(entry[0].get<std::string>()),
                      entry.size() > 2 ? fmt::format("&plusmn;{:.3g}", entry[1].get<double>())
                                       : fmt::format("{:+.3g}", entry[1].get<double>())});
    tables += fmt::format("<h3>{}</h3>\n{}", escape_markup(name),
                          table_markup({{"input", "heading"}, {"effect", "number"}}, rows));
  }
  const auto others = static_cast<int64_t>(found->at("classes").size()) - kClassesShown;
  return fmt::format(
      "<p>The inputs that move the output most: + where more of it speaks for the class, - where it speaks "
      "against, &plusmn; where it does both. The "
      "effect is the mean size of what the input adds to the output{}, over {} training rows.</p>\n{}<p "
      "class=\"subtle\">{}Not what causes the label: inputs that go together share their effect in any way. "
      "More in "
      "<code>explain.tsv</code>; <code>bilevel predict --explain 5</code> tells it for each row.</p>\n",
      method == "contributions" ? ", exactly"
      : method == "occlusion"   ? " (what the output loses where the input is set to 0, the mean of a number)"
                                : " (gradient times input, a first-order estimate)",
      found->at("rows").get<int64_t>(), tables,
      others > 0 ? fmt::format("{} other classes stand in the file. ", others) : "");
}

Column explanation_column(Explainer& explainer, const Inputs& inputs, const std::vector<std::string>& names,
                          const std::vector<int64_t>& outputs, int64_t most) {
  if (!explainer.possible())
    throw InputError(
        "--explain: the model's encoder does not tell which of its parameters read single inputs");
  Column column{explainer.method()};
  for (size_t row = 0; row < outputs.size(); ++row) {
    std::string text;
    for (const auto& [i, share] : largest(explainer.shares(inputs, static_cast<int64_t>(row), outputs[row]),
                                          names, static_cast<size_t>(most)))
      text += fmt::format("{}{} ({:+.3g})", text.empty() ? "" : ", ", names[static_cast<size_t>(i)], share);
    column.cells.push_back(text);
  }
  return column;
}

}  // namespace bilevel
