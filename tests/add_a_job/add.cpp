// Adds the job of docs/add-a-job.md to the registry of the program that this object is linked into.
#include "bilevel/task/job/job_entry.h"

namespace bilevel {

JobEntry ridge_entry();

[[maybe_unused]] static const bool added = (job_registry().add(ridge_entry()), true);

}  // namespace bilevel
