#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include "bilevel/cli/program.h"

namespace {

/// Memory that was freed serves again instead of going back to the system, which otherwise clears large gradients anew in every
/// step: half the time of a step with a table of 30,000 token vectors (36 MB). What is larger than a step's tensors goes back:
/// kept, such blocks of a large file would fall into pieces of which none serves the next.
void keep_freed_memory() {
#if defined(M_MMAP_THRESHOLD) && defined(M_TRIM_THRESHOLD)
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  return bilevel::cli::run_program(argc, argv);
}
