#include "bilevel/cli/problem_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "bilevel/report/options_table.h"

namespace bilevel::cli {
namespace {

std::string default_of(const Field& field) {
  return field.get().is_null() ? "" : "; default " + value_of(field);
}

}  // namespace

void add_problem_flags(CLI::App& command, const std::shared_ptr<ProblemFlags>& given) {
  struct Flag {
    std::string name, type, meaning;
  };
  std::vector<Flag> flags;
  for (const KnownProblemEntry& entry : known_problem_registry()) {
    const std::unique_ptr<KnownProblem> problem = entry.make();
    const Fields fields = fields_of(*problem);
    for (const Field& field : fields.list()) {
      const std::string meaning = fmt::format("{}: {}{}", entry.name, field.meaning, default_of(field));
      const auto known =
          std::find_if(flags.begin(), flags.end(), [&](const Flag& f) { return f.name == field.name; });
      if (known == flags.end()) {
        flags.push_back({field.name, field.type, meaning});
      } else {
        known->meaning += "\n" + meaning;
      }
    }
  }
  for (const Flag& flag : flags) {
    std::string dashed = flag.name;
    std::replace(dashed.begin(), dashed.end(), '_', '-');
    if (command.get_option_no_throw("--" + dashed) != nullptr) continue;
    const auto add = [&](const std::string& spelling, const std::string& group) {
      command
          .add_option_function<std::string>(
              "--" + spelling, [given, name = flag.name](const std::string& text) { (*given)[name] = text; },
              flag.meaning)
          ->group(group)
          ->type_name(flag.type);
    };
    add(dashed, "Options of the problems");
    if (dashed != flag.name) add(flag.name, "");  // an empty group hides it
  }
}

void apply_problem_flags(const ProblemFlags& given, KnownProblem& problem) {
  const Fields fields = fields_of(problem);
  for (const auto& [name, text] : given) fields.set_text(name + "=" + text);
}

}  // namespace bilevel::cli
