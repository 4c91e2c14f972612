#include "bilevel/cli/field_flags.h"

#include <fmt/format.h>

#include "bilevel/report/options_table.h"

namespace bilevel::cli {
namespace {

/// --refit and --no-refit.
void add_truth_flags(CLI::App& command, const Field& field, const std::shared_ptr<GivenFlags>& given,
                     const std::string& group) {
  const std::string name = field.flag().substr(std::string("--[no-]").size());
  for (const bool value : {true, false}) {
    const auto note = [given, field, name, value](int64_t) {
      std::vector<std::string>& texts = (*given)[field.name];
      const std::string text = value ? "true" : "false";
      if (!texts.empty() && texts.front() != text)
        throw CLI::ValidationError(fmt::format("give --{0} or --no-{0}, not both", name));
      texts = {text};
    };
    command
        .add_flag_function((value ? "--" : "--no-") + name, note, (value ? "" : "do not ") + field.meaning)
        ->group(field.get() == nlohmann::json(value) ? "" : group);  // an empty group hides it
  }
}

/// Of a field with a choice: with blanks, where a line may break.
std::string choices_of(const Field& field) {
  std::string text;
  for (const char c : field.type) text += c == '|' ? std::string(" | ") : std::string(1, c);
  return text;
}

}  // namespace

void add_field_flags(CLI::App& command, const Fields& fields, const std::shared_ptr<GivenFlags>& given,
                     const std::string& left_out, const std::string& group) {
  for (const Field& field : fields.list()) {
    if (!left_out.empty() && field.group == left_out) continue;
    const std::string& heading = field.group.empty() ? group : field.group;
    if (field.is_flag()) {
      add_truth_flags(command, field, given, heading);
      continue;
    }
    const bool is_choice = !field.word.empty() && field.type.find('|') != std::string::npos;
    const bool has_default = !field.otherwise.empty() || !(field.get().is_null() || field.is_list());
    CLI::Option* option = command.add_option_function<std::vector<std::string>>(
        field.flag(),
        [given, name = field.name](const std::vector<std::string>& texts) { (*given)[name] = texts; },
        field.meaning + (is_choice ? fmt::format(" ({})", choices_of(field)) : "") +
            (has_default ? "; default: " + value_of(field) : ""));
    option->group(heading)->type_name(field.word.empty() ? field.type : field.word)->expected(1);
    if (field.is_list()) option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
}

}  // namespace bilevel::cli
