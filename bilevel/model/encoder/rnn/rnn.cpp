#include "bilevel/model/encoder/rnn/rnn.h"

#include "bilevel/model/encoder/recurrent/recurrent.h"

namespace bilevel {

EncoderEntry rnn_entry() { return recurrent_entry("rnn", RecurrentCell::rnn, "tanh recurrent network"); }

}  // namespace bilevel
