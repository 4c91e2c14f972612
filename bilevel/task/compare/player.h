// One run of one competitor, in this process or for another.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "bilevel/task/compare/competitors.h"
#include "bilevel/task/compare/play.h"

namespace bilevel {

/// The solver of a run: a competitor's, with what was fixed and then what was drawn (names to values). Throws InputError for
/// options that no run could have.
std::unique_ptr<Solver> make_player(const Contest& contest, const Competitor& competitor,
                                    const nlohmann::ordered_json& drawn);

/// Runs it (see `play`).
Played play_one(Contest& contest, const Competitor& competitor, const nlohmann::ordered_json& drawn,
                const PlayOptions& options);

/// A run for `play_requests`, by the contest's `to_json`.
nlohmann::ordered_json play_request(const Contest& contest, const Competitor& competitor,
                                    const nlohmann::ordered_json& drawn, uint64_t seed, const Budget& budget);

/// What `Workers` of a comparison do with such a request: they make the contest with the first, and answer with
/// {"rows", "end"} as in `Played`.
std::function<nlohmann::ordered_json(const nlohmann::ordered_json&)> play_requests();

}  // namespace bilevel
