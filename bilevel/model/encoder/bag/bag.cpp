// A linear model on the hashed n-grams of a text.
#include "bilevel/model/encoder/linear/linear.h"

namespace bilevel {

EncoderEntry bag_entry() {
  EncoderEntry entry = linear_entry();
  entry.name = "bag";
  entry.summary = "one weight per hashed n-gram, summed";
  entry.reads = Reads::ngrams;
  entry.inputs = {InputKind::sparse};
  return entry;
}

}  // namespace bilevel
