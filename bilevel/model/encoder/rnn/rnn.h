// Recurrent network with tanh cells over the words of a text; see RecurrentEncoder.
#pragma once

#include "bilevel/model/encoder.h"

namespace bilevel {

EncoderEntry rnn_entry();

}  // namespace bilevel
