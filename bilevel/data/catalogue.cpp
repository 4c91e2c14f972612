#include "bilevel/data/catalogue.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <unordered_set>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/lines.h"

namespace bilevel {
namespace {

std::string without_broken_bytes(std::string_view text) {
  std::string clean;
  size_t broken = 0;
  while ((broken = find_broken_utf8(text)) != std::string_view::npos) {
    clean.append(text.substr(0, broken));
    text.remove_prefix(broken + 1);
  }
  return clean.append(text);
}

// The value of a "Field: value" line of this field.
bool take_field(std::string_view line, std::string_view field, std::string& value) {
  if (!line.starts_with(field) || line.size() <= field.size() || line[field.size()] != ':') return false;
  value = without_broken_bytes(trimmed(line.substr(field.size() + 1)));
  return true;
}

}  // namespace

std::vector<CataloguePackage> parse_package_catalogue(std::string_view text) {
  std::vector<CataloguePackage> packages;
  std::unordered_set<std::string> seen;
  CataloguePackage package;
  const auto close = [&] {
    const bool whole = !package.name.empty() && !package.section.empty() && !package.description.empty();
    if (whole && seen.insert(package.name).second) {
      package.section.erase(0, package.section.rfind('/') + 1);
      packages.push_back(std::move(package));
    }
    package = {};
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) {
      close();
    } else if (!take_field(line, "Package", package.name) && !take_field(line, "Section", package.section) &&
               !take_field(line, "Description", package.description)) {
      take_field(line, "Description-en", package.description);
    }
  }
  close();
  return packages;
}

std::optional<std::vector<CataloguePackage>> read_package_catalogue() {
  // A fixed command: nothing that a caller gives reaches the shell.
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen("LC_ALL=C apt-cache dumpavail 2>/dev/null", "r"),
                                                   pclose);
  if (pipe == nullptr) return std::nullopt;
  std::string text;
  std::array<char, 1 << 16> chunk{};
  size_t got = 0;
  while ((got = std::fread(chunk.data(), 1, chunk.size(), pipe.get())) > 0) text.append(chunk.data(), got);
  std::vector<CataloguePackage> packages = parse_package_catalogue(text);
  if (packages.empty()) return std::nullopt;
  return packages;
}

// ---- the generated corpus ----

namespace {

using Words = std::vector<const char*>;

const Words kGameKinds{"puzzle", "arcade",   "strategy", "card",  "adventure",
                       "racing", "platform", "word",     "board", "role-playing"};
const Words kGameNouns{"game",       "clone",  "challenge",  "shooter",
                       "simulation", "engine", "collection", "client"};
const Words kGameTopics{"falling blocks", "space battles", "a haunted castle", "chess positions", "marbles",
                        "pirates",        "tanks",         "dragons",          "a maze",          "penguins",
                        "two players",    "four seasons"};
const Words kToolKinds{"fast",    "graphical",  "command-line", "portable", "network",     "lightweight",
                       "modular", "scientific", "simple",       "parallel", "interactive", "embedded"};
const Words kToolNouns{"library", "tool",       "editor",    "server", "client",    "viewer",  "simulation",
                       "engine",  "collection", "converter", "module", "framework", "monitor", "daemon"};
const Words kToolTopics{"image files",     "mail folders", "sparse matrices", "network packets",
                        "sound streams",   "XML trees",    "weather data",    "maps",
                        "log files",       "fonts",        "disk images",     "text documents",
                        "chess positions", "graphs",       "tables",          "mazes and graphs"};
const Words kEndings{"",
                     "",
                     "",
                     " for the desktop",
                     " written in C++",
                     " with a plugin system",
                     " (data files)",
                     " for small screens",
                     " - common files",
                     " over the network"};

const char* pick(const Words& words, at::Generator& generator) {
  const auto count = static_cast<int64_t>(words.size());
  return words[static_cast<size_t>(torch::randint(count, {1}, generator, torch::kInt64).item<int64_t>())];
}

}  // namespace

std::vector<LabelledText> generated_corpus(int64_t count, at::Generator& generator, double positive_share) {
  constexpr int64_t kFewest = 20;
  constexpr double kMixed = 0.15;  // share of the words that a description takes from the other class's list
  if (count < kFewest) throw InputError(fmt::format("count is {}; it must be at least {}", count, kFewest));
  const int64_t positives = std::max<int64_t>(2, std::llround(positive_share * static_cast<double>(count)));
  if (!(positive_share > 0) || positives >= count) {
    throw InputError(
        fmt::format("positive_share = {}: leaves a class of {} rows empty", positive_share, count));
  }
  const torch::Tensor order = torch::randperm(count, generator, torch::kInt64);
  std::vector<LabelledText> corpus(static_cast<size_t>(count));
  for (int64_t i = 0; i < positives; ++i)
    corpus[static_cast<size_t>(order[i].item<int64_t>())].is_positive = 1;
  for (LabelledText& entry : corpus) {
    const auto from = [&](const Words& games, const Words& tools) {
      const bool mixed = torch::rand({1}, generator).item<double>() < kMixed;
      const char* word = pick((entry.is_positive == 1) != mixed ? games : tools, generator);
      const auto share = [&](const Words& words) {
        const auto same = std::count_if(words.begin(), words.end(),
                                        [&](const char* known) { return std::string_view(known) == word; });
        return static_cast<double>(same) / static_cast<double>(words.size());
      };
      entry.log_odds += std::log(((1 - kMixed) * share(games) + kMixed * share(tools)) /
                                 (kMixed * share(games) + (1 - kMixed) * share(tools)));
      return word;
    };
    const char* kind = from(kGameKinds, kToolKinds);
    const char* noun = from(kGameNouns, kToolNouns);
    const char* topic = from(kGameTopics, kToolTopics);
    entry.text = fmt::format("{} {} {} {}{}", kind, noun, pick({"for", "with", "about"}, generator), topic,
                             pick(kEndings, generator));
  }
  return corpus;
}

}  // namespace bilevel
