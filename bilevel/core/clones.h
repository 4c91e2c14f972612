// Loops that the compiler translates once for each generation of the processor's vectors.
#pragma once

/// Before a function whose loops are to use the widest vectors of the machine that it runs on, whatever machine it was compiled
/// for. Functions that it calls must be `BILEVEL_INLINE` to be translated with it. Sanitizers cannot start programs with such
/// functions, other compilers and processors do without.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define BILEVEL_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BILEVEL_CLONES
#endif
#define BILEVEL_INLINE inline __attribute__((always_inline))
/// Behind the parameters of a lambda in such a function.
#define BILEVEL_INLINED __attribute__((always_inline))
