// What a solver in Python sees of a run.
#pragma once

#include <memory>

#include "bilevel/oracle/oracles.h"

namespace bilevel::python {

/// The oracles of a run for Python, which may keep it for longer than they live.
class OraclesView {
 public:
  explicit OraclesView(Oracles& oracles) : oracles_(std::make_shared<Oracles*>(&oracles)) {}
  /// Throws std::logic_error after `end`.
  Oracles& operator*() const {
    if (*oracles_ == nullptr) throw std::logic_error("oracles were used after their run had ended");
    return **oracles_;
  }
  Oracles* operator->() const { return &**this; }
  void end() { *oracles_ = nullptr; }

 private:
  std::shared_ptr<Oracles*> oracles_;
};

}  // namespace bilevel::python
