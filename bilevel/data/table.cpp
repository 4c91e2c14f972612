#include "bilevel/data/table.h"

#include <csv.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "bilevel/core/number.h"
#include "bilevel/data/lines.h"

namespace bilevel {
namespace {

constexpr std::pair<Format, std::string_view> kFormatNames[] = {
    {Format::automatic, "automatic"}, {Format::csv, "csv"},       {Format::tsv, "tsv"},
    {Format::jsonl, "jsonl"},         {Format::libsvm, "libsvm"}, {Format::idx, "idx"}};

constexpr std::pair<std::string_view, Format> kSuffixes[] = {
    {".csv", Format::csv},      {".tsv", Format::tsv},        {".jsonl", Format::jsonl},
    {".ndjson", Format::jsonl}, {".libsvm", Format::libsvm},  {".svm", Format::libsvm},
    {".idx", Format::idx},      {"-idx3-ubyte", Format::idx}, {".idx3-ubyte", Format::idx}};

/// The format that an ending in lower case tells.
std::optional<Format> format_by_ending(std::string_view name) {
  if (name.ends_with(".gz")) name.remove_suffix(3);
  for (const auto& [suffix, known] : kSuffixes) {
    if (name.ends_with(suffix)) return known;
  }
  return std::nullopt;
}

}  // namespace

std::string name_of(Format format) {
  for (const auto& [known, name] : kFormatNames) {
    if (known == format) return std::string(name);
  }
  throw InputError("unknown format");
}

Format format_named(const std::string& name) {
  for (const auto& [format, known] : kFormatNames) {
    if (known == name) return format;
  }
  throw InputError(
      fmt::format("unknown format '{}'; the formats are automatic, csv, tsv, jsonl, libsvm and idx", name));
}

Format format_of(const std::string& path, Format format) {
  if (format != Format::automatic) return format;
  std::string name = path;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (const auto told = format_by_ending(name)) return *told;
  const std::string images = name.substr(0, name.rfind(','));  // IMAGES,LABELS
  if (format_by_ending(images) == Format::idx) return Format::idx;
  fail_at({path},
          "the format does not show in the file's name; give it (--format csv, tsv, jsonl, libsvm or idx)");
}

Position Table::position(size_t row, size_t column) const {
  const size_t index = row * names_.size() + column;
  const auto later = std::lower_bound(later_lines_.begin(), later_lines_.end(), index,
                                      [](const auto& entry, size_t wanted) { return entry.first < wanted; });
  const bool moved = later != later_lines_.end() && later->first == index;
  return {path_, moved ? later->second : lines_[row], cells_[index].column};
}

std::optional<size_t> Table::find_column(const std::string& name_or_number) const {
  const auto found = std::find(names_.begin(), names_.end(), name_or_number);
  if (found != names_.end()) return static_cast<size_t>(found - names_.begin());
  size_t number = 0;
  const char* end = name_or_number.data() + name_or_number.size();
  const auto [stop, error] = std::from_chars(name_or_number.data(), end, number);
  if (error == std::errc() && stop == end && number >= 1 && number <= columns()) return number - 1;
  return std::nullopt;
}

size_t Table::column(const std::string& name_or_number) const {
  if (const std::optional<size_t> found = find_column(name_or_number)) return *found;
  constexpr size_t kShown = 20;
  const size_t shown = std::min(columns(), kShown);
  std::string list = fmt::format("{}", fmt::join(names_.begin(), names_.begin() + shown, ", "));
  if (columns() > shown) list += fmt::format(" and {} more", columns() - shown);
  fail_at({path_}, fmt::format("has no column '{}'; its columns are {}", name_or_number, list));
}

// Collects cells row by row into a Table.
class TableBuilder {
 public:
  explicit TableBuilder(const std::string& path) { table_.path_ = path; }

  // ---- csv and tsv: all rows have the same number of fields ----

  void add_field(std::string_view text, int64_t line, int64_t column) {
    if (row_.empty()) row_line_ = line;
    row_.push_back(append(text, column));
    row_lines_.push_back(line);
  }

  // Ends the row begun by add_field; `end` is where it ends, for the message about a row that is too short.
  void end_row(const TableOptions& options, const Position& end) {
    if (width_ == 0) {
      width_ = row_.size();
      const bool header = options.header.value_or(looks_like_header());
      name_columns(header);
      if (header) {
        header_line_ = row_line_;
        clear_row();
        table_.bytes_.clear();
        return;
      }
    }
    if (row_.size() != width_) {
      const Position position =
          row_.size() > width_ ? Position{table_.path_, row_lines_[width_], row_[width_].column} : end;
      fail_at(position, fmt::format("the row has {} field{}, but {} {} expected", row_.size(),
                                    row_.size() == 1 ? "" : "s", width_, width_ == 1 ? "is" : "are"));
    }
    const size_t first = table_.cells_.size();
    for (size_t i = 0; i < width_; ++i) {
      if (row_lines_[i] != row_line_) table_.later_lines_.emplace_back(first + i, row_lines_[i]);
    }
    table_.cells_.insert(table_.cells_.end(), row_.begin(), row_.end());
    table_.lines_.push_back(row_line_);
    clear_row();
  }

  bool row_begun() const { return !row_.empty(); }

  // ---- jsonl: named values, and later rows may bring new names ----

  void begin_object(int64_t line) {
    row_.assign(table_.names_.size(), {});
    row_line_ = line;
    seen_.assign(table_.names_.size(), false);
  }

  // Index of the column of this name, made when new; nullopt when this object has it already.
  std::optional<size_t> open_key(const std::string& key) {
    const auto [found, added] = column_of_.try_emplace(key, table_.names_.size());
    if (added) {
      table_.names_.push_back(key);
      row_.emplace_back();
      seen_.push_back(false);
    }
    if (seen_[found->second]) return std::nullopt;
    seen_[found->second] = true;
    return found->second;
  }

  void set_value(size_t column, std::string_view text, int64_t position) {
    row_[column] = append(text, position);
  }

  void end_object() {
    json_starts_.push_back(table_.cells_.size());
    table_.cells_.insert(table_.cells_.end(), row_.begin(), row_.end());
    table_.lines_.push_back(row_line_);
  }

  // The finished table, every row as wide as there are names.
  Table finish() {
    if (table_.lines_.empty()) {
      if (header_line_ > 0) fail_at({table_.path_, header_line_}, "holds a header but no rows");
      fail_at({table_.path_}, "holds no rows");
    }
    const size_t width = table_.names_.size();
    if (table_.cells_.size() != width * table_.lines_.size()) {  // jsonl with late keys
      std::vector<Table::Cell> cells(width * table_.lines_.size());
      json_starts_.push_back(table_.cells_.size());
      for (size_t row = 0; row < table_.lines_.size(); ++row) {
        std::copy(table_.cells_.begin() + static_cast<std::ptrdiff_t>(json_starts_[row]),
                  table_.cells_.begin() + static_cast<std::ptrdiff_t>(json_starts_[row + 1]),
                  cells.begin() + static_cast<std::ptrdiff_t>(row * width));
      }
      table_.cells_ = std::move(cells);
    }
    if (width == 0) fail_at({table_.path_, table_.lines_.front()}, "the rows have no columns");
    return std::move(table_);
  }

 private:
  Table::Cell append(std::string_view text, int64_t column) {
    const Table::Cell cell{table_.bytes_.size(), static_cast<uint32_t>(text.size()),
                           static_cast<uint32_t>(column)};
    table_.bytes_.append(text);
    return cell;
  }

  std::string_view text(const Table::Cell& cell) const {
    return {table_.bytes_.data() + cell.begin, cell.size};
  }

  bool looks_like_header() const {
    bool any = false;
    for (const Table::Cell& cell : row_) {
      const std::string_view name = trimmed(text(cell));
      if (name.empty()) continue;
      if (read_number(name).kind != CellKind::word) return false;
      any = true;
    }
    return any;
  }

  void name_columns(bool header) {
    std::unordered_map<std::string, size_t> first;
    for (size_t i = 0; i < row_.size(); ++i) {
      std::string name(header ? trimmed(text(row_[i])) : std::string_view());
      if (name.empty()) name = std::to_string(i + 1);
      const auto [found, added] = first.try_emplace(name, i);
      if (!added) {
        fail_at({table_.path_, row_lines_[i], row_[i].column},
                fmt::format(
                    "the header names column '{}' twice (columns {} and {}); if the first row is data, say "
                    "that the file has no header",
                    name, found->second + 1, i + 1));
      }
      table_.names_.push_back(std::move(name));
    }
  }

  void clear_row() {
    row_.clear();
    row_lines_.clear();
  }

  Table table_;
  std::vector<Table::Cell> row_;
  std::vector<int64_t> row_lines_;  // line of each cell of row_
  int64_t row_line_ = 0;
  size_t width_ = 0;
  int64_t header_line_ = 0;
  std::unordered_map<std::string, size_t> column_of_;
  std::vector<bool> seen_;
  std::vector<size_t> json_starts_;
};

namespace {

// The first line has been read already.
void read_tsv(LineReader& lines, const TableOptions& options, TableBuilder& builder) {
  do {
    const std::string_view line = lines.text();
    if (line.empty()) continue;
    size_t begin = 0;
    while (true) {
      const size_t tab = line.find('\t', begin);
      const size_t end = tab == std::string_view::npos ? line.size() : tab;
      builder.add_field(line.substr(begin, end - begin), lines.number(), static_cast<int64_t>(begin) + 1);
      if (tab == std::string_view::npos) break;
      begin = tab + 1;
    }
    builder.end_row(options, {lines.path(), lines.number(), static_cast<int64_t>(line.size()) + 1});
  } while (lines.next());
}

// Feeds libcsv piece by piece, each piece ending where a field may end (a delimiter or a line end), so that the
// place of every field is known. The first line has been read already.
class CsvReader {
 public:
  CsvReader(LineReader& lines, const TableOptions& options, TableBuilder& builder, char delimiter)
      : lines_(lines), options_(options), builder_(builder), delimiter_(delimiter) {
    csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI);
    csv_set_delim(&parser_, static_cast<unsigned char>(delimiter));
  }
  ~CsvReader() { csv_free(&parser_); }
  CsvReader(const CsvReader&) = delete;
  CsvReader& operator=(const CsvReader&) = delete;

  void read() {
    const char ends[] = {delimiter_, '\r', '\n', '\0'};
    do {
      const std::string_view raw = lines_.raw();
      size_t begin = 0;
      while (begin < raw.size()) {
        const size_t stop = std::min(raw.find_first_of(ends, begin), raw.size() - 1);
        feed(raw.substr(begin, stop + 1 - begin), static_cast<int64_t>(begin) + 1);
        begin = stop + 1;
      }
      end_ = {lines_.path(), lines_.number(), static_cast<int64_t>(lines_.text().size()) + 1};
    } while (lines_.next());
    if (csv_fini(&parser_, on_field, on_row, this) != 0) {
      fail_at({lines_.path(), field_line_, field_column_}, "the quote that opens here is never closed");
    }
    rethrow();
  }

 private:
  void feed(std::string_view piece, int64_t column) {
    if (!inside_field_) {
      const size_t first = piece.find_first_not_of(delimiter_ == '\t' ? " \r\n" : " \t\r\n");
      if (first == std::string_view::npos && !builder_.row_begun()) return;  // blank line, or LF of a CR LF
      field_line_ = lines_.number();
      field_column_ = column + static_cast<int64_t>(first == std::string_view::npos ? 0 : first);
    }
    inside_field_ = true;
    end_ = {lines_.path(), lines_.number(), column + static_cast<int64_t>(piece.size()) - 1};
    const size_t done = csv_parse(&parser_, piece.data(), piece.size(), on_field, on_row, this);
    rethrow();
    if (done == piece.size()) return;
    const int error = csv_error(&parser_);
    if (error != CSV_EPARSE) throw FileError(describe({lines_.path()}, csv_strerror(error)));
    const int64_t at = column + static_cast<int64_t>(done);
    const std::string opened =
        field_line_ == lines_.number() ? "" : fmt::format(" (the field began on line {})", field_line_);
    fail_at({lines_.path(), lines_.number(), at},
            "a misplaced quote in a csv field: a field with quotes inside must be "
            "quoted, and its inner quotes doubled" +
                opened);
  }

  static void on_field(void* text, size_t size, void* self) {
    auto* reader = static_cast<CsvReader*>(self);
    reader->inside_field_ = false;
    if (reader->error_) return;
    try {
      reader->builder_.add_field({static_cast<const char*>(text), size}, reader->field_line_,
                                 reader->field_column_);
      reader->field_line_ = reader->end_.line;  // of an empty last field at the end of the file
      reader->field_column_ = reader->end_.column + 1;
    } catch (...) {  // no exception may cross libcsv's C frames
      reader->error_ = std::current_exception();
    }
  }

  static void on_row(int, void* self) {
    auto* reader = static_cast<CsvReader*>(self);
    if (reader->error_) return;
    try {
      reader->builder_.end_row(reader->options_, reader->end_);
    } catch (...) {
      reader->error_ = std::current_exception();
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

  LineReader& lines_;
  const TableOptions& options_;
  TableBuilder& builder_;
  char delimiter_;
  csv_parser parser_{};
  bool inside_field_ = false;
  int64_t field_line_ = 0;
  int64_t field_column_ = 0;
  Position end_;
  std::exception_ptr error_;
};

// Walks over a line and notes how far it has come, so that the place of a value is known.
class Cursor {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Cursor(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  Cursor& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  Cursor operator++(int) {
    Cursor old = *this;
    ++*this;
    return old;
  }
  bool operator==(const Cursor& other) const { return at_ == other.at_; }
  bool operator!=(const Cursor& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

// Takes the parser's events of one line.
class JsonRow : public nlohmann::json_sax<nlohmann::json> {
 public:
  JsonRow(const LineReader& lines, TableBuilder& builder) : lines_(lines), builder_(builder) {}

  void read() {
    const std::string_view line = lines_.text();
    reached_ = line.data();
    depth_ = 0;
    nlohmann::json::sax_parse(Cursor(line.data(), &reached_), Cursor(line.data() + line.size(), &reached_),
                              this);
  }

  bool null() override { return value({}); }
  bool boolean(bool flag) override { return value(flag ? "true" : "false"); }
  bool number_integer(number_integer_t number) override { return value(fmt::format("{}", number)); }
  bool number_unsigned(number_unsigned_t number) override { return value(fmt::format("{}", number)); }
  bool number_float(number_float_t, const string_t& text) override { return value(text); }
  bool binary(binary_t&) override { return false; }

  bool string(string_t& text) override {
    if (depth_ == 1 && text.find('\0') != std::string::npos) {
      lines_.fail(value_column_, fmt::format("the value of \"{}\" holds a NUL character", key_));
    }
    return value(text);
  }

  bool start_object(size_t) override {
    if (depth_ > 0) nested("an object");
    depth_ = 1;
    builder_.begin_object(lines_.number());
    return true;
  }

  bool end_object() override {
    builder_.end_object();
    return true;
  }

  bool start_array(size_t) override {
    if (depth_ > 0) nested("a list");
    not_an_object();
  }

  bool end_array() override { return true; }

  bool key(string_t& name) override {
    key_ = name;
    const std::string_view line = lines_.text();
    const auto end = static_cast<size_t>(reached_ - line.data());
    const std::optional<size_t> column = builder_.open_key(name);
    if (!column)
      lines_.fail(static_cast<int64_t>(end), fmt::format("the key \"{}\" stands twice on this line", name));
    column_ = *column;
    const size_t start = line.find_first_not_of(" \t:", end);
    value_column_ = static_cast<int64_t>(std::min(start, line.size())) + 1;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
    if (error.id == 406) lines_.fail(value_column_, fmt::format("the value of \"{}\" is infinite", key_));
    std::string message = error.what();
    for (const std::string_view prefix :
         {"] ", "column ", ": "}) {  // the parser's own position is that in the line
      const size_t found = message.find(prefix);
      if (found != std::string::npos) message.erase(0, found + prefix.size());
    }
    lines_.fail(static_cast<int64_t>(position), "broken JSON: " + message);
  }

 private:
  bool value(std::string_view text) {
    if (depth_ == 0) not_an_object();
    builder_.set_value(column_, text, value_column_);
    return true;
  }

  [[noreturn]] void nested(const char* what) const {
    lines_.fail(value_column_,
                fmt::format("the value of \"{}\" is {}; only strings, numbers, true, false and null "
                            "can be cells of a table",
                            key_, what));
  }

  [[noreturn]] void not_an_object() const { lines_.fail(1, "not a JSON object; each line must hold one"); }

  const LineReader& lines_;
  TableBuilder& builder_;
  const char* reached_ = nullptr;
  int depth_ = 0;
  std::string key_;
  size_t column_ = 0;
  int64_t value_column_ = 0;
};

void read_jsonl(LineReader& lines, TableBuilder& builder) {
  JsonRow row(lines, builder);
  while (lines.next()) {
    if (!trimmed(lines.text()).empty()) row.read();
  }
}

}  // namespace

bool is_quoted_tsv(std::string_view line) {
  bool closed = false;  // some cell is
  for (size_t begin = 0; begin < line.size() && line[begin] == '"';) {
    size_t end = line.find('"', begin + 1);
    while (end != std::string_view::npos && line.substr(end + 1).starts_with('"'))
      end = line.find('"', end + 2);
    if (end == std::string_view::npos) return closed;  // it goes on on the next line
    if (end + 1 == line.size()) return true;
    if (line[end + 1] != '\t') return false;
    closed = true;
    begin = end + 2;
  }
  return false;
}

Table read_table(const std::string& path, const TableOptions& options) {
  LineReader lines(path);  // first, so that a missing file is called missing
  TableBuilder builder(path);
  switch (format_of(path, options.format)) {
    case Format::csv:
      lines.next();
      CsvReader(lines, options, builder, ',').read();
      break;
    case Format::tsv:
      lines.next();
      if (is_quoted_tsv(lines.text())) {
        CsvReader(lines, options, builder, '\t').read();
      } else {
        read_tsv(lines, options, builder);
      }
      break;
    case Format::jsonl:
      read_jsonl(lines, builder);
      break;
    case Format::idx:
      fail_at({path}, "an idx file is not a table with named columns");
    default:
      fail_at({path}, "a libsvm file is not a table with named columns");
  }
  return builder.finish();
}

}  // namespace bilevel
