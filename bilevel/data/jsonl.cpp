#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "bilevel/core/number.h"
#include "bilevel/data/table_builder.h"

namespace bilevel {
namespace {

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
    lines_.fail(
        value_column_,
        fmt::format(
            "the value of \"{}\" is {}; only strings, numbers, true, false and null can be cells of a table",
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

}  // namespace

void read_jsonl(LineReader& lines, TableBuilder& builder) {
  JsonRow row(lines, builder);
  while (lines.next()) {
    if (!trimmed(lines.text()).empty()) row.read();
  }
}

}  // namespace bilevel
