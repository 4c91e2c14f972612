// LSTM over the words of a text; see RecurrentEncoder.
#include "bilevel/model/encoder/recurrent/recurrent.h"

namespace bilevel {

EncoderEntry lstm_entry() { return recurrent_entry("lstm", RecurrentCell::lstm, "LSTM"); }

}  // namespace bilevel
