#include "bilevel/task/job/saved_model.h"

#include <fmt/format.h>

#include <filesystem>

#include "bilevel/core/files.h"
#include "bilevel/core/json_file.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kMadeBy = "bilevel ";

Json read_description(const std::string& folder) {
  const fs::path path = fs::path(folder) / "model.json";
  if (!fs::exists(path)) throw InputError(fmt::format("{}: there is no model (no model.json)", folder));
  return parse_json_file<Json>(path.string());
}

}  // namespace

std::shared_ptr<Network> SavedModel::load_network() const {
  std::shared_ptr<Network> made = make_network(network, features.shape());
  bilevel::load_network(tensors, *made);
  made->eval();
  return made;
}

void save_model(const JobContext& context, const JobOptions& options, const Network& network,
                const Features& features, std::map<std::string, torch::Tensor> tensors,
                const Json& description) {
  tensors.merge(tensors_of(network));
  Json all{{"network", nlohmann::json(network.options())}};
  all.update(description);
  save_model(context, options, features, std::move(tensors), all);
}

void save_model(const JobContext& context, const JobOptions& options, const Features& features,
                std::map<std::string, torch::Tensor> tensors, const Json& description) {
  const std::string made_by = fmt::format("{}{}", kMadeBy, context.command);
  tensors.merge(features.tensors());
  save_safetensors(context.path("model.safetensors").string(), tensors,
                   {{"format", "pt"}, {"made_by", made_by}});
  Json all{{"made_by", made_by},
           {"version", BILEVEL_VERSION},
           {"network", nullptr},
           {"features", features.to_json()},
           {"label", options.label},
           {"label_spelling", name_of(options.label_spelling)},
           {"train_format", name_of(format_of(options.train, options.read.table().format))}};
  all.update(description);
  all.update(fields_of(const_cast<ReadOptions&>(options.read)).to_json());
  write_file_atomically(context.path("model.json").string(), all.dump(1) + "\n");
}

std::string command_of_model(const std::string& folder) {
  const std::string made_by = read_description(folder).value("made_by", "");
  if (!made_by.starts_with(kMadeBy))
    throw FileError(fmt::format("{}: model.json is not the description of a model", folder));
  return made_by.substr(kMadeBy.size());
}

SavedModel load_model(const std::string& folder, const SentenceSource& sentences) {
  SavedModel model;
  model.path = (fs::path(folder) / "model.json").string();
  model.description = read_description(folder);
  model.tensors = load_safetensors((fs::path(folder) / "model.safetensors").string()).tensors;
  try {
    const nlohmann::json features(model.description.at("features"));
    if (!sentences.encoder.empty() && !features.contains("sentences"))
      throw InputError(
          fmt::format("sentence_encoder = {}: the model in {} reads none", sentences.encoder, folder));
    model.features = Features::from_json(features, model.tensors, sentences);
    if (const nlohmann::json network(model.description.at("network")); !network.is_null())
      model.network = network.get<NetworkOptions>();
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", model.path, error.what()));
  }
  return model;
}

DataFile read_input(const SavedModel& model, const std::string& input, const ReadOptions& read) {
  ReadOptions used = read;
  if (!used.header) {
    ReadOptions trained;
    fields_of(trained).set("header", model.description.value("header", Json("automatic")));
    used.header = trained.header;
  }
  const Json missing = model.description.value("missing", Json());
  if (used.missing.empty() && missing.is_string()) used.missing = missing.get<std::string>();
  if (input == kStandardInput && used.table().format == Format::automatic)
    used.format = model.description.value("train_format", used.format);
  return read_data_file(input, used.table(), /*labels_required=*/false);
}

}  // namespace bilevel
