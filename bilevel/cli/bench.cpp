// `bilevel bench`: what steps cost on this machine.
#include <iostream>
#include <memory>

#include "bilevel/bench/meta.h"
#include "bilevel/bench/small.h"
#include "bilevel/bench/step.h"
#include "bilevel/cli/command.h"
#include "bilevel/cli/field_flags.h"
#include "bilevel/core/threads.h"

namespace bilevel::cli {
namespace {

using Measurement = nlohmann::ordered_json;

/// One kind of measurement, with one thread.
template <typename Options>
void add_kind(CLI::App& bench, Body& body, const char* name, const char* summary,
              Measurement (*measure)(const Options&), std::string (*text_of)(const Measurement&)) {
  struct Arguments {
    Options options;
    std::shared_ptr<GivenFlags> given = std::make_shared<GivenFlags>();
    bool json = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* kind = bench.add_subcommand(name, summary);
  kind->footer("Nothing else should run on the machine meanwhile.");
  add_field_flags(*kind, fields_of(arguments->options), arguments->given);
  kind->add_flag("--json", arguments->json, "print one JSON object on standard output");
  kind->callback([arguments, measure, text_of, &body] {
    body = [=] {
      Options options = arguments->options;
      fields_of(options).set_given(*arguments->given);
      const ThreadCountScope one_thread(1);
      const Measurement result = measure(options);
      std::cout << (arguments->json ? result.dump(2) + "\n" : text_of(result));
      return kDone;
    };
  });
}

}  // namespace

void add_bench(CLI::App& program, Body& body) {
  CLI::App* bench = program.add_subcommand("bench", "measure what steps cost on this machine");
  bench->require_subcommand(1);
  add_kind(*bench, body, "small", "linear models: a step beside the derivatives that it asks for",
           small_bench, small_bench_text);
  add_kind(*bench, body, "meta", "meta-learning: a step beside the passes of the encoder that it needs",
           meta_bench, meta_bench_text);
  add_kind(*bench, body, "step", "deep problems: a step beside the bare passes through the network",
           step_bench, step_bench_text);
}

}  // namespace bilevel::cli
