// Recurrent network with tanh cells over the words of a text; see RecurrentEncoder.
#include "bilevel/model/encoder/recurrent/recurrent.h"

namespace bilevel {

EncoderEntry rnn_entry() { return recurrent_entry("rnn", RecurrentCell::rnn, "tanh recurrent network"); }

}  // namespace bilevel
