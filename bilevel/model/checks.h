// Range checks of option fields, with the field and the value in the message.
#pragma once

#include <cstdint>
#include <string>

namespace bilevel {

/// Throws InputError "FIELD = VALUE: must be at least MINIMUM." unless value >= minimum.
void check_at_least(const std::string& field, int64_t value, int64_t minimum);

/// Throws InputError unless 0 <= value < 1.
void check_dropout(double value);

}  // namespace bilevel
