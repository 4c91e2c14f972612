// Cosines of linear maps of the columns, whose frequencies are trained: an encoder that the library does not have.
#pragma once

#include "bilevel/model/encoder.h"

namespace bilevel {

EncoderEntry fourier_entry();

}  // namespace bilevel
