#include "bilevel/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/data/characters.h"
#include "bilevel/report/escape.h"
#include "bilevel/report/page_assets.h"

namespace bilevel {
namespace {

using nlohmann::ordered_json;

void rows_of(const ordered_json& object, const std::string& prefix, std::string& out) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object() && !value.empty()) {
      rows_of(value, prefix + key + ".", out);
    } else {
      out += fmt::format("<tr><th><code>{}</code></th><td class=\"text\">{}</td></tr>\n",
                         escape_markup(prefix + key), text_of(value));
    }
  }
}

std::string cards_markup(const std::vector<Card>& cards) {
  std::string out;
  for (const Card& card : cards) {
    out += fmt::format("<div class=\"card{}\"><div class=\"value\">{}</div>{}</div>\n",
                       card.beside ? " beside" : "", escape_markup(card.value), escape_markup(card.meaning));
  }
  return out.empty() ? "" : "<div class=\"cards\">\n" + out + "</div>\n";
}

/// Cards, verdict, remarks and notes.
std::string summary_markup(const ReportPage& page) {
  std::string out = cards_markup(page.cards);
  if (!page.verdict.empty()) out += fmt::format("<p class=\"verdict\">{}</p>\n", escape_markup(page.verdict));
  out += page.remarks;
  for (const std::string& note : page.notes)
    out += fmt::format("<p class=\"note\">{}</p>\n", escape_markup(note));
  return out.empty() ? "" : "<section>\n" + out + "</section>\n";
}

std::string section_markup(const Section& section) {
  if (section.content.empty()) return "";
  const std::string heading = escape_markup(section.heading);
  if (section.folded)
    return fmt::format("<details>\n<summary>{}</summary>\n{}</details>\n", heading, section.content);
  return fmt::format("<section>\n<h2>{}</h2>\n{}</section>\n", heading, section.content);
}

std::string provenance_markup(const Provenance& made) {
  const auto known = [](const std::string& text) {
    return text.empty() ? std::string(kAbsent) : escape_markup(text);
  };
  std::string out = made.command_line.empty()
                        ? "<p>This run was started by a program that calls the library.</p>\n"
                        : fmt::format("<pre>{}</pre>\n", escape_markup(made.command_line));
  out += fmt::format("<p class=\"subtle\">bilevel {}, begun on {}.</p>\n", known(made.version),
                     known(made.date));
  for (const auto& [heading, options] : made.options) out += table_of(heading, options);
  return section_markup({"How this was made", out});
}

}  // namespace

std::string html_page(const ReportPage& page) {
  const std::string title = escape_markup(page.title);
  std::string body = page.lead + summary_markup(page);
  for (const Section& section : page.sections) body += section_markup(section);
  body += provenance_markup(page.made);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n<h1>{}</h1>\n{}</main>\n"
      "<script>{}</script>\n</body>\n</html>\n",
      kPagePolicy, title, kPageStyle, title, body, kPageScript);
}

std::string verdict_on(const PairedDifference& d, const std::string& baseline, const std::string& measure,
                       bool lower_is_better, const std::string& units) {
  if (!d.has_interval()) {
    return fmt::format(
        "Whether the model is better than the baseline, {}, is not known: its {} differs by {:+.4f}, "
        "without an interval: {}.",
        baseline, measure, d.difference, d.no_interval);
  }
  const std::string interval = fmt::format(
      "95 % interval of the difference {:+.4f} to {:+.4f}, paired on the same {}", d.low, d.high, units);
  const PairedVerdict verdict = verdict_of(d, lower_is_better);
  if (verdict == PairedVerdict::not_told_apart) {
    return fmt::format(
        "The model is not better than the baseline, {}, by more than chance: its {} differs by {:+.4f} ({}).",
        baseline, measure, d.difference, interval);
  }
  return fmt::format("The model is {} than the baseline, {}: its {} is {} by {:.4f} ({}).", name_of(verdict),
                     baseline, measure, d.difference > 0 ? "higher" : "lower", std::abs(d.difference),
                     interval);
}

std::string figures_markup(const std::vector<Figure>& figures) {
  if (figures.empty()) return "";
  std::string out = "<div class=\"figures\">\n";
  for (const Figure& figure : figures) {
    if (figure.plot.svg.empty()) continue;
    const std::string caption = escape_markup(figure.caption);
    out += fmt::format("<figure><img alt=\"{}\" src=\"data:image/svg+xml;base64,{}\">",
                       caption.empty() ? "plot" : caption, base64(figure.plot.svg));
    if (!caption.empty()) out += fmt::format("<figcaption>{}</figcaption>", caption);
    out += "</figure>\n";
  }
  out += "</div>\n";
  for (const Figure& figure : figures) {
    if (!figure.plot.svg.empty()) continue;
    out += fmt::format(
        "<p class=\"note\">{}</p>\n",
        escape_markup(figure.plot.note.empty() ? "No picture: " + figure.caption : figure.plot.note));
  }
  return out;
}

std::string table_markup(const std::vector<TableColumn>& columns,
                         const std::vector<std::vector<std::string>>& rows) {
  const auto cell = [](const std::string& tag, const std::string& kind, const std::string& content) {
    const std::string name = kind.empty() || kind == "heading" ? "" : fmt::format(" class=\"{}\"", kind);
    return fmt::format("<{0}{1}>{2}</{0}>", tag, name, content);
  };
  std::string head, body;
  bool named = false;
  for (const TableColumn& column : columns) {
    named = named || !column.name.empty();
    head += cell("th", column.kind == "text" ? "" : column.kind, escape_markup(column.name));
  }
  for (const std::vector<std::string>& row : rows) {
    body += "<tr>";
    for (size_t c = 0; c < columns.size(); ++c)
      body += cell(columns[c].kind == "heading" ? "th" : "td", columns[c].kind, row.at(c));
    body += "</tr>\n";
  }
  return fmt::format("<div class=\"scroll\"><table{}>\n{}<tbody>\n{}</tbody></table></div>\n",
                     named && rows.size() > 1 ? " class=\"sortable\"" : "",
                     named ? fmt::format("<thead><tr>{}</tr></thead>\n", head) : "", body);
}

std::string table_of(const std::string& heading, const ordered_json& object) {
  if (!object.is_object() || object.empty()) return "";
  std::string out = fmt::format("<h3>{}</h3>\n<div class=\"scroll\"><table class=\"pairs\"><tbody>\n",
                                escape_markup(heading));
  rows_of(object, "", out);
  return out + "</tbody></table></div>\n";
}

std::string percent_text(double share) {
  if (!std::isfinite(share)) return std::string(kAbsent);
  int digits = 1;
  while (digits < 4 && share < 1 && 100 * (1 - share) < std::pow(10, -digits)) ++digits;
  return fmt::format("{:.{}f} %", 100 * share, digits);
}

std::string percent(double share) {
  std::string text = percent_text(share);
  if (const size_t blank = text.find(' '); blank != std::string::npos) text.replace(blank, 1, "&nbsp;");
  return text;
}

std::string metric_text(double value) {
  return std::isfinite(value) ? fmt::format("{:.4f}", value) : std::string(kAbsent);
}

std::string grouped(int64_t number, const char* separator) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3) {
    digits.insert(static_cast<size_t>(at), separator);
  }
  return digits;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return std::string(kAbsent);
  if (seconds < 120) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 7200) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
}

std::string text_of(const ordered_json& value) {
  if (value.is_null()) return std::string(kAbsent);
  if (value.is_string()) return escape_markup(value.get<std::string>());
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_integer()) return std::to_string(value.get<int64_t>());
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  if (value.is_array() && !value.empty()) {
    std::string list;
    for (const ordered_json& element : value) list += (list.empty() ? "" : ", ") + text_of(element);
    return list;
  }
  return escape_markup(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

size_t width_of(std::string_view text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size(); ++width) next_code_point(text, at);
  return width;
}

std::string aligned(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right,
                    size_t indent) {
  std::vector<size_t> widths(right.size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - width_of(row[i]), ' ');
      line += std::string(i == 0 ? indent : 2, ' ') + (right[i] ? blanks + row[i] : row[i] + blanks);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace bilevel
