// Pictures from numbers: line plots and ROC curves as SVG, drawn by gnuplot.
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/report/metrics.h"
#include "bilevel/report/trace.h"

namespace bilevel {

/// One line: y over x, of equal length. Points with a value that is not finite (or not positive on a
/// logarithmic axis) are left out and their neighbours joined. Long lines are thinned to about 1000 points
/// that keep each stretch's lowest and highest value.
struct Series {
  std::string label;  ///< for the legend
  std::vector<double> x;
  std::vector<double> y;
  /// A band around the line, in a light shade: empty, or of the length of x. It is left out where a limit
  /// cannot be drawn.
  std::vector<double> low = {};
  std::vector<double> high = {};
  /// Which colour and dashes it has; none: as many as there are series before it.
  std::optional<size_t> style = {};
};

/// A vertical dashed line, for example at the chosen step.
struct Marker {
  double x;
  std::string label;
};

/// A line plot. Texts may hold anything; axis labels name their unit ("time (s)").
struct LinePlot {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<Series> series;
  std::vector<Marker> markers = {};
  bool log_x = false;
  bool log_y = false;
  double y_most = std::numeric_limits<double>::infinity();  ///< where the y axis ends at the latest
  int width = 520;   ///< pixels, >= 200: two beside each other on a page
  int height = 350;  ///< pixels, >= 150
};

/// A picture, or the reason why there is none.
struct PlotResult {
  std::string svg;   ///< a complete SVG document without scripts and outside references, or empty
  std::string note;  ///< empty, or a sentence for a person: what is missing and how to get it
};

/// Draws with the program `gnuplot` (a name looked up in PATH, or a path), which is run without a shell and
/// without the user's settings. Takes about 0.1 s. A missing or failing program and a plot without any point
/// give a note, not an exception. Colours can be told apart by the colour-blind (Okabe and Ito). Throws
/// InputError when x and y of a series differ in length or the size is out of range, FileError when the
/// temporary folder cannot be used.
PlotResult draw(const LinePlot& plot, const std::string& gnuplot = "gnuplot");

/// A short line of that style, as markup for a page.
std::string line_sample(size_t style);

/// A labelled ROC curve, from `roc_curve`.
struct RocSeries {
  std::string label;
  std::vector<RocPoint> points;
};

/// Draws ROC curves in a square, with the diagonal of a random ranking. Otherwise like `draw`.
PlotResult draw_roc(const std::string& title, const std::vector<RocSeries>& curves,
                    const std::string& gnuplot = "gnuplot");

/// The points of a trace: one per row that has a finite number under both keys, in the trace's order. A key
/// that begins with '/' is a JSON pointer into nested objects. Other rows are left out.
Series series_from_trace(const Trace& trace, const std::string& x_key, const std::string& y_key,
                         const std::string& label);

}  // namespace bilevel
