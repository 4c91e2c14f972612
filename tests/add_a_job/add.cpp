// Adds the job of docs/add-a-job.md to the registry of the program that this object is linked into.
#include "bilevel/task/ridge/ridge.h"

namespace {

[[maybe_unused]] const bool added = (bilevel::job_registry().add(bilevel::ridge_entry()), true);

}  // namespace
