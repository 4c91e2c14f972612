#include "bilevel/report/plot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <system_error>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/report/escape.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

// Okabe and Ito's colours, without the yellow that is too light on white.
constexpr std::array<std::string_view, 7> kColours{"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                   "#E69F00", "#56B4E9", "#000000"};
constexpr size_t kThinnedBuckets = 500;
constexpr size_t kFewPoints = 40;  // a line of so few points also shows the points

/// A folder that is gone, with what is in it, at scope end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::error_code error;
    const fs::path parent = fs::temp_directory_path(error);
    std::string pattern = (error ? fs::path("/tmp") : parent) / "bilevel_plot_XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw FileError(fmt::format("{}: cannot make a temporary folder: {}.", pattern,
                                  std::generic_category().message(errno)));
    }
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

/// A gnuplot string: in double quotes, with every ASCII character that is no letter or digit as an octal
/// escape, so that nothing in a text (quotes, backquotes, macros) can mean something to gnuplot.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : clean_utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || std::isalnum(byte) != 0 || c == ' ') {
      result += c;
    } else {
      result += c == '\n' || c == '\t' ? " " : fmt::format("\\{:03o}", byte);
    }
  }
  return result + "\"";
}

struct Point {
  double x;
  double y;
};

/// The points that can be drawn.
std::vector<Point> drawable(const Series& series, bool log_x, bool log_y) {
  const auto shows = [](double value, bool log) { return std::isfinite(value) && (!log || value > 0); };
  std::vector<Point> points;
  for (size_t i = 0; i < series.x.size(); ++i) {
    if (shows(series.x[i], log_x) && shows(series.y[i], log_y)) points.push_back({series.x[i], series.y[i]});
  }
  return points;
}

/// Both ends and, of each of equally long stretches between them, the lowest and the highest point.
std::vector<Point> thinned(const std::vector<Point>& points) {
  if (points.size() <= 2 * kThinnedBuckets) return points;
  std::vector<Point> result{points.front()};
  const size_t inner = points.size() - 2;
  for (size_t bucket = 0; bucket < kThinnedBuckets; ++bucket) {
    const auto begin = points.begin() + 1 + static_cast<std::ptrdiff_t>(inner * bucket / kThinnedBuckets);
    const auto end = points.begin() + 1 + static_cast<std::ptrdiff_t>(inner * (bucket + 1) / kThinnedBuckets);
    auto [low, high] =
        std::minmax_element(begin, end, [](const Point& a, const Point& b) { return a.y < b.y; });
    if (high < low) std::swap(low, high);
    result.push_back(*low);
    if (high != low) result.push_back(*high);
  }
  result.push_back(points.back());
  return result;
}

/// Runs gnuplot on a script.
PlotResult run_gnuplot(const std::string& gnuplot, const std::string& script, const std::string& title) {
  const TemporaryFolder folder;
  write_file_atomically(folder.file("plot.gp"), script);
  std::string name = gnuplot;
  std::string no_settings = "-d";
  std::string script_path = folder.file("plot.gp");
  char* const arguments[] = {name.data(), no_settings.data(), script_path.data(), nullptr};

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, folder.file("out.svg").c_str(),
                                   O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, folder.file("errors").c_str(), O_WRONLY | O_CREAT,
                                   0600);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, name.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT) {
    return {
        "",
        fmt::format(
            "No picture of \"{}\": the program {} is not installed. On Debian: apt-get install gnuplot-nox.",
            title, gnuplot)};
  }
  if (error != 0) {
    return {"", fmt::format("No picture of \"{}\": {} cannot be started: {}.", title, gnuplot,
                            std::generic_category().message(error))};
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::string svg = read_file(folder.file("out.svg"));
  if (status != 0 || svg.find("</svg>") == std::string::npos) {
    std::string reason = clean_utf8(read_file(folder.file("errors")));
    std::ranges::replace(reason, '\n', ' ');
    return {"",
            fmt::format("No picture of \"{}\": {} failed: {}", title, gnuplot,
                        reason.find_first_not_of(' ') == std::string::npos ? "it gave no reason." : reason)};
  }
  if (const size_t begin = svg.find("<title>"), end = svg.find("</title>");
      begin < end && end != std::string::npos) {
    svg.replace(begin + 7, end - begin - 7, escape_markup(title));
  }
  return {svg, ""};
}

std::string common_settings(const std::string& title, const std::string& x_label, const std::string& y_label,
                            int width, int height) {
  std::string script = fmt::format(
      "set terminal svg size {},{} noenhanced linewidth 1 font 'Arial,14' background '#ffffff'\n"
      "set encoding utf8\n"
      "set border 3 linecolor rgb '#666666'\n"
      "set tics out nomirror scale 0.6 textcolor rgb '#333333'\n"
      "set grid linecolor rgb '#dddddd' linetype 1 linewidth 0.7\n"
      "set key bmargin center horizontal Left reverse samplen 2 width 1 height 0.8\n",
      width, height);
  if (!title.empty()) script += "set title " + quoted(title) + " font 'Arial,16'\n";
  return script + "set xlabel " + quoted(x_label) + " offset 0,0.3\nset ylabel " + quoted(y_label) + "\n";
}

std::string style(size_t index) {
  return fmt::format("linecolor rgb '{}' dashtype {} linewidth 2", kColours[index % kColours.size()],
                     1 + index / kColours.size() % 5);
}

/// The band's points as "x low high".
std::string band_block(size_t index, const Series& series, bool log_x, bool log_y) {
  const auto shows = [](double value, bool log) { return std::isfinite(value) && (!log || value > 0); };
  const size_t stride = 1 + series.x.size() / (2 * kThinnedBuckets);
  std::string block;
  for (size_t i = 0; i < series.low.size(); ++i) {
    if (i % stride != 0 && i + 1 != series.low.size()) continue;
    if (shows(series.x[i], log_x) && shows(series.low[i], log_y) && shows(series.high[i], log_y))
      fmt::format_to(std::back_inserter(block), "{} {} {}\n", series.x[i], series.low[i], series.high[i]);
  }
  return block.empty() ? block : fmt::format("$band{} << END_OF_DATA\n{}END_OF_DATA\n", index, block);
}

std::string data_block(size_t index, const std::vector<Point>& points) {
  std::string block = fmt::format("$data{} << END_OF_DATA\n", index);
  for (const Point& point : points) fmt::format_to(std::back_inserter(block), "{} {}\n", point.x, point.y);
  return block + "END_OF_DATA\n";
}

}  // namespace

std::string line_sample(size_t style) {
  // Gnuplot's dash types 1 to 5, about.
  constexpr std::array<std::string_view, 5> kDashes{"", "7 5", "2 3", "9 3 2 3", "9 3 2 3 2 3"};
  return fmt::format(
      "<svg class=\"sample\" width=\"28\" height=\"4\"><path d=\"M0,2h28\" stroke=\"{}\" stroke-width=\"3\" "
      "stroke-dasharray=\"{}\"/></svg>",
      kColours[style % kColours.size()], kDashes[style / kColours.size() % kDashes.size()]);
}

PlotResult draw(const LinePlot& plot, const std::string& gnuplot) {
  if (plot.width < 200 || plot.height < 150 || plot.width > 10000 || plot.height > 10000) {
    throw InputError(fmt::format("A plot of {} x {} pixels is not between 200 x 150 and 10000 x 10000.",
                                 plot.width, plot.height));
  }
  std::string data;
  std::string bands;  // below all lines
  std::string lines;
  double low = INFINITY;
  double high = -INFINITY;
  double top = -INFINITY;
  for (size_t index = 0; index < plot.series.size(); ++index) {
    const Series& series = plot.series[index];
    if (series.x.size() != series.y.size()) {
      throw InputError(fmt::format("The series '{}' has {} x and {} y values.", series.label, series.x.size(),
                                   series.y.size()));
    }
    if (series.low.size() != series.high.size() ||
        (!series.low.empty() && series.low.size() != series.x.size())) {
      throw InputError(fmt::format("The band of the series '{}' has {} and {} limits for {} points.",
                                   series.label, series.low.size(), series.high.size(), series.x.size()));
    }
    const std::vector<Point> points = drawable(series, plot.log_x, plot.log_y);
    if (points.empty()) continue;
    for (const Point& point : points) {
      low = std::min(low, point.x);
      high = std::max(high, point.x);
      top = std::max(top, point.y);
    }
    const size_t look = series.style.value_or(index);
    const std::string band = band_block(index, series, plot.log_x, plot.log_y);
    data += band + data_block(index, thinned(points));
    if (!band.empty()) {
      bands += fmt::format(
          "{}$band{} using 1:2:3 with filledcurves fillcolor rgb '{}' fillstyle transparent solid 0.14 "
          "noborder notitle",
          bands.empty() ? "" : ", \\\n  ", index, kColours[look % kColours.size()]);
    }
    lines += fmt::format("{}$data{} using 1:2 with {} {} title {}", lines.empty() ? "" : ", \\\n  ", index,
                         points.size() <= kFewPoints ? "linespoints pointtype 7 pointsize 0.5" : "lines",
                         style(look), quoted(series.label));
  }
  if (lines.empty())
    return {"", fmt::format("No picture of \"{}\": there is no finite value to draw.", plot.title)};

  std::string script = common_settings(plot.title, plot.x_label, plot.y_label, plot.width, plot.height);
  if (low < high) script += fmt::format("set xrange [{}:{}]\n", low, high);
  if (top > plot.y_most) script += fmt::format("set yrange [*:{}]\n", plot.y_most);
  if (plot.log_x) script += "set logscale x\n";
  if (plot.log_y) script += "set logscale y\n";
  for (const Marker& marker : plot.markers) {
    if (!(marker.x >= low && marker.x <= high) || low == high) continue;
    // The label stands on the side with more room.
    const bool right = plot.log_x ? marker.x * marker.x > low * high : marker.x > low + (high - low) / 2;
    script += fmt::format(
        "set arrow from first {0},graph 0 to first {0},graph 1 nohead dashtype 2 linewidth 1.2 linecolor rgb "
        "'#555555' back\n"
        "set label {1} at first {0},graph 0.06 {2} offset character {3},0 textcolor rgb '#333333' front\n",
        marker.x, quoted(marker.label), right ? "right" : "left", right ? -0.7 : 0.7);
  }
  const std::string curves = "plot " + bands + (bands.empty() ? "" : ", \\\n  ") + lines;
  return run_gnuplot(gnuplot, script + data + curves + "\n", plot.title);
}

PlotResult draw_roc(const std::string& title, const std::vector<RocSeries>& curves,
                    const std::string& gnuplot) {
  std::string data;
  std::string lines =
      "plot x with lines linecolor rgb '#999999' dashtype 2 linewidth 1 title 'random ranking'";
  for (size_t index = 0; index < curves.size(); ++index) {
    std::vector<Point> points;
    for (const RocPoint& point : curves[index].points)
      points.push_back({point.false_positive_rate, point.true_positive_rate});
    if (points.empty())
      return {"",
              fmt::format("No picture of \"{}\": the curve '{}' has no points.", title, curves[index].label)};
    data += data_block(index, points);
    lines += fmt::format(", \\\n  $data{} using 1:2 with lines {} title {}", index, style(index),
                         quoted(curves[index].label));
  }
  std::string script = common_settings(title, "false positive rate", "true positive rate", 480, 500);
  script +=
      "set size square\nset xrange [0:1]\nset yrange [0:1]\nset xtics 0.2\nset ytics 0.2\nset samples 2\n"
      "set key inside bottom right vertical Left reverse width 1 box linecolor rgb '#dddddd'\n";
  return run_gnuplot(gnuplot, script + data + lines + "\n", title);
}

Series series_from_trace(const Trace& trace, const std::string& x_key, const std::string& y_key,
                         const std::string& label) {
  using nlohmann::ordered_json;
  const auto find = [](const ordered_json& row, const std::string& key) -> const ordered_json* {
    if (key.starts_with('/')) {
      const ordered_json::json_pointer pointer(key);
      return row.contains(pointer) ? &row.at(pointer) : nullptr;
    }
    const auto found = row.find(key);
    return found == row.end() ? nullptr : &*found;
  };
  Series series{label, {}, {}};
  for (const ordered_json& row : trace.rows) {
    const ordered_json* x = find(row, x_key);
    const ordered_json* y = find(row, y_key);
    if (x == nullptr || y == nullptr || !x->is_number() || !y->is_number()) continue;
    series.x.push_back(x->get<double>());
    series.y.push_back(y->get<double>());
  }
  return series;
}

}  // namespace bilevel
