#include "bilevel/task/job/explanation.h"

#include <gtest/gtest.h>

#include "bilevel/task/job/seeded_network.h"
#include "tests/files.h"

namespace bilevel {
namespace explanation_test {

/// A network in float64 with weights that are not 0.
std::shared_ptr<Network> network(const std::string& encoder, int64_t outputs, const InputShape& shape,
                                 const nlohmann::json& set = nlohmann::json::object()) {
  const auto made =
      seeded_network({.encoder = encoder, .outputs = outputs, .set = set}, shape, 3, torch::kCPU);
  made->to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  auto generator = torch::make_generator<at::CPUGeneratorImpl>(5);
  for (torch::Tensor& p : made->parameters()) p.add_(torch::randn(p.sizes(), generator, p.options()), 0.3);
  return made;
}

/// An output, of several less the mean of all.
double output_of(Network& network, const std::vector<torch::Tensor>& inputs, int64_t output) {
  const torch::NoGradGuard no_grad;
  network.eval();
  const torch::Tensor all = network.forward(inputs)[0];
  return (all[output] - (all.numel() > 1 ? all.mean() : torch::zeros({}, torch::kFloat64))).item<double>();
}

torch::Tensor dense_rows() {
  return torch::tensor({{0.5, -2.0, 0.0, 1.5}, {1.0, 1.0, -1.0, 0.25}}, torch::kFloat64);
}

TEST(Explainer, SharesOfALinearMapAddUpToTheOutput) {
  for (const int64_t outputs : {1, 3}) {
    const auto net = network("linear", outputs, {.kind = InputKind::dense, .width = 4});
    Explainer explainer(*net, torch::kCPU);
    EXPECT_TRUE(explainer.exact());
    const Inputs inputs = Inputs::dense(dense_rows());
    for (int64_t c = 0; c < outputs; ++c) {
      double sum = output_of(*net, {torch::zeros({1, 4}, torch::kFloat64)}, c);  // the bias
      for (const auto& [input, share] : explainer.shares(inputs, 1, c)) sum += share;
      EXPECT_NEAR(sum, output_of(*net, {dense_rows().narrow(0, 1, 1)}, c), 1e-12);
    }
  }
}

TEST(Explainer, SparseRowsAreAsDenseOnes) {
  const auto net = network("linear", 1, {.kind = InputKind::sparse, .width = 4});
  Explainer explainer(*net, torch::kCPU);
  SparseRowsBuilder<double> builder;
  for (const auto& [index, value] : {std::pair<int64_t, double>{0, 0.5}, {1, -2.0}, {3, 1.5}})
    builder.add_entry(index, value);
  builder.end_row();
  const Inputs inputs = Inputs::sparse(builder.finish(4));
  const torch::Tensor weights = net->parameters()[0].select(1, 0);
  const auto shares = explainer.shares(inputs, 0, 0);
  ASSERT_EQ(shares.size(), 3U);
  EXPECT_EQ(shares[2].first, 3);
  EXPECT_NEAR(shares[2].second, 1.5 * weights[3].item<double>(), 1e-12);
  const auto [sizes, signs] = explainer.overall(inputs, {0}, 0);
  EXPECT_NEAR(sizes[1].item<double>(), 2 * std::abs(weights[1].item<double>()), 1e-12);
  EXPECT_EQ(signs[1].item<double>(), weights[1].sign().item<double>());
}

/// x_i d(output)/d(x_i) by differences.
TEST(Explainer, GradientTimesInputOfColumns) {
  for (const bool skip : {false, true}) {
    const auto net = network("mlp", 2, {.kind = InputKind::dense, .width = 4},
                             {{"hidden", 5}, {"layers", 2}, {"activation", "tanh"}, {"linear_skip", skip}});
    Explainer explainer(*net, torch::kCPU);
    EXPECT_FALSE(explainer.exact());
    const torch::Tensor row = dense_rows().narrow(0, 0, 1);
    std::map<int64_t, double> shares;
    for (const auto& [input, share] : explainer.shares(Inputs::dense(dense_rows()), 0, 1))
      shares[input] = share;
    for (int64_t i = 0; i < 4; ++i) {
      constexpr double kStep = 1e-5;
      torch::Tensor up = row.clone(), down = row.clone();
      up[0][i] *= 1 + kStep;
      down[0][i] *= 1 - kStep;
      EXPECT_NEAR(shares[i], (output_of(*net, {up}, 1) - output_of(*net, {down}, 1)) / (2 * kStep), 1e-8)
          << i;
    }
  }
}

TEST(Explainer, OcclusionOfAFixedEncoder) {
  const auto net = network("fourier", 2, {.kind = InputKind::dense, .width = 4}, {{"waves", 16}});
  Explainer explainer(*net, torch::kCPU);
  EXPECT_EQ(explainer.method(), "occlusion");
  const Inputs inputs = Inputs::dense(dense_rows());
  std::map<int64_t, double> shares;
  for (const auto& [input, share] : explainer.shares(inputs, 1, 0)) shares[input] = share;
  const torch::Tensor row = inputs.gather({1})[0];
  const auto output = [&](const torch::Tensor& x) {
    const torch::Tensor logits = net->forward({x})[0];
    return (logits[0] - logits.mean()).item<double>();
  };
  for (int64_t i = 0; i < 4; ++i) {
    torch::Tensor without = row.clone();
    without[0][i] = 0;
    EXPECT_NEAR(shares[i], output(row) - output(without), 1e-12) << i;
  }
}

TEST(Explainer, SharesOfWordsWhoseVectorsMayBeFrozen) {
  const torch::Tensor vectors =
      torch::randn({6, 4}, torch::make_generator<at::CPUGeneratorImpl>(2), torch::kFloat64);
  for (const bool frozen : {false, true}) {
    const auto net = network("gru", 1, {.kind = InputKind::tokens, .width = 6, .pretrained = vectors},
                             {{"hidden", 3}, {"freeze_embedding", frozen}});
    Explainer explainer(*net, torch::kCPU);
    ASSERT_TRUE(explainer.possible());
    const TokenRows rows{.ids = torch::tensor({2, 5, 2, 3}, torch::kInt64), .offsets = {0, 4}};
    std::map<int64_t, double> shares;
    for (const auto& [input, share] : explainer.shares(Inputs::tokens(rows), 0, 0)) shares[input] = share;
    EXPECT_EQ(shares.size(), 3U);
    torch::Tensor matrix = net->input_matrices()[0];
    EXPECT_EQ(matrix.requires_grad(), !frozen) << "is as it was";
    const std::vector<torch::Tensor> batch = Inputs::tokens(rows).gather({0});
    constexpr double kStep = 1e-5;
    for (const int64_t id : {2, 3, 5}) {
      const auto scaled = [&](double factor) {
        const torch::NoGradGuard no_grad;
        const torch::Tensor before = matrix[id].clone();
        matrix[id].mul_(factor);
        const double value = output_of(*net, batch, 0);
        matrix[id].copy_(before);
        return value;
      };
      EXPECT_NEAR(shares[id], (scaled(1 + kStep) - scaled(1 - kStep)) / (2 * kStep), 1e-8) << id;
    }
  }
}

TEST(Explainer, TellsTheStrongestOfEachRow) {
  const auto net = network("linear", 1, {.kind = InputKind::dense, .width = 4});
  {
    const torch::NoGradGuard no_grad;
    net->parameters()[0].copy_(torch::tensor({{2.0}, {0.5}, {9.0}, {-1.0}}, torch::kFloat64));
  }
  Explainer explainer(*net, torch::kCPU);
  const Column column =
      explanation_column(explainer, Inputs::dense(dense_rows()), {"a", "b", "c", ""}, {0, 0}, 2);
  EXPECT_EQ(column.name, "contributions");
  EXPECT_EQ(column.cells, ColumnCells({"a (+1), b (-1)", "c (-9), a (+2)"}));
}

TEST(ExplainModel, WritesAFileAndASection) {
  const TemporaryFolder folder;
  const auto net = network("linear", 1, {.kind = InputKind::dense, .width = 4});
  {
    const torch::NoGradGuard no_grad;
    net->parameters()[0].copy_(torch::tensor({{2.0}, {0.5}, {0.0}, {-1.0}}, torch::kFloat64));
  }
  const Inputs inputs = Inputs::dense(dense_rows());
  nlohmann::ordered_json summary;
  JobContext context{.command = "auc", .out = folder.path("")};
  explain_model(context,
                {.network = *net,
                 .inputs = inputs,
                 .rows = {0, 1},
                 .input_names = {"a", "<b>", "c", "d"},
                 .outputs = {"yes"},
                 .device = torch::kCPU},
                summary);
  EXPECT_EQ(read_bytes(folder.path("explain.tsv")),
            "class\tinput\tdirection\teffect\nyes\ta\t+\t1.5\nyes\td\t-\t0.875\nyes\t<b>\t+\t0.75\n");
  EXPECT_EQ(summary.at("explanation").at("method"), "contributions");
  EXPECT_EQ(summary["explanation"]["classes"]["yes"][1], (nlohmann::ordered_json{"d", -0.875}));
  const std::string page = explanation_markup(summary);
  EXPECT_NE(page.find("&lt;b&gt;"), std::string::npos);
  EXPECT_EQ(page.find("<b>"), std::string::npos);
  EXPECT_EQ(explanation_markup({{"explanation", nullptr}}), "");
}

}  // namespace explanation_test
}  // namespace bilevel
