#include "bilevel/task/compare/player.h"

#include <string>

namespace bilevel {

std::unique_ptr<Solver> make_player(const Contest& contest, const Competitor& competitor,
                                    const nlohmann::ordered_json& drawn) {
  std::unique_ptr<Solver> solver = contest.solver(competitor.solver);
  const Fields fields = fields_of(*solver);
  for (const std::string& assignment : competitor.set) fields.set_text(assignment);
  fields.from_json(nlohmann::json(drawn));
  contest.check(*solver);
  return solver;
}

Played play_one(Contest& contest, const Competitor& competitor, const nlohmann::ordered_json& drawn,
                const PlayOptions& options) {
  return play(
      contest, solver_registry().at(competitor.solver),
      [&] { return make_player(contest, competitor, drawn); }, options);
}

nlohmann::ordered_json play_request(const Contest& contest, const Competitor& competitor,
                                    const nlohmann::ordered_json& drawn, uint64_t seed,
                                    const Budget& budget) {
  return {{"contest", contest.to_json()},
          {"competitor", competitor},
          {"options", drawn},
          {"seed", seed},
          {"budget", budget}};
}

std::function<nlohmann::ordered_json(const nlohmann::ordered_json&)> play_requests() {
  return [contest = std::shared_ptr<Contest>()](const nlohmann::ordered_json& request) mutable {
    if (!contest) contest = make_contest(request.at("contest"));
    const Played played =
        play_one(*contest, request.at("competitor"), request.at("options"),
                 {.seed = request.at("seed"), .budget = request.at("budget").get<Budget>()});
    return nlohmann::ordered_json{{"rows", played.rows}, {"end", played.end}};
  };
}

}  // namespace bilevel
