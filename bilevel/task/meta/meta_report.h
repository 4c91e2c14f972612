// What is measured beside the model of `bilevel meta`, and its page.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "bilevel/task/meta/meta_setup.h"

namespace bilevel {

/// {accuracy, interval, episodes}, and as text.
nlohmann::ordered_json accuracy_json(const TaskAccuracy& accuracy);
std::string accuracy_text(const nlohmann::ordered_json& measured);

/// The baselines that the options name, on the test tasks: name and `accuracy_json`, with more. None when interrupted.
std::optional<nlohmann::ordered_json> measure_baselines(MetaSetup& setup);

/// Writes accuracy.svg, loss.svg and report.html. @param summary the object of `--json`
void write_meta_report(const MetaSetup& setup, const nlohmann::ordered_json& summary);

}  // namespace bilevel
