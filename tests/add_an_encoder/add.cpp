// Adds the encoder of this folder to the registry of the program that this object is linked into.
#include "bilevel/model/encoder.h"

namespace bilevel {

EncoderEntry fourier_entry();

[[maybe_unused]] static const bool added = (encoder_registry().add(fourier_entry()), true);

}  // namespace bilevel
