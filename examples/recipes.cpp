// The recipes of docs/recipes.md, one program: rows with wrong labels lose their weight.
#include <bilevel/bilevel.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <iostream>

int main() {
  torch::manual_seed(1);
  const int64_t rows = 200, trusted = 100;
  const auto points = torch::randn({rows + trusted, 8});
  const auto right = points.select(1, 0).gt(0).to(torch::kInt64);
  const auto inputs = points.slice(0, 0, rows), trusted_inputs = points.slice(0, rows);
  const auto wrong = torch::rand({rows}).lt(0.3);
  const auto labels = torch::where(wrong, 1 - right.slice(0, 0, rows), right.slice(0, 0, rows));
  const auto trusted_labels = right.slice(0, rows);
  const std::string folder = std::filesystem::temp_directory_path() / "bilevel_recipes";
  std::filesystem::create_directories(folder);
  using torch::nn::Linear;
  using torch::nn::functional::cross_entropy;

  // [shown]
  const auto logits = torch::zeros({rows}).requires_grad_();  // x: one weight for every row
  Linear head(8, 2);                                          // y
  const auto weighted_loss = [&](const bilevel::Batch& b) {
    const auto losses =
        cross_entropy(head(b.input()), b.targets(),
                      torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
    return (logits.index_select(0, b.numbers()).sigmoid() * losses).mean() +
           1e-2 * bilevel::squared_norm(head->parameters());
  };
  const bilevel::BatchSource lower_batches = bilevel::shuffled({inputs}, labels, {.batch_size = 50});
  // [shown]

  // [shown]
  const bilevel::DataSet trusted_rows{
      .inputs =
          [&](const bilevel::Rows& numbers) {
            return std::vector{trusted_inputs.index_select(0, torch::tensor(numbers))};
          },
      .targets =
          [&](const bilevel::Rows& numbers) {
            return trusted_labels.index_select(0, torch::tensor(numbers));
          }};
  bilevel::Rows numbers(trusted);
  for (int64_t i = 0; i < trusted; ++i) numbers[i] = i;
  const bilevel::BatchSource upper_batches(std::make_shared<bilevel::DataSet>(trusted_rows), numbers,
                                           {.batch_size = 50});
  // [shown]

  const bilevel::Problem problem{
      .upper = {.parameters = {{"logits", logits}},
                .loss = [&](const bilevel::Batch& b) { return cross_entropy(head(b.input()), b.targets()); },
                .batches = upper_batches},
      .lower = {.parameters = bilevel::named(*head), .loss = weighted_loss, .batches = lower_batches}};

  // [shown]
  const auto sides = 2 * right.to(torch::kFloat32) - 1;  // -1 and 1
  const bilevel::LinearModel model =
      bilevel::linear_model({.inputs = {inputs}, .targets = 2 * labels.to(torch::kFloat32) - 1},
                            {.inputs = {trusted_inputs}, .targets = sides.slice(0, rows)}, 8,
                            {.x = bilevel::LearnedBy::row_weights, .strength = 0.02, .batch_size = 50});
  bilevel::SOBA soba({.upper_step_size = 100, .lower_step_size = 1, .linear_step_size = 1});
  std::cout << bilevel::run(model.problem, soba, {.max_steps = 2000}).brief() << "\n"
            << "mean weight of wrong rows " << model.x.sigmoid().masked_select(wrong).mean().item<float>()
            << ", of right ones " << model.x.sigmoid().masked_select(~wrong).mean().item<float>() << "\n";
  // [shown]

  // [shown]
  const std::unique_ptr<bilevel::Solver> solver = bilevel::make_solver("adambo");
  for (const char* option : {"upper_step_size=0.05", "neumann_terms=10", "schedule=cosine"})
    bilevel::fields_of(*solver).set_text(option);
  // [shown]

  // [shown]
  std::ofstream events(folder + "/events.jsonl");
  const auto callback = [&](const bilevel::MadeStep& made, bilevel::Oracles& oracles) {
    if (made.step % 100 != 0) return true;
    const auto [f, g] = oracles.full_losses();  // on all rows
    for (const auto& [tag, value] : {std::pair{"loss/upper", f}, {"loss/lower", g}})
      events << nlohmann::json{{"step", made.step}, {"tag", tag}, {"value", value}} << "\n";
    std::cout << "step " << made.step << ": f = " << f << ", g = " << g << "\n";
    return true;  // false ends the run
  };
  const bilevel::Result result =
      bilevel::run(problem, *solver, {.max_steps = 400, .seed = 7, .callback = callback});
  if (!result.usable()) std::cerr << result.message << "\n";
  std::cout << result.json().dump(2) << "\n";
  // [shown]

  // [shown]
  torch::save(head, folder + "/head.pt");
  // [shown]

  const double of_wrong = logits.detach().masked_select(wrong).mean().item<double>();
  const double of_right = logits.detach().masked_select(~wrong).mean().item<double>();
  std::cout << "mean logit of wrong labels " << of_wrong << ", of right ones " << of_right << "\n";
  return result.usable() && of_right > of_wrong + 0.5 && events.tellp() > 0 ? 0 : 1;
}
