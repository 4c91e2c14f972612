// What the HTML pages of all commands share: their structure, figures, tables, numbers as a person reads them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bilevel/report/intervals.h"
#include "bilevel/report/plot.h"

namespace bilevel {

/// What stands where there is no value.
inline constexpr std::string_view kAbsent = "–";

/// A picture (or the note that stands for it) with a caption, which may be empty.
struct Figure {
  PlotResult plot;
  std::string caption;
};

/// A figure and the name of its picture's file.
struct NamedFigure {
  std::string file;  ///< "steps.svg"
  Figure figure;
};

/// A number at the top of a page, in large type, and what it is: plain text, which may have several lines.
struct Card {
  std::string value;
  std::string meaning;
  bool beside = false;  ///< of something else, to compare with: less prominent
};

/// A part of a page. One without content is left out.
struct Section {
  std::string heading;  ///< plain text
  std::string content;  ///< markup
  bool folded = false;  ///< to be opened by the reader
};

/// How a run came about.
struct Provenance {
  std::string command_line;  ///< for a shell; empty for a call of the library
  std::string version, date;
  std::vector<std::pair<std::string, nlohmann::ordered_json>> options = {};  ///< resolved, by heading
};

/// What all pages consist of, in this order: title, lead, cards, verdict, remarks, notes; sections; provenance.
struct ReportPage {
  std::string title;      ///< plain text
  std::string lead = "";  ///< markup: what was run
  std::vector<Card> cards = {};
  std::string verdict = "";             ///< plain text: one sentence, what the figures allow to say
  std::string remarks = "";             ///< markup
  std::vector<std::string> notes = {};  ///< plain text: warnings, and what a reader must know
  std::vector<Section> sections = {};
  Provenance made = {};
};

/// The page: HTML5 in UTF-8 for light and dark screens from 320 pixels on, without outside resources. Its one script, the only
/// one that a browser may run there, sorts tables. What is plain text is escaped.
std::string html_page(const ReportPage& page);

/// Whether a model is better than a baseline, as one sentence: "The model is better than the baseline, NAME: its test AUC is
/// higher by 0.0123 (...)". @param d of the model less the baseline's, of what is called `measure`, each row (or task: `units`)
/// measured for both; @param lower_is_better whether of the measure
std::string verdict_on(const PairedDifference& d, const std::string& baseline, const std::string& measure,
                       bool lower_is_better = false, const std::string& units = "rows");

/// The content of a section: figures side by side, then the notes of those that could not be drawn; empty for no figures.
std::string figures_markup(const std::vector<Figure>& figures);

/// A column of a table: plain text and the class of its cells, "" or "number", "text"; "heading": they are headings of
/// their rows.
struct TableColumn {
  std::string name;
  std::string kind = "";
};
/// A table of cells that are markup; one without names has no head, one with several rows below its head is sortable.
std::string table_markup(const std::vector<TableColumn>& columns,
                         const std::vector<std::vector<std::string>>& rows);

/// A heading and a table of an object's names and values, nested ones as "outer.inner"; empty for an empty
/// object.
std::string table_of(const std::string& heading, const nlohmann::ordered_json& object);

// What a terminal shows of a result is rounded by the same functions.

/// A share as "98.4 %"; more digits near 100 %, so that 99.97 % does not read as 100 %.
std::string percent_text(double share);
/// The same as markup, with a blank that no line breaks at.
std::string percent(double share);
/// A metric with four decimals.
std::string metric_text(double value);
/// A whole number with thin spaces, or something else, between thousands.
std::string grouped(int64_t number, const char* separator = "\u202f");
/// "12.3 s", "5 min 7 s", "2 h 3 min".
std::string duration_text(double seconds);
/// A JSON value as text (escaped): strings without quotes, absent ones as a dash, a list with commas.
std::string text_of(const nlohmann::ordered_json& value);

/// Characters of a UTF-8 text.
size_t width_of(std::string_view text);
/// Rows of cells as lines of a terminal, `indent` blanks before each; column i is aligned to the right where `right[i]`.
std::string aligned(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right,
                    size_t indent);

}  // namespace bilevel
