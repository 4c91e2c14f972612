#include "bilevel/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/data/characters.h"
#include "bilevel/report/escape.h"

namespace bilevel {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kStyle = R"css(
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: #1c2733; font: 16px/1.5 system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 12px; }
h3 { font-size: 1rem; margin: 18px 0 6px; }
p { margin: 0 0 10px; }
section, details { background: #fff; border: 1px solid #dde3e9; border-radius: 10px; padding: 20px 24px; margin-top: 18px; }
summary { font-size: 1.2rem; font-weight: 600; cursor: pointer; }
.subtle { color: #55636f; }
.headline { display: flex; flex-wrap: wrap; gap: 16px 40px; align-items: flex-end; margin-bottom: 14px; }
.figure-number { font-size: 3.1rem; font-weight: 650; line-height: 1.05; color: #005a8e; }
.figure-number.second { color: #55636f; }
.sentence { font-size: 1.1rem; }
.note { border-left: 4px solid #d55e00; background: #fdf3ec; padding: 8px 14px; margin: 10px 0 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.scroll tbody th { white-space: nowrap; }
table { border-collapse: collapse; width: 100%; font-size: 0.95rem; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid #e6ebef; vertical-align: top; }
thead th { color: #55636f; font-weight: 600; border-bottom: 2px solid #cfd8df; }
tbody th { font-weight: 500; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
table.pairs th { width: 40%; }
td.text { overflow-wrap: anywhere; min-width: 8rem; }
.tag { display: inline-block; padding: 0 9px; border-radius: 9px; font-size: 0.86rem; background: #e9edf0; color: #45525d;
  white-space: nowrap; max-width: 14rem; overflow: hidden; text-overflow: ellipsis; vertical-align: bottom; }
.tag.positive { background: #d8efe6; color: #00573f; }
.figures { display: flex; flex-wrap: wrap; gap: 18px; justify-content: center; }
figure { margin: 0; max-width: 100%; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: #55636f; font-size: 0.92rem; text-align: center; }
pre { background: #f0f3f6; border-radius: 6px; padding: 12px 14px; overflow-x: auto; margin: 8px 0; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 0.92rem; }
@media print { body { background: #fff; } section, details { break-inside: avoid; } }
)css";

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

}  // namespace

std::string html_page(const std::string& title, const std::string& body) {
  const std::string escaped = escape_markup(title);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<title>{}</title>\n<style>{}</style>\n"
      "</head>\n<body>\n<main>\n<h1>{}</h1>\n{}</main>\n</body>\n</html>\n",
      escaped, kStyle, escaped, body);
}

std::string figures_section(const std::string& heading, const std::vector<Figure>& figures) {
  if (figures.empty()) return "";
  std::string out = fmt::format("<section>\n<h2>{}</h2>\n<div class=\"figures\">\n", escape_markup(heading));
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
  return out + "</section>\n";
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
  return fmt::format("<div class=\"scroll\"><table>\n{}<tbody>\n{}</tbody></table></div>\n",
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
