// Option fields: one list per option struct drives flags and their help, validation, `--set`, JSON and the
// documentation's tables.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/names.h"

namespace bilevel {

/// A step size that is either given or `auto`: derived from the problem before the first step.
struct StepSize {
  std::optional<double> value;

  StepSize() = default;
  StepSize(double given) : value(given) {}  // NOLINT: a number is a step size
  bool automatic() const { return !value.has_value(); }
};

/// The interval that a number must lie in.
struct Range {
  double low = -1e300;
  double high = 1e300;
  bool low_open = false;
  bool high_open = false;

  bool contains(double x) const;
  /// "> 0", ">= 1", "in (0, 1]".
  std::string describe() const;
};

inline constexpr Range kAny{};
inline constexpr Range kPositive{.low = 0, .low_open = true};
inline constexpr Range kNonNegative{.low = 0};
inline constexpr Range kAtLeastOne{.low = 1};
inline constexpr Range kWeight{.low = 0, .high = 1, .low_open = true};

/// Where a random search looks for a value: uniformly in the logarithm.
struct SearchRange {
  double low = 0, high = 0;
};

/// One option of a struct, bound to a variable. Its JSON is null where nothing is given.
struct Field {
  std::string name;
  std::string meaning;
  std::string type;  ///< "number", "integer", "true|false", "number|auto", "text", "texts", or the choices
                     ///< joined by '|'
  std::string rule;  ///< the range in words, may be empty
  std::function<nlohmann::json()> get;
  /// Throws InputError naming the field, the value and the rule.
  std::function<void(const nlohmann::json&)> set;
  std::optional<SearchRange> range = {};  ///< for random search; none: the option is not searched
  std::string group = {};                 ///< the heading under which its flag stands; empty: it is no flag
  std::string word = {};                  ///< what a flag's help calls the value: "FILE"
  std::string otherwise = {};             ///< what holds where nothing is given, in words
  std::string excluded = {};              ///< the field that cannot be given beside it

  /// Declares where a random search looks: log-uniformly in [low, high].
  Field& search(double low, double high) {
    range = SearchRange{low, high};
    return *this;
  }
  Field& as(const std::string& value_word) {
    word = value_word;
    return *this;
  }
  Field& or_else(const std::string& words) {
    otherwise = words;
    return *this;
  }
  Field& instead_of(const std::string& field) {
    excluded = field;
    return *this;
  }

  bool is_flag() const { return type == "true|false"; }
  bool is_list() const { return type == "texts"; }
  /// "--weight-per"; "--[no-]refit" where it is true or false.
  std::string flag() const;
};

/// What a command line gave: field name -> texts (several for a list).
using GivenFlags = std::map<std::string, std::vector<std::string>>;

/// The fields of one struct instance. A struct gives `void fields(Fields&)`, which lists each member once;
/// the struct must outlive the list.
class Fields {
 public:
  Field& number(const std::string& name, double& value, const Range& range, const std::string& meaning);
  Field& number(const std::string& name, std::optional<double>& value, const Range& range,
                const std::string& meaning);
  Field& integer(const std::string& name, int64_t& value, const Range& range, const std::string& meaning);
  Field& integer(const std::string& name, uint64_t& value, const Range& range, const std::string& meaning);
  Field& integer(const std::string& name, std::optional<int64_t>& value, const Range& range,
                 const std::string& meaning);
  Field& flag(const std::string& name, bool& value, const std::string& meaning);
  /// Its JSON is "automatic" where nothing is given.
  Field& flag(const std::string& name, std::optional<bool>& value, const std::string& meaning);
  Field& choice(const std::string& name, std::string& value, const std::vector<std::string>& choices,
                const std::string& meaning);
  /// One of an enumeration's values, by its name (`NamesOf`).
  template <typename E>
  requires std::is_enum_v<E> Field& choice(const std::string& name, E& value, const std::string& meaning) {
    return choice_by_number(
        name, names_of<E>(), meaning, [&value] { return static_cast<size_t>(value); },
        [&value](size_t number) { value = static_cast<E>(number); });
  }
  /// One of `choices`, or empty: not given.
  Field& optional_choice(const std::string& name, std::string& value, const std::vector<std::string>& choices,
                         const std::string& meaning);
  Field& step_size(const std::string& name, StepSize& value, const std::string& meaning);
  /// The course of a step size: one of `choices`; polynomial and warm-up take a number after a colon
  /// ("polynomial:0.6"). See `Course`.
  void course(const std::string& name, std::string& value, const std::vector<std::string>& choices,
              const std::string& meaning);
  /// Any text, such as the name of a file; an empty one is not given.
  Field& text(const std::string& name, std::string& value, const std::string& meaning);
  /// Texts; a flag of that name may be repeated, each time with one.
  Field& texts(const std::string& name, std::vector<std::string>& values, const std::string& meaning);

  /// The heading of the fields that follow.
  void heading(const std::string& group) { group_ = group; }
  const std::vector<Field>& list() const { return fields_; }
  /// The field of a name; null where there is none. Valid as long as the list.
  const Field* find(const std::string& name) const;

  /// Sets one field from JSON. Throws InputError for an unknown name (listing the known ones) or an
  /// impossible value.
  void set(const std::string& name, const nlohmann::json& value) const;
  /// Sets one field from text such as "lower_step_size=auto" (the form of `--set`).
  void set_text(const std::string& assignment) const;
  /// Sets the fields that flags give. They win over what the fields hold: a field that a given one excludes is no longer
  /// given, and lists are continued.
  void set_given(const GivenFlags& given) const;
  /// Checks every present value against its rule, and that no two exclude each other; throws InputError.
  void validate() const;
  /// All fields as an object, in order of declaration.
  nlohmann::ordered_json to_json() const;
  /// Sets the fields that the object names.
  void from_json(const nlohmann::json& object) const;

 private:
  Field& add(Field field);
  Field& choice_by_number(const std::string& name, const std::vector<std::string>& names,
                          const std::string& meaning, const std::function<size_t()>& get,
                          const std::function<void(size_t)>& set);
  const Field& at(const std::string& name) const;

  std::vector<Field> fields_;
  std::string group_;
};

/// The fields of `options` as a list.
template <typename Options>
Fields fields_of(Options& options) {
  Fields fields;
  options.fields(fields);
  return fields;
}

}  // namespace bilevel
