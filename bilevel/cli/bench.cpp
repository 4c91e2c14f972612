// `bilevel bench`: what steps cost on this machine.
#include <iostream>
#include <memory>

#include "bilevel/bench/small.h"
#include "bilevel/cli/command.h"
#include "bilevel/cli/field_flags.h"
#include "bilevel/core/threads.h"

namespace bilevel::cli {

void add_bench(CLI::App& program, Body& body) {
  CLI::App* bench = program.add_subcommand("bench", "measure what steps cost on this machine");
  bench->require_subcommand(1);
  struct Arguments {
    SmallBenchOptions options;
    std::shared_ptr<GivenFlags> given = std::make_shared<GivenFlags>();
    bool json = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* small =
      bench->add_subcommand("small", "linear models: a step beside the derivatives that it asks for");
  small->footer("Nothing else should run on the machine meanwhile.");
  add_field_flags(*small, fields_of(arguments->options), arguments->given);
  small->add_flag("--json", arguments->json, "print one JSON object on standard output");
  small->callback([arguments, &body] {
    body = [arguments] {
      SmallBenchOptions options = arguments->options;
      fields_of(options).set_given(*arguments->given);
      const ThreadCountScope one_thread(1);
      const nlohmann::ordered_json result = small_bench(options);
      std::cout << (arguments->json ? result.dump(2) + "\n" : small_bench_text(result));
      return kDone;
    };
  });
}

}  // namespace bilevel::cli
