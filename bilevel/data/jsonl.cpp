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

// NaN, Infinity and -Infinity, which Python writes and JSON does not know, outside of strings.
constexpr std::string_view kBareNumbers[] = {"NaN", "Infinity", "-Infinity"};

std::string_view bare_number_at(std::string_view line, size_t at) {
  for (const std::string_view word : kBareNumbers) {
    if (line.substr(at).starts_with(word)) return word;
  }
  return {};
}

// Where the first of them stands at or behind `at`, which is outside of strings; or npos.
size_t find_bare_number(std::string_view line, size_t at = 0) {
  if (line.find("NaN", at) == std::string_view::npos && line.find("Infinity", at) == std::string_view::npos)
    return std::string_view::npos;
  bool inside = false;
  for (; at < line.size(); ++at) {
    if (inside && line[at] == '\\') {
      ++at;
    } else if (line[at] == '"') {
      inside = !inside;
    } else if (!inside && !bare_number_at(line, at).empty()) {
      return at;
    }
  }
  return std::string_view::npos;
}

// The line with an empty string in place of NaN and a string in place of the others, all of the same length.
std::string with_plain_numbers(std::string_view line, size_t bare) {
  std::string plain(line);
  for (; bare != std::string_view::npos; bare = find_bare_number(plain, bare)) {
    const std::string_view word = bare_number_at(plain, bare);
    std::string text = word == "NaN" ? "\"\"" : word == "Infinity" ? "\"inf\"" : "\"-inf\"";
    text.resize(word.size(), ' ');
    plain.replace(bare, word.size(), text);
  }
  return plain;
}

// Takes the parser's events of one line.
class JsonRow : public nlohmann::json_sax<nlohmann::json> {
 public:
  JsonRow(const LineReader& lines, TableBuilder& builder) : lines_(lines), builder_(builder) {}

  void read() {
    line_ = lines_.text();
    if (const size_t bare = find_bare_number(line_); bare != std::string_view::npos) {
      plain_ = with_plain_numbers(line_, bare);
      line_ = plain_;
    }
    do {
      overflow_.reset();
      const std::string_view line = line_;
      reached_ = line.data();
      depth_ = 0;
      nlohmann::json::sax_parse(Cursor(line.data(), &reached_), Cursor(line.data() + line.size(), &reached_),
                                this);
    } while (overflow_ && take_infinite(*overflow_));
  }

  bool null() override { return value({}); }
  bool boolean(bool flag) override { return value(flag ? "true" : "false"); }
  bool number_integer(number_integer_t number) override { return value(fmt::format("{}", number), true); }
  bool number_unsigned(number_unsigned_t number) override { return value(fmt::format("{}", number), true); }
  bool number_float(number_float_t, const string_t& text) override { return value(text, true); }
  bool binary(binary_t&) override { return false; }

  bool string(string_t& text) override {
    if (depth_ == 1 && text.find('\0') != std::string::npos) {
      builder_.set_unreadable(column_, value_column_,
                              fmt::format("the value of \"{}\" holds a NUL character", key_));
      return value({});
    }
    return value(text);
  }

  bool start_object(size_t) override {
    if (depth_ > 0) return open("an object");
    depth_ = 1;
    builder_.begin_object(lines_.number());
    return true;
  }

  bool end_object() override {
    if (depth_ > 1) return close();
    builder_.end_object();
    return true;
  }

  bool start_array(size_t) override {
    if (depth_ > 0) return open("a list");
    not_an_object();
  }

  bool end_array() override { return depth_ > 1 ? close() : true; }

  bool key(string_t& name) override {
    if (depth_ > 1) return true;
    key_ = name;
    const std::string_view line = line_;
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
    if (error.id == 406) {  // too large for a double
      overflow_ = position;
      return false;
    }
    std::string message = error.what();
    for (const std::string_view prefix :
         {"] ", "column ", ": "}) {  // the parser's own position is that in the line
      const size_t found = message.find(prefix);
      if (found != std::string::npos) message.erase(0, found + prefix.size());
    }
    lines_.fail(static_cast<int64_t>(position), "broken JSON: " + message);
  }

 private:
  /// Puts infinity in the place of the number that ends about there: whoever reads the column refuses it.
  bool take_infinite(size_t position) {
    constexpr std::string_view kNumber = "+-.0123456789eE";
    if (plain_.data() != line_.data()) plain_ = line_;
    const size_t last = plain_.find_last_of(kNumber, std::min(position, plain_.size()) - 1);
    const size_t before = plain_.find_last_not_of(kNumber, last);
    const size_t first = before == std::string::npos ? 0 : before + 1;
    std::string text = plain_[first] == '-' ? "\"-inf\"" : "\"inf\"";  // "1e309" is as long
    text.resize(last + 1 - first, ' ');
    plain_.replace(first, text.size(), text);
    line_ = plain_;
    return true;
  }

  bool value(std::string_view text, bool is_number = false) {
    if (depth_ == 0) not_an_object();
    if (depth_ == 1) builder_.set_value(column_, text, value_column_, is_number);
    return true;
  }

  /// A list or an object begins; the outermost becomes a cell that no reader takes.
  bool open(const char* what) {
    if (depth_++ == 1) {
      builder_.set_unreadable(
          column_, value_column_,
          fmt::format("the value of \"{}\" is {}; only strings, numbers, true, false and null can be read",
                      key_, what));
    }
    return true;
  }

  bool close() {
    if (--depth_ == 1) {
      const auto begin = static_cast<size_t>(value_column_ - 1);
      builder_.set_value(column_, line_.substr(begin, static_cast<size_t>(reached_ - line_.data()) - begin),
                         value_column_, /*is_number=*/false);
    }
    return true;
  }

  [[noreturn]] void not_an_object() const { lines_.fail(1, "not a JSON object; each line must hold one"); }

  const LineReader& lines_;
  TableBuilder& builder_;
  const char* reached_ = nullptr;
  std::string_view line_;
  std::string plain_;               // the line, where it holds NaN or infinity
  std::optional<size_t> overflow_;  // where a number ended that is too large
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
