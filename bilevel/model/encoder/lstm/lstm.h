// LSTM over the words of a text; see RecurrentEncoder.
#pragma once

#include "bilevel/model/encoder.h"

namespace bilevel {

EncoderEntry lstm_entry();

}  // namespace bilevel
