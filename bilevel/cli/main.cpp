#include "bilevel/cli/program.h"

int main(int argc, char** argv) { return bilevel::cli::run_program(argc, argv); }
