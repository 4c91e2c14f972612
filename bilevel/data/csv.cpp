#include <csv.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "bilevel/data/table_builder.h"

namespace bilevel {
namespace {

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
            "a misplaced quote in a csv field: a field with quotes inside must be quoted, and its inner "
            "quotes doubled" +
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

}  // namespace

void read_csv(LineReader& lines, const TableOptions& options, TableBuilder& builder, char delimiter) {
  CsvReader(lines, options, builder, delimiter).read();
}

}  // namespace bilevel
