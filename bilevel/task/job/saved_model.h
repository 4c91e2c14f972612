// The model that a job leaves in its folder and `bilevel predict` reads: model.json and model.safetensors.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/core/error.h"
#include "bilevel/model/network.h"
#include "bilevel/task/features.h"
#include "bilevel/task/job/job.h"

namespace bilevel {

/// A saved model.
struct SavedModel {
  nlohmann::ordered_json description;  ///< model.json: made_by, version, network, features, and the job's own
  std::map<std::string, torch::Tensor> tensors;
  Features features;
  NetworkOptions network;  ///< without an encoder of a model that is none
  std::string path;        ///< of model.json, for messages

  /// A member of the description. Throws FileError when it is absent or something else.
  template <typename T>
  T at(const std::string& key) const {
    try {
      return description.at(key).get<T>();
    } catch (const nlohmann::json::exception& error) {
      throw FileError(path + ": " + error.what());
    }
  }

  /// A network on the CPU with the saved weights. Throws FileError when they do not fit.
  std::shared_ptr<Network> load_network() const;
};

/// Writes the files of a job's model into its folder. `description` gets made_by ("bilevel " + command), version, network,
/// features, train_format, and of the options label, format and header.
void save_model(const JobContext& context, const JobOptions& options, const Network& network,
                const Features& features, std::map<std::string, torch::Tensor> tensors,
                const nlohmann::ordered_json& description);

/// The same of a model that is no network: "network" is null.
void save_model(const JobContext& context, const JobOptions& options, const Features& features,
                std::map<std::string, torch::Tensor> tensors, const nlohmann::ordered_json& description);

/// The command that made the model in a folder: "auc", "clean", ... Throws InputError when there is none.
std::string command_of_model(const std::string& folder);

/// Reads the files, and its sentence encoder where it has one. Throws InputError when there is no model, FileError when it is
/// broken, and as `Features::from_json` does.
SavedModel load_model(const std::string& folder, const SentenceSource& sentences = {});

/// As a file to predict: standard input.
inline constexpr const char* kStandardInput = "-";

/// A file to predict, read as the model's training file was: header and marks of missing values, where they are not given,
/// by what held for the training file; standard input, where no format is given, in that of the training file.
DataFile read_input(const SavedModel& model, const std::string& input, const ReadOptions& read);

}  // namespace bilevel
