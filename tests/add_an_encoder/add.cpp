// Adds the encoder of this folder to the registry of the program that this object is linked into.
#include "bilevel/model/encoder/fourier/fourier.h"

namespace {

[[maybe_unused]] const bool added = (bilevel::encoder_registry().add(bilevel::fourier_entry()), true);

}  // namespace
