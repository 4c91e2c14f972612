// What the HTML pages of all commands share: the frame, figures, tables of options, numbers as a person reads
// them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

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

/// A complete page, HTML5 in UTF-8 without scripts and outside resources, around `body` (markup).
/// @param title plain text, also the heading.
std::string html_page(const std::string& title, const std::string& body);

/// A section of figures side by side, then the notes of those that could not be drawn; empty for no figures.
std::string figures_section(const std::string& heading, const std::vector<Figure>& figures);

/// A column of a table: plain text and the class of its cells, "" or "number", "text"; "heading": they are headings of
/// their rows.
struct TableColumn {
  std::string name;
  std::string kind = "";
};
/// A table of cells that are markup; one without names has no head.
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
