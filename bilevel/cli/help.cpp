#include "bilevel/cli/help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <sstream>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/core/printable.h"

namespace bilevel::cli {
namespace {

using Words = std::vector<std::string>;

/// Code points: bytes that do not continue one.
int64_t columns_of(const std::string& text) {
  return std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

/// One line of words at a time.
void wrap_line(const std::string& line, int64_t width, int64_t indent, std::string& result) {
  std::istringstream words(line);
  const size_t first = line.find_first_not_of(' ');
  const std::string start(first == std::string::npos ? 0 : first, ' ');  // what is indented stays so
  result += start;
  int64_t at = static_cast<int64_t>(start.size());
  bool empty = true;
  for (std::string word; words >> word;) {
    const int64_t length = columns_of(word);
    if (!empty && at + 1 + length > width - indent) {
      result += "\n" + std::string(static_cast<size_t>(indent), ' ') + start;
      at = static_cast<int64_t>(start.size());
      empty = true;
    }
    result += (empty ? "" : " ") + word;
    at += length + (empty ? 0 : 1);
    empty = false;
  }
}

class HelpFormat : public CLI::Formatter {
 public:
  explicit HelpFormat(int64_t width) : width_(width) {
    column_width(static_cast<size_t>(std::min<int64_t>(30, width / 3)));
  }
  std::string make_description(const CLI::App* app) const override {
    return wrapped(CLI::Formatter::make_description(app), width_, 0);
  }
  std::string make_footer(const CLI::App* app) const override {
    return wrapped(CLI::Formatter::make_footer(app), width_, 0);
  }
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    return entry(make_option_name(option, is_positional) + make_option_opts(option),
                 make_option_desc(option));
  }
  std::string make_subcommand(const CLI::App* command) const override {
    return entry(command->get_display_name(true), command->get_description());
  }

 private:
  /// A name with its meaning in a second column, which begins on the next line where the name is too long.
  std::string entry(const std::string& name, const std::string& meaning) const {
    const auto column = static_cast<int64_t>(column_width_);
    std::string line = "  " + name;
    const int64_t used = columns_of(line);
    line += used + 1 > column ? "\n" + std::string(column_width_, ' ')
                              : std::string(static_cast<size_t>(column - used), ' ');
    return line + wrapped(meaning, width_, column) + "\n";
  }

  int64_t width_;
};

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* one) { return !one->get_name().empty(); });
}

Words names_of_commands(const CLI::App& app) {
  Words names;
  for (const CLI::App* command : commands_of(app)) names.push_back(command->get_name());
  return names;
}

Words flags_of(const CLI::App& app) {
  Words flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  std::ranges::sort(flags);
  return flags;
}

/// The command that `words` lead to, and how many of them.
std::pair<const CLI::App*, size_t> command_at(const CLI::App& program, const Words& words) {
  const CLI::App* at = &program;
  size_t used = 0;
  for (; used < words.size(); ++used) {
    const auto subcommands = commands_of(*at);
    const auto found = std::ranges::find_if(
        subcommands, [&](const CLI::App* one) { return one->get_name() == words[used]; });
    if (found == subcommands.end()) break;
    at = *found;
  }
  return {at, used};
}

/// "bilevel compare auc".
std::string path_of(const CLI::App& program, const Words& words, size_t used) {
  return fmt::format("{}", fmt::join(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(used), " "))
      .insert(0, program.get_name() + (used > 0 ? " " : ""));
}

std::string unknown(const std::string& what, const std::string& word, const Words& names) {
  const std::string near = nearest(word, names);
  return fmt::format("{} is no {}{}", word, what,
                     near.empty() ? "" : fmt::format("; did you mean {}?", near));
}

std::string help_of(const CLI::App& program, const Words& words) {
  const auto [command, used] = command_at(program, words);
  if (used < words.size())
    throw InputError(unknown("command of '" + path_of(program, words, used) + "'", words[used],
                             names_of_commands(*command)));
  return command->help(used == 0 ? "" : path_of(program, words, used - 1));
}

/// Calls `f` with the words that lead to it and every command, the program first.
template <typename F>
void each_command(const CLI::App& app, const Words& words, const F& f) {
  f(words, app);
  for (const CLI::App* command : commands_of(app)) {
    Words longer = words;
    longer.push_back(command->get_name());
    each_command(*command, longer, f);
  }
}

/// What may come next at every command, for bash; zsh reads it too.
std::string bash_script(const CLI::App& program) {
  std::string cases;
  each_command(program, {}, [&](const Words& words, const CLI::App& command) {
    cases += fmt::format("    '{}') words='{} {}' ;;\n", fmt::join(words, " "),
                         fmt::join(names_of_commands(command), " "), fmt::join(flags_of(command), " "));
  });
  return "# Completes the command line of bilevel. In ~/.bashrc:  source <(bilevel completion bash)\n"
         "_bilevel() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} path='' words='' i\n"
         "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
         "    case ${COMP_WORDS[i]} in -*) break ;; esac\n"
         "    path+=${path:+ }${COMP_WORDS[i]}\n"
         "  done\n"
         "  case $path in\n" +
         cases +
         "  esac\n"
         "  case $current in\n"
         "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;;\n"
         "    *) COMPREPLY=($(compgen -W \"$(printf '%s\\n' $words | grep -v '^-')\" -- \"$current\")\n"
         "                  $(compgen -f -- \"$current\")) ;;\n"
         "  esac\n"
         "}\n"
         "complete -o filenames -F _bilevel bilevel\n";
}

std::string fish_script(const CLI::App& program) {
  std::string lines =
      "# Completes the command line of bilevel. In config.fish:  bilevel completion fish | source\n";
  const auto quoted = [](const std::string& text) {
    std::string safe;
    for (const char c : text) safe += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    return "'" + safe + "'";
  };
  each_command(program, {}, [&](const Words& words, const CLI::App& command) {
    const Words names = names_of_commands(command);
    std::string here = "not __fish_seen_subcommand_from " + fmt::format("{}", fmt::join(names, " "));
    if (names.empty()) here = "true";
    for (const std::string& word : words) here += "; and __fish_seen_subcommand_from " + word;
    for (const CLI::App* next : commands_of(command)) {
      lines += fmt::format("complete -c bilevel -n {} -a {} -d {}\n", quoted(here), next->get_name(),
                           quoted(next->get_description()));
    }
    for (const CLI::Option* option : command.get_options()) {
      for (const std::string& name : option->get_lnames()) {
        lines += fmt::format("complete -c bilevel -n {} -l {} -d {}{}\n", quoted(here), name,
                             quoted(option->get_description()), option->get_type_size() > 0 ? " -r" : "");
      }
    }
  });
  return lines;
}

}  // namespace

int64_t help_width() {
  constexpr int64_t kUsual = 80, kLeast = 40, kMost = 100;
  int64_t width = kUsual;
  winsize window{};
  const char* columns = std::getenv("COLUMNS");
  const Number given = read_number(columns != nullptr ? columns : "");
  if (given.kind == CellKind::number)
    width = static_cast<int64_t>(given.value);
  else if (isatty(STDOUT_FILENO) != 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
    width = window.ws_col;
  return std::clamp(width, kLeast, kMost);
}

std::string wrapped(const std::string& text, int64_t width, int64_t indent) {
  std::string result;
  std::istringstream lines(text);
  bool first = true;
  for (std::string line; std::getline(lines, line);) {
    if (!first) result += "\n" + std::string(line.empty() ? 0 : static_cast<size_t>(indent), ' ');
    first = false;
    wrap_line(line, width, indent, result);
  }
  if (!text.empty() && text.back() == '\n') result += "\n";
  return result;
}

std::shared_ptr<CLI::FormatterBase> help_format(int64_t width) { return std::make_shared<HelpFormat>(width); }

std::string nearest(const std::string& word, const Words& names) {
  std::string best;
  const size_t n = word.size();
  size_t least = std::max<size_t>(1, n / 3) + 1;
  for (const std::string& name : names) {
    const size_t m = name.size();
    // Rows of the table of distances between beginnings: d[i][j].
    std::vector<std::vector<size_t>> d(n + 1, std::vector<size_t>(m + 1));
    for (size_t i = 0; i <= n; ++i) {
      for (size_t j = 0; j <= m; ++j) {
        if (i == 0 || j == 0) {
          d[i][j] = i + j;
          continue;
        }
        const size_t exchanged = word[i - 1] == name[j - 1] ? 0 : 1;
        d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + exchanged});
        if (i > 1 && j > 1 && word[i - 1] == name[j - 2] && word[i - 2] == name[j - 1])
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
    if (d[n][m] < least) {
      least = d[n][m];
      best = name;
    }
  }
  return best;
}

std::string usage_message(const CLI::App& program, const CLI::ParseError& error, const Words& words) {
  const auto [command, used] = command_at(program, words);
  const std::string path = path_of(program, words, used);
  if (used < words.size() && !words[used].starts_with("-") && !commands_of(*command).empty() &&
      command->get_options([](const CLI::Option* option) { return option->get_positional(); }).empty())
    return unknown("command of '" + path + "'", words[used], names_of_commands(*command));
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const Words known = flags_of(*command);
    for (size_t i = used; i < words.size(); ++i) {
      const std::string flag = words[i].substr(0, words[i].find('='));
      if (flag.starts_with("--") && std::ranges::find(known, flag) == known.end())
        return unknown("flag of '" + path + "'", flag, known);
    }
  }
  return error.what();
}

std::string completion_script(const CLI::App& program, const std::string& shell) {
  if (shell == "bash") return bash_script(program);
  if (shell == "zsh")
    return "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" +
           bash_script(program);
  if (shell == "fish") return fish_script(program);
  throw InputError("shell = " + shell + ": must be bash, zsh or fish");
}

void add_help(CLI::App& program, Body& body) {
  const auto words = std::make_shared<Words>();
  CLI::App* help = program.add_subcommand("help", "tell the options of a command");
  help->add_option("COMMAND", *words, "the command, and a command of its own");
  help->callback([words, &program, &body] {
    body = [words, &program] {
      std::cout << help_of(program, *words);
      return static_cast<int>(kDone);
    };
  });
  const auto shell = std::make_shared<std::string>();
  CLI::App* completion =
      program.add_subcommand("completion", "print a script that completes commands in a shell");
  completion->add_option("SHELL", *shell, "bash, zsh or fish")->required();
  completion->footer("bash:  source <(bilevel completion bash)\nfish:  bilevel completion fish | source");
  completion->callback([shell, &program, &body] {
    body = [shell, &program] {
      std::cout << completion_script(program, *shell);
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace bilevel::cli
