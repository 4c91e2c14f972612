// Adds the encoder of this folder to the registry of the program that this object is linked into.
#include "bilevel/model/encoder.h"

namespace bilevel {

EncoderEntry cosines_entry();

[[maybe_unused]] static const bool added = (encoder_registry().add(cosines_entry()), true);

}  // namespace bilevel
