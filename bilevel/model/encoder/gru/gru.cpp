// GRU over the words of a text; see RecurrentEncoder.
#include "bilevel/model/encoder/recurrent/recurrent.h"

namespace bilevel {

EncoderEntry gru_entry() { return recurrent_entry("gru", RecurrentCell::gru, "GRU"); }

}  // namespace bilevel
