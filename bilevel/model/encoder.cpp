#include "bilevel/model/encoder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bilevel/core/error.h"

namespace bilevel {

void to_json(nlohmann::json& json, const InputShape& input) {
  json = {{"kind", name_of(input.kind)}, {"width", input.width}};
  if (input.numbers) json["numbers"] = *input.numbers;
}

void from_json(const nlohmann::json& json, InputShape& input) {
  input = {value_named<InputKind>(json.at("kind").get<std::string>(), "kind"),
           json.at("width").get<int64_t>(),
           {}};
  if (json.contains("numbers")) input.numbers = json.at("numbers").get<std::vector<int64_t>>();
}

std::string encoder_names(const std::function<bool(const EncoderEntry&)>& fits) {
  std::vector<std::string> names;
  for (const EncoderEntry& entry : encoder_registry()) {
    if (fits(entry)) names.push_back(entry.name);
  }
  return fmt::format("{}", fmt::join(names.begin(), names.end() - (names.size() > 1 ? 1 : 0), ", ")) +
         (names.size() > 1 ? " or " + names.back() : "");
}

std::shared_ptr<Encoder> prepared_encoder(const std::string& name, const nlohmann::json& set,
                                          const InputShape& input) {
  const EncoderEntry& entry = encoder_registry().at(name);
  if (!std::ranges::count(entry.inputs, input.kind))
    throw InputError(fmt::format("encoder = '{}': does not read {} inputs.", name, name_of(input.kind)));
  if (input.width < 1) throw InputError(fmt::format("width = {}: must be at least 1.", input.width));
  if (input.pretrained.defined() && (input.kind != InputKind::tokens || input.pretrained.dim() != 2))
    throw InputError("pretrained embedding: must be a matrix [vocabulary, width], for token inputs only.");
  std::shared_ptr<Encoder> encoder = entry.make();
  const Fields fields = fields_of(*encoder);
  for (const auto& [option, value] : set.items()) {
    const Field* field = fields.find(option);
    if (field == nullptr) {
      throw InputError(fmt::format("{} = {}: the encoder '{}' has no such option.", option,
                                   value.is_string() ? value.get<std::string>() : value.dump(), name));
    }
    field->set(value);
  }
  encoder->resolve(input);
  return encoder;
}

}  // namespace bilevel
