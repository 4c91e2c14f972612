// The pages say what the code says: options, costs, lists of solvers, links.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>

#include "bilevel/report/options_table.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/job/parts.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = fs::path(BILEVEL_SOURCE_DIR);

std::string page(const fs::path& path) {
  EXPECT_TRUE(fs::is_regular_file(kRoot / path)) << path << " is missing";
  return read_bytes((kRoot / path).string());
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// The cells of a table row, without the blanks around them; empty for a line that is no row.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  if (!line.starts_with("| ")) return cells;
  std::istringstream stream(line.substr(1));
  for (std::string cell; std::getline(stream, cell, '|');) {
    const size_t first = cell.find_first_not_of(' ');
    cells.push_back(first == std::string::npos ? ""
                                               : cell.substr(first, cell.find_last_not_of(' ') - first + 1));
  }
  return cells;
}

/// The lines between a heading and the next one of its level.
std::vector<std::string> section(const std::string& text, const std::string& heading) {
  std::vector<std::string> found;
  bool inside = false;
  for (const std::string& line : lines_of(text)) {
    if (inside && line.starts_with("## ")) break;
    if (inside) found.push_back(line);
    inside = inside || line == heading;
  }
  EXPECT_FALSE(found.empty()) << "there is no section '" << heading << "'";
  return found;
}

fs::path page_of(const SolverEntry& entry) {
  return fs::path("bilevel/solver") / entry.name / (entry.name + ".md");
}

// ---- solver pages ----

TEST(SolverPages, ShowTheOptionsThatTheFieldsGive) {
  for (const SolverEntry& entry : solver_registry()) {
    SCOPED_TRACE(entry.name + ": 'make docs-tables' writes the tables");
    const std::string table = options_table(fields_of(*entry.make()));
    EXPECT_CONTAINS(page(page_of(entry)), "<!-- options:begin -->\n" + table + "<!-- options:end -->\n");
  }
}

TEST(JobPages, ShowTheOptionsThatTheFieldsGive) {
  for (const JobEntry& entry : job_registry()) {
    SCOPED_TRACE(entry.name + ": 'make docs-tables' writes the tables");
    JobFlags flags(entry);
    const std::string table = options_table(fields_of(flags));
    EXPECT_CONTAINS(page("docs/" + entry.name + ".md"),
                    "<!-- options:begin -->\n" + table + "<!-- options:end -->\n");
  }
}

TEST(SolverPages, TellAlgorithmCostAndUse) {
  for (const SolverEntry& entry : solver_registry()) {
    const std::string text = page(page_of(entry));
    for (const char* heading : {"# ", "\n## Algorithm", "\n## Options\n", "\n## Cost", "\n## When to use it",
                                "\n## Pitfalls", "\n## Differs from the paper"}) {
      EXPECT_CONTAINS(text, heading) << entry.name;
    }
  }
}

TEST(UmbrellaHeader, BringsEverySolver) {
  const std::string text = page("bilevel/bilevel.h");
  for (const SolverEntry& entry : solver_registry()) {
    EXPECT_CONTAINS(text, "#include \"bilevel/solver/" + entry.name + "/" + entry.name + ".h\"");
  }
}

TEST(Notation, NamesEveryOptionOfEverySolver) {
  const std::string text = page("docs/notation.md");
  for (const SolverEntry& entry : solver_registry()) {
    const auto solver = entry.make();
    const Fields fields = fields_of(*solver);
    for (const Field& field : fields.list()) {
      EXPECT_NE(text.find("| `" + field.name + "` |"), std::string::npos)
          << "docs/notation.md has no row for `" << field.name << "` of " << entry.name;
    }
  }
}

TEST(Choose, LeadsToEverySolver) {
  const std::string text = page("docs/choose.md");
  for (const SolverEntry& entry : solver_registry()) {
    EXPECT_CONTAINS(text, "(../" + page_of(entry).generic_string());
  }
}

TEST(Choose, TellsWhatTheTheoriesAssume) {
  std::string table =
      "| solver | second derivatives of f | g in y | derivatives | samples | options "
      "|\n|---|---|---|---|---|---|\n";
  for (const SolverEntry& entry : solver_registry()) {
    const Assumptions& a = entry.assumptions;
    table += "| [" + entry.name + "](../" + page_of(entry).generic_string() + ")";
    for (const std::string& cell : {words_of(a.smoothness), words_of(a.convexity), words_of(a.noise),
                                    words_of(a.sampling), a.of_options})
      table += " | " + cell;
    table += " |\n";
  }
  EXPECT_CONTAINS(page("docs/choose.md"),
                  "<!-- assumptions:begin -->\n" + table + "<!-- assumptions:end -->\n");
}

// ---- docs/solvers.md ----

TEST(SolverIndex, ListsTheRegistry) {
  std::string table = "| solver | in one line |\n|---|---|\n";
  for (const SolverEntry& entry : solver_registry()) {
    table += "| [" + entry.name + "](../" + page_of(entry).generic_string() + ") | " + entry.summary + " |\n";
  }
  EXPECT_CONTAINS(page("docs/solvers.md"), "<!-- solvers:begin -->\n" + table + "<!-- solvers:end -->\n");
}

/// The value of "2 * (neumann_terms - 1)" for given options. Throws std::invalid_argument.
class Formula {
 public:
  Formula(std::string text, const Fields& fields) : text_(std::move(text)), fields_(fields) {}

  double value() {
    const double result = sum();
    if (peek() != '\0') throw std::invalid_argument("left over: " + text_.substr(at_));
    return result;
  }

 private:
  char peek() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  double sum() {
    double result = product();
    while (true) {
      if (take('+')) {
        result += product();
      } else if (take('-')) {
        result -= product();
      } else {
        return result;
      }
    }
  }
  double product() {
    double result = atom();
    while (true) {
      if (take('*')) {
        result *= atom();
      } else if (take('/')) {
        result /= atom();
      } else {
        return result;
      }
    }
  }
  double atom() {
    if (take('(')) {
      const double result = sum();
      if (!take(')')) throw std::invalid_argument("')' is missing in " + text_);
      return result;
    }
    const char first = peek();
    const size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(text_[at_]) != 0 || text_[at_] == '_')) ++at_;
    const std::string word = text_.substr(begin, at_ - begin);
    if (std::isdigit(first) != 0) return std::stod(word);
    for (const Field& field : fields_.list()) {
      if (field.name == word) return field.get().get<double>();
    }
    throw std::invalid_argument("no option '" + word + "'");
  }

  std::string text_;
  const Fields& fields_;
  size_t at_ = 0;
};

struct Cost {
  std::string formula;  ///< in option names
  bool mean = false;    ///< random: the formula is the expectation
};

/// The table of costs: solver, then kind of oracle, to the formula.
std::map<std::string, std::map<std::string, Cost>> documented_costs() {
  std::map<std::string, std::map<std::string, Cost>> costs;
  std::vector<std::string> kinds;
  for (const std::string& line : section(page("docs/solvers.md"), "## Cost of a step")) {
    const std::vector<std::string> cells = cells_of(line);
    if (cells.empty()) continue;
    if (kinds.empty()) {
      kinds = cells;
      for (std::string& kind : kinds) std::erase(kind, '`');
      continue;
    }
    EXPECT_EQ(cells.size(), kinds.size()) << line;
    EXPECT_FALSE(costs.contains(cells[0])) << "two rows for " << cells[0];
    for (size_t i = 1; i < std::min(cells.size(), kinds.size()); ++i) {
      Cost cost{.formula = cells[i]};
      const size_t mean = cost.formula.find(" on average");
      cost.mean = mean != std::string::npos;
      if (cost.mean) cost.formula.resize(mean);
      std::erase(cost.formula, '`');
      costs[cells[0]][kinds[i]] = cost;
    }
  }
  return costs;
}

/// Calls of `steps` steps by kind.
std::map<std::string, double> calls_of(const SolverEntry& entry, Solver& solver, int64_t steps) {
  return entry.documented_calls(solver, steps).to_json().get<std::map<std::string, double>>();
}

TEST(SolverIndex, CostsAreThoseOfTheRegistry) {
  constexpr int64_t kSteps = 3600;  // a multiple of many periods
  const auto costs = documented_costs();
  for (const SolverEntry& entry : solver_registry()) {
    ASSERT_TRUE(costs.contains(entry.name)) << entry.name << " has no row";
    const auto check = [&](const std::string& name, int64_t value) {
      const auto solver = entry.make();
      const Fields fields = fields_of(*solver);
      if (!name.empty()) fields.set(name, value);
      for (const auto& [kind, calls] : calls_of(entry, *solver, kSteps)) {
        const auto& row = costs.at(entry.name);
        const auto found = row.find(kind);
        if (found == row.end()) {
          EXPECT_EQ(calls, 0) << entry.name << " has " << kind << ", of which the table has no column";
        } else {  // the expected number, where it is random
          // At the ends of a run a period may lack a few calls.
          EXPECT_NEAR(calls / kSteps, Formula(found->second.formula, fields).value(),
                      0.004 * (1 + calls / kSteps))
              << entry.name << ", " << kind << " with " << name << " = " << value;
        }
      }
    };
    check("", 0);
    const auto solver = entry.make();
    const Fields fields = fields_of(*solver);
    for (const Field& field : fields.list()) {
      if (field.type == "integer") check(field.name, 3);
    }
  }
  EXPECT_EQ(costs.size(), solver_registry().size());
}

TEST(SolverIndex, RandomCostsAreRightOnAverage) {
  constexpr int64_t kSteps = 1500;
  for (const auto& [name, row] : documented_costs()) {
    for (const auto& [kind, cost] : row) {
      if (!cost.mean) continue;
      const auto solver = make_solver(name);
      const double expected = Formula(cost.formula, fields_of(*solver)).value();
      const Ridge ridge;
      const Result result = run(ridge.problem(), *solver, {.max_steps = kSteps, .seed = 3});
      ASSERT_EQ(result.steps, kSteps) << name << ": " << result.message;
      std::vector<double> calls;
      double before = 0;
      for (const TraceRow& step : result.trace) {
        const double total = step.oracle_calls.to_json()[kind].get<double>();
        calls.push_back(total - before);
        before = total;
      }
      const double mean = before / kSteps;
      double variance = 0;
      for (const double count : calls) variance += (count - mean) * (count - mean) / (kSteps - 1);
      EXPECT_GT(variance, 0) << name << ": " << kind << " is not random";
      EXPECT_NEAR(mean, expected, 4 * std::sqrt(variance / kSteps)) << name << ", " << kind;
    }
  }
}

TEST(Formula, HasTheUsualRules) {
  int64_t terms = 10, steps = 4;
  Fields fields;
  fields.integer("terms", terms, kAny, "");
  fields.integer("steps", steps, kAny, "");
  EXPECT_EQ(Formula("2 * (terms - 1)", fields).value(), 18);
  EXPECT_EQ(Formula("1 + terms / steps * 2 - 3", fields).value(), 3);
  for (const char* wrong : {"2 *", "(terms", "sums", "1 2", ""})
    EXPECT_THROW(Formula(wrong, fields).value(), std::invalid_argument) << wrong;
}

// ---- links ----

/// Headings as GitHub turns them into anchors.
std::set<std::string> anchors_of(const std::string& text) {
  std::set<std::string> anchors;
  for (const std::string& line : lines_of(text)) {
    if (!line.starts_with("#")) continue;
    std::string anchor;
    for (const char c : line.substr(std::min(line.size(), line.find_first_not_of("# ")))) {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-') {
        anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      } else if (c == ' ') {
        anchor += '-';
      }
    }
    anchors.insert(anchor);
  }
  return anchors;
}

/// The text without its blocks of code.
std::string prose_of(const std::string& text) {
  std::string prose;
  bool code = false;
  for (const std::string& line : lines_of(text)) {
    if (line.starts_with("```")) {
      code = !code;
    } else if (!code) {
      prose += line + "\n";
    }
  }
  return prose;
}

TEST(Links, LeadToFilesAndHeadings) {
  std::vector<fs::path> pages;
  for (const auto& entry : fs::directory_iterator(kRoot)) {
    if (entry.is_regular_file() && entry.path().extension() == ".md") pages.push_back(entry.path());
  }
  for (const char* folder : {"docs", "bilevel", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      if (entry.is_regular_file() && entry.path().extension() == ".md") pages.push_back(entry.path());
    }
  }
  EXPECT_GT(pages.size(), 10U);
  const std::regex link(R"(\]\(([^)\s]+)\))");
  int checked = 0;
  for (const fs::path& from : pages) {
    const std::string text = prose_of(read_bytes(from.string()));
    for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it) {
      const std::string target = (*it)[1];
      if (target.find("://") != std::string::npos) continue;
      const size_t hash = target.find('#');
      const std::string file = target.substr(0, hash);
      const fs::path to = file.empty() ? from : from.parent_path() / file;
      ++checked;
      EXPECT_TRUE(fs::exists(to)) << from << " leads to " << target;
      if (hash != std::string::npos && fs::is_regular_file(to)) {
        EXPECT_TRUE(anchors_of(read_bytes(to.string())).contains(target.substr(hash + 1)))
            << from << " leads to " << target;
      }
    }
  }
  EXPECT_GT(checked, 50);
}

}  // namespace
}  // namespace bilevel
