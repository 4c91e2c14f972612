// Things by name, to which a program may add its own.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {

/// Entries in their order, each with a `name` of its own. References to entries stay valid. Add before other threads
/// read: nothing here locks.
template <typename Entry>
class Registry {
 public:
  using value_type = Entry;
  using const_iterator = typename std::deque<Entry>::const_iterator;

  /// `kind` is the word of messages: "there is no solver 'x'; known: ...".
  Registry(std::string kind, std::vector<Entry> entries) : kind_(std::move(kind)) {
    for (Entry& entry : entries) add(std::move(entry));
  }
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// Adds an entry at the end. Throws InputError when there is one of its name.
  void add(Entry entry) {
    if (find(entry.name) != nullptr)
      throw InputError("there is a " + kind_ + " '" + entry.name + "' already");
    entries_.push_back(std::move(entry));
  }

  /// The entry of a name; null where there is none.
  const Entry* find(const std::string& name) const {
    for (const Entry& entry : entries_) {
      if (entry.name == name) return &entry;
    }
    return nullptr;
  }

  /// The entry of a name. Throws InputError, naming the known ones, where there is none.
  const Entry& at(const std::string& name) const {
    if (const Entry* entry = find(name)) return *entry;
    std::string known;
    for (const Entry& entry : entries_) known += (known.empty() ? "" : ", ") + entry.name;
    throw InputError("there is no " + kind_ + " '" + name + "'; known: " + known);
  }

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Entry& entry : entries_) all.push_back(entry.name);
    return all;
  }

  const_iterator begin() const { return entries_.begin(); }
  const_iterator end() const { return entries_.end(); }
  size_t size() const { return entries_.size(); }

 private:
  std::string kind_;
  std::deque<Entry> entries_;
};

}  // namespace bilevel
