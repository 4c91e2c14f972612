// A linear model on the hashed n-grams of a text.
#pragma once

#include "bilevel/model/encoder.h"

namespace bilevel {

EncoderEntry bag_entry();

}  // namespace bilevel
