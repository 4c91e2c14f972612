#include "bilevel/report/plot.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "bilevel/core/error.h"

namespace bilevel {
namespace plot_test {

namespace fs = std::filesystem;

bool has_gnuplot() {
  std::string path = std::getenv("PATH") == nullptr ? "" : std::getenv("PATH");
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    if (::access((path.substr(begin, end - begin) + "/gnuplot").c_str(), X_OK) == 0) return true;
    begin = end + 1;
  }
  return false;
}

#define REQUIRE_GNUPLOT() \
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed"

size_t count(const std::string& text, const std::string& part) {
  size_t result = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++result;
  return result;
}

/// When BILEVEL_KEEP_PLOTS names a folder, the pictures go there to be looked at.
void keep(const std::string& name, const PlotResult& result) {
  if (const char* folder = std::getenv("BILEVEL_KEEP_PLOTS"))
    std::ofstream(fs::path(folder) / (name + ".svg")) << result.svg;
}

LinePlot example() {
  LinePlot plot{.title = "AUC while training", .x_label = "step", .y_label = "AUC", .series = {}};
  plot.series = {{"training rows", {0, 100, 200, 300}, {0.5, 0.8, 0.9, 0.95}},
                 {"validation rows", {0, 100, 200, 300}, {0.5, 0.75, 0.8, 0.79}}};
  plot.markers = {{200, "chosen step 200"}};
  return plot;
}

TEST(Plot, DrawsEverythingItWasGiven) {
  REQUIRE_GNUPLOT();
  const PlotResult result = draw(example());
  keep("lines", result);
  EXPECT_EQ(result.note, "");
  for (const char* text : {"AUC while training", "training rows", "validation rows", "chosen step 200",
                           ">step<", "rgb(  0, 114, 178)", "rgb(213,  94,   0)"}) {
    EXPECT_NE(result.svg.find(text), std::string::npos) << text;
  }
  EXPECT_TRUE(result.svg.starts_with("<?xml"));
  EXPECT_EQ(result.svg.find("<script"), std::string::npos);
  EXPECT_EQ(result.svg.find("Gnuplot<"), std::string::npos);
}

TEST(Plot, TextsCannotBecomeCommandsOrMarkup) {
  REQUIRE_GNUPLOT();
  const fs::path trap = fs::temp_directory_path() / ("bilevel_trap_" + std::to_string(::getpid()));
  const std::string evil = "'; system('touch " + trap.string() + "') #`touch " + trap.string() +
                           "`\n!touch " + trap.string() + "\n<script>&\"\\ %s {x}_2 \xff\x01";
  LinePlot plot = example();
  plot.title = plot.x_label = plot.y_label = plot.series[0].label = plot.markers[0].label = evil;
  const PlotResult result = draw(plot);
  EXPECT_EQ(result.note, "");
  EXPECT_FALSE(fs::exists(trap));
  EXPECT_EQ(result.svg.find("<script"), std::string::npos);
  EXPECT_GE(count(result.svg, "&lt;script>&amp;") + count(result.svg, "&lt;script&gt;&amp;"), 5u);
  EXPECT_GE(count(result.svg, "{x}_2"), 5u);
  EXPECT_EQ(result.svg.find('\xff'), std::string::npos);
  EXPECT_EQ(result.svg.find('\x01'), std::string::npos);
}

TEST(Plot, LogarithmicAxesAndHoles) {
  REQUIRE_GNUPLOT();
  LinePlot plot{.title = "Loss", .x_label = "step", .y_label = "loss", .series = {}, .log_y = true};
  plot.series = {{"f", {1, 2, 3, 4, 5, 6}, {1e-3, NAN, INFINITY, 0, -1, 1e3}}, {"nothing", {1}, {-1}}};
  const PlotResult result = draw(plot);
  keep("log", result);
  EXPECT_EQ(result.note, "");
  EXPECT_EQ(result.svg.find("nothing"), std::string::npos);
  EXPECT_NE(result.svg.find("0.001"), std::string::npos);
  plot.log_x = true;
  plot.markers = {{2, "two"}};
  EXPECT_EQ(draw(plot).note, "");
}

TEST(Plot, OnePointAndConstantLines) {
  REQUIRE_GNUPLOT();
  LinePlot plot{.title = "t", .x_label = "x", .y_label = "y", .series = {{"one", {5}, {1}}}};
  plot.markers = {{5, "here"}};
  EXPECT_EQ(draw(plot).note, "");
  plot.series = {{"flat", {1, 2, 3}, {0, 0, 0}}};
  EXPECT_EQ(draw(plot).note, "");
}

TEST(Plot, LongLinesAreThinnedAndKeepTheirExtremes) {
  REQUIRE_GNUPLOT();
  std::mt19937_64 random(1);
  Series series{"noise", {}, {}};
  for (int i = 0; i < 200'000; ++i) {
    series.x.push_back(i);
    series.y.push_back(static_cast<double>(random() % 1000) / 1000);
  }
  series.y[77'777] = 50;
  const PlotResult result = draw({.title = "t", .x_label = "x", .y_label = "y", .series = {series}});
  keep("long", result);
  EXPECT_LT(result.svg.size(), 60'000u);
  EXPECT_NE(result.svg.find("> 50<"), std::string::npos) << "the axis must reach the peak";
}

TEST(Plot, RocCurve) {
  REQUIRE_GNUPLOT();
  std::mt19937_64 random(2);
  std::normal_distribution<double> normal;
  std::vector<double> scores;
  std::vector<int64_t> labels;
  for (int i = 0; i < 2000; ++i) {
    labels.push_back(i % 5 == 0 ? 1 : 0);
    scores.push_back(normal(random) + 1.5 * static_cast<double>(labels.back()));
  }
  const std::vector<RocPoint> points = roc_curve({scores, labels});
  const PlotResult result =
      draw_roc("ROC on test rows", {{"bag (AUC 0.86)", points}, {"diagonal-ish", {{0, 0, 0}, {1, 1, 0}}}});
  keep("roc", result);
  EXPECT_EQ(result.note, "");
  EXPECT_NE(result.svg.find("bag (AUC 0.86)"), std::string::npos);
  EXPECT_NE(result.svg.find("false positive rate"), std::string::npos);
  EXPECT_NE(draw_roc("t", {{"empty", {}}}).note.find("empty"), std::string::npos);
}

TEST(Plot, AMissingProgramIsSaid) {
  const PlotResult result = draw(example(), "no-such-program-anywhere");
  EXPECT_EQ(result.svg, "");
  EXPECT_NE(result.note.find("not installed"), std::string::npos) << result.note;
  EXPECT_NE(result.note.find("AUC while training"), std::string::npos);
  EXPECT_NE(draw_roc("ROC", {}, "/no/such/program").note.find("not installed"), std::string::npos);
}

TEST(Plot, AFailingProgramIsSaid) {
  const PlotResult result = draw(example(), "false");
  EXPECT_EQ(result.svg, "");
  EXPECT_NE(result.note.find("failed"), std::string::npos) << result.note;
  EXPECT_NE(draw(example(), "true").note.find("failed"), std::string::npos) << "success without a picture";
  EXPECT_NE(draw(example(), "/").note.find("cannot be started"), std::string::npos);
}

TEST(Plot, NothingToDrawIsSaid) {
  EXPECT_NE(draw({.title = "t", .x_label = "", .y_label = "", .series = {}}).note.find("no finite value"),
            std::string::npos);
  EXPECT_NE(draw({.title = "t", .x_label = "", .y_label = "", .series = {{"s", {1, 2}, {NAN, INFINITY}}}})
                .note.find("no finite"),
            std::string::npos);
}

TEST(Plot, BandsAndACutAxis) {
  REQUIRE_GNUPLOT();
  LinePlot plot = example();
  EXPECT_EQ(count(draw(plot).svg, "fill-opacity"), 0U);
  plot.series[0].low = {0.4, 0.7, 0.8, 0.9};
  plot.series[0].high = {0.6, 0.9, 0.95, 1};
  const PlotResult banded = draw(plot);
  keep("band", banded);
  EXPECT_EQ(banded.note, "");
  EXPECT_GE(count(banded.svg, "fill-opacity"), 1U);
  EXPECT_NE(banded.svg.find("validation rows"), std::string::npos);
  // A limit that cannot be drawn leaves a hole, not an error.
  plot.series[0].low[1] = std::nan("");
  EXPECT_EQ(draw(plot).note, "");
  plot.series[0].low.pop_back();
  EXPECT_THROW(draw(plot), InputError);

  LinePlot wild = example();
  wild.series[1].y = {1, 10, 100, 1e30};
  wild.log_y = true;
  const std::string free = draw(wild).svg;
  wild.y_most = 1000;
  const std::string cut = draw(wild).svg;
  EXPECT_NE(free.find("1e+30<"), std::string::npos);
  EXPECT_EQ(cut.find("1e+"), std::string::npos);
  EXPECT_NE(cut.find("1000<"), std::string::npos);
}

TEST(Plot, AColourStaysWithItsSeries) {
  REQUIRE_GNUPLOT();
  LinePlot plot = example();
  plot.series[0].style = 3;
  plot.series[1].style = 9;  // the third colour again, dashed
  const std::string svg = draw(plot).svg;
  EXPECT_NE(svg.find("rgb(204, 121, 167)"), std::string::npos);
  EXPECT_NE(svg.find("rgb(  0, 158, 115)"), std::string::npos);
  EXPECT_EQ(svg.find("rgb(  0, 114, 178)"), std::string::npos);
  EXPECT_NE(line_sample(3).find("#CC79A7"), std::string::npos);
  EXPECT_NE(line_sample(9).find("#009E73"), std::string::npos);
  EXPECT_NE(line_sample(2), line_sample(9));
}

TEST(Plot, BadInput) {
  EXPECT_THROW(draw({.title = "t", .x_label = "", .y_label = "", .series = {{"s", {1, 2}, {1}}}}),
               InputError);
  EXPECT_THROW(draw({.title = "t", .x_label = "", .y_label = "", .series = {}, .width = 3}), InputError);
}

TEST(Plot, SeriesFromATrace) {
  Trace trace;
  trace.rows.push_back({{"step", 1}, {"loss", 0.5}, {"metrics", {{"auc", 0.7}}}});
  trace.rows.push_back({{"step", 2}, {"loss", nullptr}});
  trace.rows.push_back({{"step", 3}, {"loss", "inf"}, {"metrics", {{"auc", 0.8}}}});
  trace.rows.push_back({{"event", "resumed"}});
  trace.rows.push_back({{"step", 4}, {"loss", 0.25}});
  const Series loss = series_from_trace(trace, "step", "loss", "training loss");
  EXPECT_EQ(loss.label, "training loss");
  EXPECT_EQ(loss.x, (std::vector<double>{1, 4}));
  EXPECT_EQ(loss.y, (std::vector<double>{0.5, 0.25}));
  EXPECT_EQ(series_from_trace(trace, "step", "/metrics/auc", "").y, (std::vector<double>{0.7, 0.8}));
}

}  // namespace plot_test
}  // namespace bilevel
